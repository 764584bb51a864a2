import json

import onnx
from onnx import parser

from edgepack.cli import run


def test_an_onnx_file_is_shown_as_what_it_holds(tmp_path, capsys):
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        g (float[N,2] x) => (float[N,2] y) { t = Relu (x) y = Relu (t) }""")
    onnx.save(model, tmp_path / "m.onnx")
    assert run(["inspect", str(tmp_path / "m.onnx"), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["onnx"]
    assert told["operators"] == {"Relu": 2}
    assert told["opset"] == {"": 17}
    assert (told["quantised"], told["nodes"], told["parameters"]) == (False, 2, 0)
    assert told["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["N", 2]}]
    assert run(["inspect", str(tmp_path / "m.onnx")]) == 0
    assert "ai.onnx: 17" in capsys.readouterr().out


def test_what_is_no_model_is_refused(tmp_path, capsys):
    (tmp_path / "m.onnx").write_bytes(b"nothing of the kind")
    assert run(["inspect", str(tmp_path / "m.onnx")]) == 4
    assert run(["inspect", str(tmp_path / "gone.onnx")]) == 2
    assert "E220" in capsys.readouterr().err
