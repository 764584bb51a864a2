"""Training with few levels: what is rounded, what is learned, and what comes out."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from nets import Rows, bert, wrapped
from torch import nn

from edgepack.compress.fake.levels import LEVELS, Activation, Sign, Weight
from edgepack.compress.fake.places import find
from edgepack.compress.qat import Qat
from edgepack.errors import ModelError
from edgepack.export.grids import table_of
from edgepack.export.trace import to_graph
from edgepack.graph import Graph
from edgepack.model import Model
from edgepack.quantize.learned import store_learned
from edgepack.types import Sample


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.flatten = nn.Flatten()
        self.head = nn.Linear(8 * 16, 3)

    def forward(self, x):
        x = self.first(x)
        return self.head(self.flatten(torch.relu(x + self.second(x))))


def net(seed=0):
    torch.manual_seed(seed)
    module = Net()
    for norm in (module.first[1], module.second[1]):
        with torch.no_grad():
            norm.weight.uniform_(-1, 1)
            norm.bias.uniform_(-1, 1)
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
    return wrapped(module, 1, 6, 6)


def samples(*shape, count=96, classes=3):
    rng = np.random.default_rng(0)
    return Rows(
        Sample(({"x": rng.normal(0, 1, (1, *shape)).astype(np.float32)},), i % classes)
        for i in range(count)
    )


def trained(model, context, shape=(1, 6, 6), **options):
    options = {"epochs": 1, "batch_size": 32, **options}
    return Qat(**options).apply(model, replace(context, data={"train": samples(*shape)}))


def test_points_lie_where_sums_would_leave_the_integers():
    places = find(net(), ())
    assert places.layers == ("first.0", "second.0", "head")
    assert places.norms == {"first.0": "first.1", "second.0": "second.1"}
    assert places.points == (
        ("first.0", "in"), ("first.2", "out"), ("second.1", "out"), ("head", "in"),
    )  # fmt: skip
    assert places.fed["second.0"] == ("first.2", "out")
    assert find(net(), ("sec*",)).left == {"second.0": "the recipe keeps it"}


def test_tied_weights_and_recurrent_layers_stay_float():
    shared = nn.Linear(4, 4)
    other = nn.Linear(4, 4)
    other.weight = shared.weight
    places = find(wrapped(nn.Sequential(shared, other, nn.Linear(4, 2)), 4), ())
    assert places.layers == ("2",)
    assert "shares its weight" in places.left["0"]

    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = nn.LSTM(4, 4)

        def forward(self, x):
            return self.steps(x)[0]

    with pytest.raises(ModelError, match="E479") as raised:
        find(wrapped(Steps(), 3, 4), ())
    assert "LSTM" in raised.value.why


@pytest.mark.parametrize("width", ["ternary", "w2", "w4", "w8"])
def test_first_scales_beat_the_extremes_and_gradients_pass(width):
    weight = torch.randn(5, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    low, high = LEVELS[width]
    made = Weight(weight, 0, (low, high))
    rounded = made(weight)
    plain = weight.detach().abs().amax(1, keepdim=True) / high
    widest = (weight / plain).round().clamp(low, high) * plain
    assert (rounded - weight).square().sum() <= (widest - weight).square().sum()
    assert made.levels(weight).unique().numel() <= high - low + 1
    rounded.sum().backward()
    inside = (weight / made.scale(weight)).detach().clamp(low, high)
    passed = inside == (weight / made.scale(weight)).detach()
    torch.testing.assert_close(weight.grad, passed.float(), atol=1e-5, rtol=0)


def test_the_scale_has_the_gradient_of_the_paper():
    weight = torch.tensor([[0.3, -0.8, 2.5]])
    made = Weight(weight, 0, (-1, 1))
    with torch.no_grad():
        made.log_scale.zero_()
    made(weight).sum().backward()
    # Inside: round(w / s) - w / s; outside: the end of the range; damped by 1 / sqrt(count * high).
    wanted = (0 - 0.3) + (-1 + 0.8) + 1
    torch.testing.assert_close(float(made.log_scale.grad), wanted / 3**0.5)


def test_binary_weights_have_the_mean_magnitude():
    weight = torch.tensor([[1.0, -3.0], [0.0, 4.0]])
    made = Sign(weight, 0)
    assert made(weight).tolist() == [[2, -2], [2, 2]]


def test_activations_round_as_the_exported_operator_does():
    made = Activation(-0.7, 2.0)
    x = torch.linspace(-2, 3, 501)[None]
    wanted = torch.fake_quantize_per_tensor_affine(x, made.scale, made.zero, 0, 255)
    # At a tie one divides and the other multiplies by the inverse.
    apart = ((made(x) - wanted).abs() / made.scale).round()
    assert apart.max() <= 1
    assert (apart > 0).sum() <= 2


@pytest.mark.parametrize("width", ["binary", "ternary", "w2", "w4", "w8"])
def test_weights_end_on_their_grids_with_norms_folded(width, context):
    made = trained(net(), context, width=width)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in made.module.modules())
    assert set(made.grids) == {"first.0.weight", "second.0.weight", "head.weight"}
    low, high = LEVELS[width]
    for name, grid in made.grids.items():
        weight = made.module.get_parameter(name)
        levels = weight / torch.tensor(grid.scales).reshape(-1, *[1] * (weight.dim() - 1))
        assert (levels - levels.round()).abs().max() < 1e-3
        assert levels.min() > low - 0.1
        assert levels.max() < high + 0.1
        assert grid.width == width
    assert made.rounds == (width == "w8")


def test_a_model_survives_its_folder(context, tmp_path):
    made = trained(net(), context)
    made.save(tmp_path)
    back = Model.load(tmp_path, lambda _: net(1))
    assert back.digest == made.digest
    assert back.grids == made.grids
    x = {"x": np.random.default_rng(1).normal(0, 1, (4, 1, 6, 6)).astype(np.float32)}
    np.testing.assert_array_equal(made.run(x)["output"], back.run(x)["output"])


def test_it_is_repeatable_and_leaves_its_input(context):
    model = net()
    before = model.digest
    one, other = (trained(model, context, width="ternary") for _ in range(2))
    assert one.digest == other.digest
    assert model.digest == before


def stored(made):
    graph = to_graph(made, 20).graph
    proto = graph.proto()
    told = store_learned(proto, table_of(made, graph))
    return proto, told


def test_int8_is_exported_with_pairs_and_computed_in_integers(context, tmp_path):
    made = trained(net(), context)
    proto, told = stored(made)
    assert told.scheme == "w8a8-static"
    assert set(told.integer) == {"first.0.weight", "second.0.weight", "head.weight"}
    assert len(told.biases) == 3
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "ran.onnx")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    x = np.random.default_rng(1).normal(0, 1, (64, 1, 6, 6)).astype(np.float32)
    given, wanted = session.run(None, {"x": x})[0], made.run({"x": x})["output"]
    assert np.abs(given - wanted).max() < 0.02 * np.abs(wanted).max()
    assert np.mean(np.abs(given - wanted) > 1e-4) < 0.05
    ran = [node.op_type for node in onnx.load(tmp_path / "ran.onnx").graph.node]
    assert ran.count("QLinearConv") == 2
    assert "QGemm" in ran
    assert not {"Conv", "Gemm"} & set(ran)


def test_turned_weights_are_found_in_the_graph(context):
    torch.manual_seed(0)
    model = wrapped(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), 5, 4)
    rows = Rows(
        Sample(({"x": np.random.default_rng(i).normal(0, 1, (1, 5, 4)).astype(np.float32)},), None)
        for i in range(40)
    )
    made = Qat(epochs=1, distil=1).apply(model, replace(context, data={"train": rows}))
    graph = to_graph(made, 20).graph
    table = table_of(made, graph)
    assert [grid.axis for grid in table.grids.values()] == [1, 1]
    assert "0.weight" not in table.grids
    proto, told = stored(made)
    assert len(told.integer) == 2
    x = rows[0].inputs[0]
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    np.testing.assert_allclose(session.run(None, x)[0], made.run(x)["output"], rtol=0.02, atol=0.02)


def test_a_graph_keeps_its_table(context, tmp_path):
    made = trained(net(), context, width="ternary")
    graph = to_graph(made, 20).graph
    graph = graph.replace(table=table_of(made, graph))
    graph.save(tmp_path)
    assert Graph.load(tmp_path).table == graph.copy().table == graph.table


def test_weights_that_left_their_levels_are_refused(context):
    made = trained(net(), context)
    graph = to_graph(made, 20).graph
    table = table_of(made, graph)
    proto = graph.proto()
    for tensor in proto.graph.initializer:
        if tensor.name == "head.weight":
            moved = onnx.numpy_helper.to_array(tensor) * np.float32(1.37)
            tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name))
    with pytest.raises(ModelError, match="E489"):
        store_learned(proto, table)
    with torch.no_grad():
        made.module.head.weight.mul_(2)
    with pytest.raises(ModelError, match="E488"):
        table_of(made, graph)


def test_a_transformer_trains_at_few_levels(context):
    model = bert()
    rng = np.random.default_rng(0)
    rows = Rows(
        Sample(
            ({spec.name: rng.integers(1, 2, (1, *model.example[spec.name].shape[1:]))
              for spec in model.inputs},), i % 3,
        )
        for i in range(16)
    )  # fmt: skip
    made = Qat(epochs=1, width="ternary").apply(model, replace(context, data={"train": rows}))
    assert len(made.grids) >= 4 * 6


@pytest.mark.parametrize("width", ["binary", "ternary", "w2", "w4"])
def test_few_levels_are_packed_as_they_were_trained(width, context):
    made = trained(net(), context, width=width)
    proto, told = stored(made)
    assert told.scheme == f"{width}-weight-only"
    assert told.packed == dict.fromkeys(made.grids, width)
    assert not {t.name for t in proto.graph.initializer} & set(made.grids)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    x = np.random.default_rng(1).normal(0, 1, (8, 1, 6, 6)).astype(np.float32)
    given, wanted = session.run(None, {"x": x})[0], made.run({"x": x})["output"]
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-5)
