"""Every tensor agrees with itself, wherever it hangs and wherever its data lie."""

import os

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgepack.errors import ModelError
from edgepack.graph.gate import admit
from edgepack.graph.tensors import BITS, Tensors

from .build import external, linear, parsed, with_weight

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3) - 2


@pytest.fixture
def refusal(tmp_path):
    def refuse(model):
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ModelError) as caught:
            admit(tmp_path / "model.onnx")
        return caught.value

    return refuse


def embedded(tensor, folder):
    Tensors(folder).embed(tensor, "it")
    return tensor


@pytest.mark.parametrize(
    "tensor",
    [
        TensorProto(data_type=1, dims=[2, 3], raw_data=bytes(23)),
        TensorProto(data_type=1, dims=[2, 3], raw_data=bytes(25)),
        TensorProto(data_type=1, dims=[2, 3]),
        TensorProto(data_type=1, dims=[-1, -6], raw_data=bytes(24)),
        TensorProto(data_type=99, dims=[2], raw_data=bytes(2)),
        TensorProto(dims=[2], raw_data=bytes(2)),
        TensorProto(data_type=1, dims=[2], float_data=[1.0]),
        TensorProto(data_type=1, dims=[2], int32_data=[1, 2]),
        TensorProto(data_type=1, dims=[2], float_data=[1.0, 2.0], raw_data=bytes(8)),
        TensorProto(data_type=3, dims=[2], int32_data=[1, 256]),
        TensorProto(data_type=3, dims=[2], int32_data=[1, -129]),
        TensorProto(data_type=12, dims=[1], uint64_data=[1 << 32]),
        TensorProto(data_type=8, dims=[2], string_data=[b"a"]),
        TensorProto(data_type=8, dims=[1], raw_data=b"a"),
        TensorProto(data_type=22, dims=[3], raw_data=bytes(3)),
        TensorProto(data_type=1, dims=[0], raw_data=bytes(4)),
        TensorProto(data_type=1, dims=[1], raw_data=bytes(4), segment=TensorProto.Segment(begin=0)),
    ],
)
def test_a_tensor_that_lies_is_malformed(refusal, tensor):
    problem = refusal(with_weight(tensor))
    assert problem.code == "E406"
    assert "initializer `w`" in problem.what


@pytest.mark.parametrize("dims", [[1 << 31], [1 << 62, 1 << 62], [1 << 33, 0, 1 << 62]])
def test_dimensions_do_not_overflow(refusal, dims):
    assert refusal(with_weight(TensorProto(data_type=1, dims=dims))).code == "E415"


def test_a_lie_is_found_in_attributes_and_subgraphs(refusal):
    lie = TensorProto(data_type=1, dims=[4], raw_data=bytes(4))
    model = linear()
    model.graph.node.append(helper.make_node("ConstantOfShape", ["x"], ["z"], value=lie))
    assert "attribute `value` of node `z` (ConstantOfShape)" in refusal(model).what
    model = parsed(
        """g (bool c, float[1] x) => (float[1] y) {
            y = If (c) <then_branch = a () => (float[1] p) { p = Neg(x) },
                        else_branch = b () => (float[1] q) { q = Abs(x) }>
        }"""
    )
    model.graph.node[0].attribute[1].g.initializer.append(lie)
    model.graph.node[0].attribute[1].g.initializer[0].name = "deep"
    assert "initializer `deep`" in refusal(model).what


TYPED = [
    (np.float32, "float_data"), (np.float64, "double_data"), (np.int64, "int64_data"),
    (np.int32, "int32_data"), (np.int8, "int32_data"), (np.uint8, "int32_data"),
    (np.int16, "int32_data"), (np.uint16, "int32_data"), (np.bool_, "int32_data"),
    (np.uint64, "uint64_data"), (np.uint32, "uint64_data"),
]  # fmt: skip


