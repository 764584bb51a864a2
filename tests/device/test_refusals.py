"""What a device must not do: compute what its processor cannot, or take what it was not given."""

import struct

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepack.devices import DeviceFailure, Job, emulator
from edgepack.devices.open import open_channel
from edgepack.devices.process import JobFolder
from edgepack.devices.work import execute
from edgepack.types import SessionSettings

pytestmark = pytest.mark.emulated
UDOT, LOAD_FROM_ZERO = 0x6E829420, 0xF9400000  # udot v0.4s, v1.16b, v2.16b; ldr x0, [x0]
EXIT = (0xD2800BA8, 0xD2800000, 0xD4000001)  # x8 = 93, x0 = 0, svc


def run(on, path, kind, node, output, inputs, constants=()):
    """Run a model of some nodes on a channel."""
    nodes = node if isinstance(node, list) else [node]
    made = [numpy_helper.from_array(array, name) for name, array in constants]
    shape = list(inputs.shape)
    taken = [helper.make_tensor_value_info("x", kind, shape)]
    graph = helper.make_graph(nodes, "g", taken, [output], made)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path / "m.onnx")
    channel = open_channel(on, runtime="1.31.1")
    try:
        return execute(channel, Job(path / "m.onnx", SessionSettings(), [{"x": inputs}]))
    finally:
        channel.close()


def test_haswell_saturates_just_where_two_products_leave_16_bits(tmp_path):
    random = np.random.default_rng(5)
    left = random.integers(0, 256, (2, 64)).astype(np.uint8)
    right = random.integers(-127, 128, (64, 32)).astype(np.int8)
    pairs = (left.astype(np.int64)[:, :, None] * right.astype(np.int64)).reshape(2, 32, 2, 32)
    expected = np.clip(pairs.sum(2), -(1 << 15), (1 << 15) - 1).sum(1)
    assert (expected != left.astype(np.int64) @ right.astype(np.int64)).any()
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    output = helper.make_tensor_value_info("y", TensorProto.INT32, [2, 32])
    weights = [("w", right)]
    answer = run("qemu:Haswell", tmp_path, TensorProto.UINT8, node, output, left, weights)
    np.testing.assert_array_equal(answer.outputs[0]["y"], expected)


@pytest.mark.parametrize("on", ["local", "qemu", "qemu:Haswell"])
def test_twenty_gib_are_refused_in_one_line(tmp_path, on):
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["ones"]),
        helper.make_node("ReduceSum", ["ones"], ["sum"]),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    size = [("size", np.int64([5 << 30]))]
    with pytest.raises(DeviceFailure) as failure:
        run(on, tmp_path, TensorProto.FLOAT, nodes, output, np.float32([1]), size)
    assert failure.value.reason == "error"
    assert "allocate" in failure.value.detail.lower()
    assert "\n" not in failure.value.detail


@pytest.mark.parametrize("on", ["local", "qemu"])
@pytest.mark.parametrize("operator", ["SequenceConstruct", "Cast"])
def test_what_is_no_tensor_of_numbers_is_not_bent_into_one(tmp_path, on, operator):
    if operator == "Cast":
        node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)
        output = helper.make_tensor_value_info("y", TensorProto.STRING, [1])
    else:
        node = helper.make_node("SequenceConstruct", ["x", "x"], ["y"])
        output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    with pytest.raises(DeviceFailure, match="not a tensor of numbers"):
        run(on, tmp_path, TensorProto.FLOAT, node, output, np.float32([1]))


def guest(*words: int) -> bytes:
    """Return an aarch64 ELF file that executes these words."""
    base, headers, size = 0x400000, 64 + 56, 64 + 56 + 4 * len(words)
    header = struct.pack(
        "<4s12sHHIQQQIHHHHHH",
        *(b"\x7fELF", b"\x02\x01\x01", 2, 183, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0),
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return header + segment + struct.pack(f"<{len(words)}I", *words)


class OneInstruction:
    """A channel whose agent is one instruction and an exit."""

    name, real_clock, counts = "guest", False, False

    def __init__(self, cpu, word):
        self.cpu, self.word, self.folder = cpu, word, JobFolder()

    def push(self, files):
        (self.folder.path / "guest").write_bytes(guest(self.word, *EXIT))
        (self.folder.path / "guest").chmod(0o755)

    def run(self, arguments, *, seconds, counted=False):
        program = emulator.ensure("aarch64", offline=True, announce=pytest.fail).program
        return self.folder.run([program, "-cpu", self.cpu, "./guest"], {}, seconds)

    def pull(self, name, to):
        self.folder.pull(name, to)


@pytest.mark.parametrize(
    ("cpu", "word", "reason", "detail"),
    [
        ("cortex-a72", UDOT, "illegal-instruction", "Illegal instruction"),
        ("cortex-a76", UDOT, "error", "left no result.json"),  # it runs to its end
        ("cortex-a72", LOAD_FROM_ZERO, "crash", "Segmentation fault"),
    ],
)
def test_a_processor_refuses_what_it_lacks(tmp_path, cpu, word, reason, detail):
    (tmp_path / "m.onnx").touch()
    channel = OneInstruction(cpu, word)
    with pytest.raises(DeviceFailure) as failure:
        execute(channel, Job(tmp_path / "m.onnx", SessionSettings(), [{"x": np.zeros(1, "f4")}]))
    left = [path.name for path in channel.folder.path.iterdir()]
    channel.folder.close()
    assert failure.value.reason == reason
    assert detail in failure.value.detail
    assert left == ["guest"]  # no core dump beside it
