import numpy as np
import pytest

from edgepack.data.fit import fit
from edgepack.errors import UsageError
from edgepack.types import TensorSpec


def spec(dtype="float32", shape=("batch", 3), name="x_in"):
    return (TensorSpec(name=name, dtype=dtype, shape=shape),)


def refused(given, specs):
    with pytest.raises(UsageError) as caught:
        fit(given, specs, "data.npz, sample 7")
    assert caught.value.where == "data.npz, sample 7"
    return caught.value


@pytest.mark.parametrize(
    ("have", "want"),
    [("float64", "float32"), ("float16", "float32"), ("int32", "int64"), ("bool", "int64"),
     ("uint8", "int32"), ("int64", "int64"), ("float32", "float64")],
)  # fmt: skip
def test_casts_that_lose_nothing_are_made(have, want):
    fitted = fit(np.ones(3, have), spec(want), "")["x_in"]
    assert fitted.dtype == want
    assert fitted.tolist() == [[1, 1, 1]]


@pytest.mark.parametrize(
    ("have", "want"),
    [("int64", "float32"), ("uint8", "float32"), ("float32", "int64"), ("int64", "int32"),
     ("uint64", "int64"), ("int64", "bool"), ("float32", "float16"), ("complex64", "float32")],
)  # fmt: skip
def test_casts_that_guess_are_refused(have, want):
    problem = refused(np.ones(3, have), spec(want))
    assert problem.code == "E277"
    assert want in problem.fix


def test_bytes_of_a_picture_are_told_to_be_scaled():
    assert "/ 255" in refused(np.ones(3, np.uint8), spec()).fix


def test_text_for_a_model_of_numbers_is_told_to_be_tokenised():
    assert "tokenise" in refused("good", spec(shape=("batch",))).fix


def test_a_batch_axis_of_one_is_added_or_kept():
    assert fit(np.zeros(3), spec(), "")["x_in"].shape == (1, 3)
    assert fit(np.zeros((1, 3)), spec(), "")["x_in"].shape == (1, 3)


@pytest.mark.parametrize("shape", [(2, 3), (4,), (1, 1, 3), ()])
def test_a_wrong_shape_is_refused_and_the_right_one_told(shape):
    problem = refused(np.zeros(shape), spec())
    assert problem.code == "E278"
    assert "[1, 3]" in problem.why


def test_a_fixed_leading_axis_is_no_batch():
    state = spec(shape=(2, "batch", 4))
    assert fit(np.zeros((2, 1, 4)), state, "")["x_in"].shape == (2, 1, 4)


def test_free_axes_take_any_size():
    assert fit(np.zeros((5, 7)), spec(shape=("batch", "h", "w")), "")["x_in"].shape == (1, 5, 7)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_in_the_models_type_is_refused(bad):
    assert refused(np.array([0, bad, 0]), spec()).code == "E279"


def test_names_are_matched_exactly():
    two = spec(name="ids") + spec(name="mask")
    row = np.zeros(3)
    assert list(fit({"mask": row, "ids": row}, two, "")) == ["ids", "mask"]
    assert list(fit((row, row), two, "")) == ["ids", "mask"]
    assert "lacks the input `mask`" in refused({"ids": row}, two).what
    assert "did you mean `mask`" in refused({"ids": row, "mask": row, "mas": row}, two).fix
    assert "2 inputs" in refused(row, two).what


def test_x_names_the_only_input():
    assert list(fit({"x": np.zeros(3)}, spec(), "")) == ["x_in"]
    assert refused({"y_in": np.zeros(3)}, spec()).code == "E276"


def test_a_ragged_list_is_no_array():
    assert refused([[1.0], [1.0, 2.0]], spec(shape=("b", "n", "m"))).code == "E277"
