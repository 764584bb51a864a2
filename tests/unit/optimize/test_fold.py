import pytest
from onnx import parser

from edgepack.graph import Graph
from edgepack.optimize import fold


@pytest.mark.parametrize(
    ("body", "opset", "why"),
    [
        ("y = Softmax (x)", 12, "no model of 2 GiB"),
        ("y = Gelu (x)", 20, "`Gelu` .* is of opset 20"),
    ],
)
def test_what_one_message_cannot_hold_is_not_converted(tmp_path, monkeypatch, body, opset, why):
    model = f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[N,4] x) => (float[N,4] y)'
    Graph.from_proto(parser.parse_model(f"{model} {{ {body} }}")).save(tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    fold.convert(str(tmp_path), str(target), 17, 8)
    monkeypatch.setattr(fold, "SINGLE_FILE", -1)
    with pytest.raises(ValueError, match=why):
        fold.convert(str(tmp_path), str(target), 17, 8)


def test_the_epsilon_of_a_normalisation_stays(tmp_path):
    """A row without variance is divided by the root of epsilon, never by zero."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[N,4] x) => (float[N,4] y) <float e = {1.0e-12}, int64[1] axis = {1}>
        { m = ReduceMean <axes = [1]> (x) d = Sub (x, m) s = Mul (d, d)
          v = ReduceMean <axes = [1]> (s) a = Add (v, e) r = Sqrt (a) y = Div (d, r) }"""
    Graph.from_proto(parser.parse_model(text)).save(tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    fold.fold(str(tmp_path), str(target))
    assert Graph.load(target).facts()["operators"]["Add"] == 1
