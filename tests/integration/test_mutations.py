"""Mutated recipes and artifacts: an answer or an error with a fix, no traceback, nothing long."""

import random
import time

import numpy as np
import pytest

import edgepack.api as api
from edgepack.artifact import Artifact, unpack
from edgepack.errors import ArtifactError, EdgepackError

from .conftest import build

RECIPE = """\
name = "net"
seed = 3

[model]
source = "builtin:digits"

[data]
metric = "accuracy"

[[steps]]
pass = "prune"
ratio = 0.5
round_to = 8

[[steps]]
pass = "finetune"
epochs = 2
learning_rate = 0.002

[[steps]]
pass = "quantize"
scheme = "w8a8-static"
keep = ["conv*"]

[gates]
max_drop = 1.0
size = "40 kB"
[gates.arm64]
instructions = "40 M"
"""
VALUES = [
    "-1", "1e400", "nan", "true", '""', "[]", "{}", '"\\u0000"', "2024-01-01", "0x7fffffffffffffff",
    '"../../etc/passwd"', '"' + "a" * 5000 + '"', "[[[[[[[]]]]]]]", "9" * 400, '"40 Q"', "''",
]  # fmt: skip
LONG = 10.0
"""Seconds that no input may take."""


def mutated_text(rng: random.Random, text: str) -> bytes:
    """Change a recipe as a slip of the hand, a bad merge or a bad disk would."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                del lines[place]
            case 1:
                lines.insert(place, lines[rng.randrange(len(lines))])
            case 2:
                key = lines[place].partition("=")[0]
                lines[place] = f"{key}= {rng.choice(VALUES)}"
            case 3:
                at = rng.randrange(len(lines[place]) + 1)
                lines[place] = (
                    lines[place][:at] + rng.choice("[]{}=\"'#.\\\t\x07é") + lines[place][at:]
                )
            case 4:
                lines[place] = lines[place][: rng.randrange(len(lines[place]) + 1)]
            case 5:
                lines[place] = lines[place].replace(rng.choice("aeiou"), rng.choice("aeiou"), 1)
        lines = lines or [""]
    return (
        mutated_bytes(rng, "\n".join(lines).encode())
        if rng.random() < 0.1
        else "\n".join(lines).encode()
    )


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flip, cut, repeat or insert bytes."""
    raw = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(raw)) if raw else 0
        match rng.randrange(5):
            case 0 if raw:
                raw[at] ^= 1 << rng.randrange(8)
            case 1:
                del raw[at : at + rng.choice((1, 4, 1000))]
            case 2:
                raw[at:at] = raw[at : at + rng.choice((1, 30, 500))]
            case 3:
                raw[at:at] = rng.randbytes(rng.choice((1, 4, 16)))
            case 4:
                del raw[rng.randrange(len(raw) + 1) :]
    return bytes(raw)


def refusal(path):
    """Return what a recipe is refused with, or None where it is planned."""
    try:
        api.prepare(api.Request(recipe=path, targets=("arm64",)))
    except EdgepackError as problem:
        return problem
    return None


@pytest.mark.parametrize("part", range(5))
def test_a_mutated_recipe_is_planned_or_refused(part, tmp_path):
    planned = refused = 0
    for number in range(50):
        rng = random.Random(f"recipe {part} {number}")
        path = tmp_path / "edgepack.toml"
        path.write_bytes(mutated_text(rng, RECIPE))
        began = time.monotonic()
        problem = refusal(path)
        if problem is None:
            planned += 1
        else:
            assert problem.fix, path.read_bytes()
            assert problem.status == 2, (problem.code, path.read_bytes())
            refused += 1
        assert time.monotonic() - began < LONG
    assert planned
    assert refused


@pytest.fixture(scope="module")
def artifact(tmp_path_factory, cache):
    import os

    import onnx
    from onnx import TensorProto, helper, numpy_helper

    os.environ["EDGEPACK_CACHE"] = str(cache)
    folder = tmp_path_factory.mktemp("mutated")
    weight = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "tiny.onnx")
    steps = 'steps=[{pass="quantize", scheme="float"}]'
    _, out = build(folder, str(folder / "tiny.onnx"), "x86-vnni", overrides=(steps,))
    return next(out.glob("*.edgepack")).read_bytes()


@pytest.mark.parametrize("part", range(5))
def test_a_mutated_artifact_is_refused(part, artifact, tmp_path):
    for number in range(50):
        rng = random.Random(f"artifact {part} {number}")
        raw = mutated_bytes(rng, artifact)
        if raw == artifact:
            continue
        path = tmp_path / "m.edgepack"
        path.write_bytes(raw)
        began = time.monotonic()
        with pytest.raises(ArtifactError) as caught:
            unpack(Artifact.open(path), tmp_path / "unpacked")
        assert caught.value.fix
        assert caught.value.status == 6
        assert not (tmp_path / "unpacked").exists()
        assert time.monotonic() - began < LONG