@given(st.sampled_from(TYPED), st.integers(0, 2**32 - 1), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_typed_data_become_the_same_raw_bytes(kind, seed, size):
    dtype, field = kind
    values = np.random.default_rng(seed).integers(0, 256, (size, 8), np.uint8).view(np.int64)
    values = (values >> 40).astype(dtype).ravel()
    number = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    tensor = TensorProto(data_type=number, dims=[size], **{field: [v + 0 for v in values.tolist()]})
    expected = onnx.numpy_helper.to_array(tensor).tobytes()
    Tensors(None).embed(tensor, "it")
    assert tensor.raw_data == expected == values.tobytes()
    assert not getattr(tensor, field)


def test_float16_and_int4_are_bit_patterns(tmp_path):
    half = TensorProto(data_type=10, dims=[2], int32_data=[0x3C00, 0xC000])
    assert numpy_helper.to_array(embedded(half, tmp_path)).tolist() == [1.0, -2.0]
    four = TensorProto(data_type=22, dims=[3], int32_data=[0x21, 0xF3])
    assert numpy_helper.to_array(embedded(four, tmp_path)).tolist() == [1, 2, 3]


def test_the_table_of_bits_is_that_of_onnx():
    ours = {k: v for k, v in BITS.items() if v >= 8}
    onnx_bits = {k: helper.tensor_dtype_to_np_dtype(k).itemsize * 8 for k in ours}
    assert ours == onnx_bits


# -- sparse


def sparse(values, indices, dims, name="w"):
    return onnx.SparseTensorProto(
        values=numpy_helper.from_array(np.array(values, np.float32), name),
        indices=numpy_helper.from_array(np.array(indices, np.int64)),
        dims=dims,
    )


@pytest.mark.parametrize("indices", [[1, 5], [[0, 1], [1, 2]]])
def test_a_sparse_weight_becomes_dense(tmp_path, indices):
    model = linear()
    del model.graph.initializer[:]
    model.graph.sparse_initializer.append(sparse([7, 8], indices, [2, 3]))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    weight = admit(tmp_path / "model.onnx").model.graph.initializers["w"].const_value
    assert weight.numpy().tolist() == [[0, 7, 0], [0, 0, 8]]


@pytest.mark.parametrize(
    ("indices", "dims"),
    [
        ([1, 6], [2, 3]),
        ([-1, 5], [2, 3]),
        ([5, 1], [2, 3]),
        ([1, 1], [2, 3]),
        ([1, 2, 3], [2, 3]),
        ([[0, 3], [1, 2]], [2, 3]),
        ([1, 5], [-2, -3]),
        ([1, 5], [1 << 40]),
    ],
)
def test_a_sparse_tensor_that_lies_is_refused(refusal, indices, dims):
    model = linear()
    del model.graph.initializer[:]
    model.graph.sparse_initializer.append(sparse([7, 8], indices, dims))
    assert refusal(model).code in {"E406", "E415"}


# -- external data


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"head" + WEIGHT.tobytes())
    return path


def test_external_data_are_embedded(tmp_path, weights):
    (tmp_path / "model.onnx").write_bytes(external(offset="4", length="24").SerializeToString())
    graph = admit(tmp_path / "model.onnx")
    np.testing.assert_array_equal(graph.model.graph.initializers["w"].const_value.numpy(), WEIGHT)
    assert not graph.proto().graph.initializer[0].external_data


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "../weights.bin"},
        {"location": "/etc/hostname"},
        {"location": ".."},
        {"location": "."},
        {"location": ""},
        {"location": "weights.bin\0x"},
        {"location": "sub\\weights.bin"},
        {"offset": "-4"},
        {"offset": "4", "length": "23"},
        {"offset": "4", "length": "-24"},
        {"offset": "8", "length": "24"},
        {"offset": "99999999999999999999"},
        {"offset": "9" * 18},
        {"offset": "\u0664"},
        {"offset": "4", "surprise": "1"},
    ],
)
def test_external_data_that_lead_elsewhere_are_refused(refusal, weights, entries):
    problem = refusal(external(**({"offset": "4"} | entries)))
    assert problem.code == "E407"
    assert "initializer `w`" in problem.what


def test_links_folders_and_pipes_are_refused(refusal, weights, tmp_path):
    model = external(offset="4", length="24")
    real = tmp_path / "real.bin"
    weights.rename(real)
    weights.symlink_to(real)
    assert refusal(model).code == "E407"
    weights.unlink()
    os.link(real, weights)
    assert "one name" in refusal(model).why
    weights.unlink()
    os.mkfifo(weights)
    assert "not a regular file" in refusal(model).why
    weights.unlink()
    weights.mkdir()
    assert refusal(model).code == "E407"


def test_data_in_two_places_are_refused(refusal, weights):
    model = external(offset="4")
    model.graph.initializer[0].raw_data = WEIGHT.tobytes()
    assert refusal(model).code == "E406"
    model = external(offset="4")
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    assert refusal(model).code == "E407"


def test_a_small_file_cannot_stand_for_gigabytes(refusal, weights, monkeypatch):
    monkeypatch.setattr("edgepack.graph.tensors.MAX_BYTES", 60)
    model = external(offset="4")
    for name in "ab":
        model.graph.initializer.add().CopyFrom(model.graph.initializer[0])
        model.graph.initializer[-1].name = name
    assert refusal(model).code == "E415"
