import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from edgepack.base import Context, Silent
from edgepack.compress.prune import Prune
from edgepack.errors import ModelError
from edgepack.export.export import Export
from edgepack.graph.runner import ChildRunner
from edgepack.model import Model
from edgepack.types import TensorSpec


class Recorded(Silent):
    def __init__(self):
        self.decisions = []

    def decision(self, value):
        self.decisions.append(value)


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, 0, {}, ChildRunner(), Recorded())


def spec(name, *shape, dtype="float32"):
    return TensorSpec(name=name, dtype=dtype, shape=shape)


class Gelu(nn.Module):
    """Tokens of any number, answered one by one and on average."""

    def __init__(self):
        super().__init__()
        self.embed, self.inner, self.end = nn.Embedding(9, 16), nn.Linear(16, 32), nn.Linear(32, 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, *tensors):
        tokens, scale = tensors
        hidden = self.end(nn.functional.gelu(self.inner(self.embed(tokens) * scale[:, None, None])))
        return hidden, self.norm(hidden.mean(1))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Model.of(
        Gelu(),
        (spec("tokens", "batch", "sequence", dtype="int64"), spec("scale", "batch")),
        {"tokens": np.arange(5)[None], "scale": np.ones(1, np.float32)},
        ("each", "mean"),
    )


def test_names_and_axes_reach_the_graph(model, context):
    """An inner value is called `mean` as well: the exporter names it after the operation."""
    graph = Export(opset=20).apply(model, context)
    assert graph.inputs == model.inputs
    assert graph.outputs == model.outputs
    assert graph.model.opset_imports[""] == 20
    assert graph.facts()["operators"]["Gelu"] == 1


def test_it_is_held_against_torch_at_three_sizes(model, context):
    Export(opset=20).apply(model, context)
    (parity,) = context.events.decisions
    assert parity.sizes[0] == {"batch": 1, "sequence": 5}
    assert parity.sizes[2] == {"batch": 3, "sequence": 11}
    assert max(parity.relative) <= 1e-5


def test_the_same_model_gives_the_same_bytes_without_paths(model, context):
    one, other = (Export(opset=20).apply(model.copy(), context) for _ in range(2))
    data = one.proto().SerializeToString(deterministic=True)
    assert one.digest == other.digest
    assert b".py" not in data
    assert b"pkg.torch" not in data


def test_it_prints_nothing(model, context, capfd):
    Export(opset=20).apply(model, context)
    assert capfd.readouterr() == ("", "")


def test_a_pruned_model_is_smaller_in_the_graph_too(model, context):
    pruned = Prune(ratio=0.5).apply(model, context)
    sizes = [Export(opset=20).apply(m, context).facts()["parameters"] for m in (model, pruned)]
    assert sizes[0] - sizes[1] == 16 * 16 + 16 + 16 * 3


class Random(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


def test_a_graph_that_answers_otherwise_is_refused(context):
    example = {"x": np.zeros((1, 4), np.float32)}
    model = Model.of(Random(), (spec("x", "batch", 4),), example)
    with pytest.raises(ModelError, match="from torch") as caught:
        Export(opset=20).apply(model, context)
    assert caught.value.code == "E437"
    assert caught.value.where == "batch 1"


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_what_torch_cannot_export_is_refused_with_the_cause(context):
    example = {"x": np.zeros((1, 4), np.float32)}
    model = Model.of(Branching(), (spec("x", "batch", 4),), example)
    with pytest.raises(ModelError, match="cannot export") as caught:
        Export(opset=20).apply(model, context)
    assert "data-dependent" in caught.value.why


class Positions(nn.Module):
    """Knows eight positions."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.ones(8, 3))

    def forward(self, x):
        return torch.nn.functional.embedding(x, self.x) * self.x[torch.arange(x.shape[1])]


def test_sizes_at_which_torch_does_not_run_are_left_out(context):
    example = {"x": np.zeros((1, 6), np.int64)}
    model = Model.of(Positions(), (spec("x", "batch", "sequence", dtype="int64"),), example, ("y",))
    graph = Export(opset=18).apply(model, context)
    sizes = context.events.decisions[0].sizes
    assert sizes == ({"batch": 1, "sequence": 6}, {"batch": 2, "sequence": 7})
    assert graph.inputs == model.inputs


def test_weights_may_be_called_as_an_input_or_output_is(context):
    example = {"weight": np.zeros((1, 4), np.float32)}
    model = Model.of(nn.Linear(4, 2), (spec("weight", "batch", 4),), example, ("bias",))
    graph = Export(opset=20).apply(model, context)
    assert (graph.inputs, graph.outputs) == (model.inputs, model.outputs)


def test_an_opset_that_the_exporter_lacks_is_refused():
    with pytest.raises(ValidationError):
        Export(opset=17)
