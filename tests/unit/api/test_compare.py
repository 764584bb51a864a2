from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgepack.api.compare import Comparison, compare, interface
from edgepack.cli import run
from edgepack.cli.compare import show
from edgepack.errors import MeasurementError, UsageError
from edgepack.types import TensorSpec


def save(path: Path, out: str = "logits", worse: float = 0.0) -> Path:
    """A product, a tanh and another product: 6 to 8 to 3."""
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[N,6] x) => (float[N,3] {out}) {{
            [one] a = MatMul (x, w1) b = Tanh (a) [two] {out} = MatMul (b, w2) }}""")
    rng = np.random.default_rng(0)
    for name, shape in {"w1": (6, 8), "w2": (8, 3)}.items():
        value = rng.normal(size=shape).astype(np.float32)
        if name == "w2":
            value = value + worse * rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.save(model, path)
    return path


def test_a_model_beside_itself_is_equal(tmp_path):
    one, other = save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx")
    found = compare(one, other, layers=True)
    assert found.sides[0].sha256 == found.sides[1].sha256
    assert (found.sides[0].parameters, found.sides[0].nodes) == (6 * 8 + 8 * 3, 3)
    assert found.sides[0].multiply_adds == 6 * 8 + 8 * 3
    assert found.answers.exact == found.answers.samples > 0
    assert (found.answers.inputs, found.answers.flips) == ("made up", 0)
    assert {layer.decibel for layer in found.layers} == {200.0}


def test_a_worse_one_shows_in_answers_layers_and_metric(tmp_path):
    one, other = save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx", worse=2.0)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 6)).astype(np.float32)
    w1, w2 = (numpy_helper.to_array(w) for w in onnx.load(one).graph.initializer)
    label = (np.tanh(x @ w1) @ w2).argmax(1)
    np.savez(tmp_path / "data.npz", x=x, label=label)
    found = compare(
        one, other, data=str(tmp_path / "data.npz"), metric="accuracy", on=("local",), layers=True
    )
    assert found.sides[0].metric == 100
    assert found.sides[1].metric < 100
    assert (found.metric, found.samples) == ("accuracy", 30)
    assert found.answers.inputs == "data"
    assert found.answers.flips > 0
    assert found.answers.cosine_worst <= found.answers.cosine < 1
    assert [layer.decibel < 200 for layer in found.layers] == [False, False, True]
    assert found.sides[0].work[0].latency_ms > 0


def test_other_outputs_are_told_and_not_compared(tmp_path):
    found = compare(save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx", out="scores"))
    assert found.answers is None
    assert "output `logits` is in the first alone" in found.interface
    assert found.why == "their inputs or outputs differ"


def test_flips_are_counted_where_an_output_holds_scores_alone(tmp_path):
    one, other = save(tmp_path / "a.onnx", "vector"), save(tmp_path / "b.onnx", "vector", worse=2)
    assert compare(one, other).answers.flips is None


def test_interfaces_differ_in_type_rank_and_fixed_sizes():
    def spec(*shape, dtype="float32"):
        return (TensorSpec(name="x", dtype=dtype, shape=shape),)

    assert interface(spec("n", 3), spec("batch", 3), "input") == ()
    assert interface(spec("n", 3), spec(1, "c"), "input") == ()
    for other in (spec("n", 4), spec("n", 3, 1), spec("n", 3, dtype="int64")):
        assert len(interface(spec("n", 3), other, "input")) == 1


def test_wrong_use_is_refused(tmp_path):
    one = save(tmp_path / "a.onnx")
    with pytest.raises(UsageError, match="needs data") as caught:
        compare(one, one, metric="accuracy")
    assert caught.value.code == "E221"
    with pytest.raises(UsageError) as caught:
        compare(one, tmp_path / "b.onnx")
    assert caught.value.code == "E220"
    np.savez(tmp_path / "none.npz", x=np.zeros((0, 6), np.float32))
    with pytest.raises((MeasurementError, UsageError)):
        compare(one, one, data=str(tmp_path / "none.npz"))


def test_the_command_prints_one_document_and_never_fails_a_gate(tmp_path, capsys):
    one, other = save(tmp_path / "a.onnx"), save(tmp_path / "b.onnx", worse=9.0)
    assert run(["compare", str(one), str(other), "-q", "--format", "json"]) == 0
    found = Comparison.model_validate_json(capsys.readouterr().out)
    assert found.schema_ == "edgepack.compare/1"
    for style in ("text", "markdown"):
        show(found, style)
        said = capsys.readouterr().out
        assert "multiply-adds" in said
        assert "labels flip" in said
