"""What users get wrong: each has its exit status and an error that says how to mend it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepack.cli import run

W = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


def model(
    nodes=None, weights=(("w", W),), shape=("n", 8), opset=17, kind=TensorProto.FLOAT, out=None
):
    nodes = nodes or [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def loop():
    """A loop whose condition never turns false."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["c2"]),
            helper.make_node("Add", ["v", "v"], ["v2"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, ["n", 8]),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, ["n", 8]),
        ],
    )
    nodes = [helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body, name="for ever")]
    return model(nodes, (("yes", np.array(True)),), out=("n", 8))


def broken(array, value):
    changed = array.copy()
    changed[0, 0] = value
    return (("w", changed),)


CUSTOM = [helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example", name="odd")]
UNKNOWN = [helper.make_node("Frobnicate", ["x"], ["y"], name="odd")]

MODELS = {
    "empty": (b"", 2, "E268"),
    "text": (b"this is no model", 4, "E401"),
    "truncated": (model().SerializeToString()[:60], 4, ""),
    "not-finite": (model(weights=broken(W, np.nan)), 4, "`w`"),
    "infinite": (model(weights=broken(W, np.inf)), 4, "`w`"),
    "custom-operator": (model(CUSTOM), 4, "Frobnicate"),
    "unknown-operator": (model(UNKNOWN), 4, "Frobnicate"),
    "no-such-opset": (model(opset=99), 4, "E402"),
    "endless": (loop(), 4, "E422"),
    "dangling": (model([helper.make_node("MatMul", ["z", "w"], ["y"])]), 4, "`z`"),
    "wrong-shapes": (model(weights=(("w", W[:5]),)), 4, ""),
    "text-input": (model(kind=TensorProto.STRING), 4, ""),
}

RECIPES = {
    "no-toml": ("[model\nsource", "E204"),
    "no-model": ("seed = 1\n", "E207"),
    "unknown-key": ('[model]\nsource = "net.onnx"\nsorce = "x"\n', "E206"),
    "wrong-type": ('seed = "one"\n[model]\nsource = "net.onnx"\n', "E208"),
    "unknown-pass": ('[model]\nsource = "net.onnx"\n[[steps]]\npass = "quantise"\n', "E241"),
    "unknown-option": (
        '[model]\nsource = "net.onnx"\n[[steps]]\npass = "quantize"\nschema = "float"\n',
        "E242",
    ),
    "torch-pass-on-graph": ('[model]\nsource = "net.onnx"\n[[steps]]\npass = "prune"\n', "E24"),
    "wrong-order": (
        '[model]\nsource = "builtin:digits"\n[[steps]]\npass = "quantize"\n[[steps]]\n'
        'pass = "prune"\nratio = 0.5\n',
        "E243",
    ),
    "no-such-source": ('[model]\nsource = "nett.onnx"\n', "net.onnx"),
    "no-such-package": ('[model]\nsource = "package:no_such_thing/m.onnx"\n', "E232"),
    "no-such-gate": ('[model]\nsource = "net.onnx"\n[gates]\nmax_dorp = 1.0\n', "max_drop"),
    "no-such-target": ('[model]\nsource = "net.onnx"\n[gates.arm65]\nsize = 1\n', "arm64"),
    "no-such-metric": ('[model]\nsource = "net.onnx"\n[data]\nmetric = "acuracy"\n', ""),
    "remote-code": ('[model]\nsource = "https://example.org/m.onnx"\n', "E261"),
    "state-unknown": ('[model]\nsource = "net.onnx"\n[model.state]\nh = "hn"\n', "`h`"),
}

DATA = {
    "none": ({}, "E280"),
    "empty": ({"x": np.zeros((0, 8), np.float32)}, "E280"),
    "wrong-name": ({"pixels": np.zeros((4, 8), np.float32)}, "E276"),
    "wrong-shape": ({"x": np.zeros((4, 7), np.float32)}, "E278"),
    "wrong-type": ({"x": np.zeros((4, 8), np.uint8)}, "E277"),
    "not-finite": ({"x": np.full((4, 8), np.nan, np.float32)}, "E279"),
    "lengths": ({"x": np.zeros((4, 8), np.float32), "label": np.zeros(3)}, "E281"),
}


def answer_of(capfd, *arguments):
    """Run the command in this process; return its exit status and what it wrote as errors."""
    status = run([str(part) for part in arguments])
    told = capfd.readouterr()
    assert "Traceback" not in told.err
    return status, told.err


def refused(answer, status, word):
    got, text = answer
    assert got == status, text
    assert "error[E" in text
    assert "fix: " in text
    assert word in text, text


@pytest.mark.parametrize("name", MODELS)
def test_a_faulty_model(name, tmp_path, capfd, monkeypatch):
    content, status, word = MODELS[name]
    raw = content if isinstance(content, bytes) else content.SerializeToString()
    (tmp_path / "net.onnx").write_bytes(raw)
    monkeypatch.chdir(tmp_path)
    refused(answer_of(capfd, "build", "net.onnx", "-t", "x86", "--on", "local", "-q"), status, word)
    assert not list(tmp_path.glob("dist/*.edgepack"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_faulty_recipe(name, tmp_path, capfd, monkeypatch):
    text, word = RECIPES[name]
    (tmp_path / "net.onnx").write_bytes(model().SerializeToString())
    (tmp_path / "edgepack.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    refused(answer_of(capfd, "build", "-t", "x86", "--on", "local", "-q"), 2, word)
    assert not list(tmp_path.glob("dist/*.edgepack"))


@pytest.mark.parametrize("name", DATA)
def test_faulty_data(name, tmp_path, capfd, monkeypatch):
    arrays, word = DATA[name]
    (tmp_path / "net.onnx").write_bytes(model().SerializeToString())
    np.savez(tmp_path / "x.npz", **arrays)
    monkeypatch.chdir(tmp_path)
    command = ["build", "net.onnx", "--data", "x.npz", "-t", "x86", "--on", "local", "-q"]
    refused(answer_of(capfd, *command), 2, word)


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (["build", "net.onnx", "-t", "arm65"], 2, "arm64"),
        (["build", "net.onnx", "--on", "qemo"], 2, "qemu"),
        (["build", "net.onnx", "--set", "seed"], 2, "E205"),
        (["build", "net.onnx", "-o", "net.onnx"], 2, ""),
        (["build", "net.onnx", "-o", "/proc/nowhere"], 3, "E320"),
        (["verify", "net.onnx"], 6, ""),
        (["verify", "missing.edgepack"], 6, "E600"),
        (["biuld"], 2, "build"),
        (["plan"], 2, "E209"),
    ],
    ids=["target", "channel", "set", "file-as-folder", "read-only", "foreign", "missing", "verb",
         "nothing"],
)  # fmt: skip
def test_a_faulty_command(arguments, status, word, tmp_path, capfd, monkeypatch):
    (tmp_path / "net.onnx").write_bytes(model().SerializeToString())
    monkeypatch.chdir(tmp_path)
    refused(answer_of(capfd, *arguments), status, word)


def test_a_faulty_input_was_made_of_something_that_works(tmp_path, capfd, monkeypatch):
    onnx.save(model(), tmp_path / "net.onnx")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(4, 8)).astype("float32"))
    monkeypatch.chdir(tmp_path)
    command = ["build", "net.onnx", "--data", "x.npz", "-t", "x86", "--on", "local", "-q"]
    status, told = answer_of(capfd, *command)
    assert status == 0, told
