import numpy as np
import pytest
from onnx import helper

from edgepack.errors import ModelError
from edgepack.quantize.calibrate import calibrate
from edgepack.quantize.ranges.reduce import reducer
from edgepack.types import Range, Sample
from tests.unit.quantize.scene import Data, context, model, tensor


def doubling():
    node = helper.make_node("Add", ["x", "x"], ["twice"], name="twice")
    last = helper.make_node("Neg", ["twice"], ["y"], name="negate")
    proto = model([node, last], [tensor("x", "n")], [tensor("y", "n")], [])
    proto.graph.value_info.append(tensor("twice", "n"))
    return proto


def vectors(*rows):
    return Data([Sample(inputs=({"x": np.array(row, np.float32)},)) for row in rows])


def test_inputs_inner_tensors_and_outputs_are_observed(tmp_path):
    data = vectors([1, 2], [-3, 0], [9, 9])
    scene = context(tmp_path, data)
    table = calibrate(doubling(), ["x", "twice", "y"], data, 2, scene, reducer("minmax"))
    assert (table.method, table.samples) == ("minmax", 2)
    assert table.ranges == {
        "x": Range(low=-3, high=2),
        "twice": Range(low=-6, high=4),
        "y": Range(low=-4, high=6),
    }
    assert scene.events.steps[-1] == ("calibrate", 2, 2)


def test_samples_of_several_runs_all_count(tmp_path):
    runs = tuple({"x": np.array([v], np.float32)} for v in (1, 5))
    data = Data([Sample(inputs=runs)])
    table = calibrate(doubling(), ["twice"], data, 128, context(tmp_path, data), reducer("minmax"))
    assert table.ranges == {"twice": Range(low=2, high=10)}


@pytest.mark.parametrize(
    ("data", "code"),
    [(vectors(), "E451"), (vectors([]), "E451"), (vectors([1], [np.nan], [2]), "E452")],
)
def test_ranges_that_mean_nothing_are_refused(tmp_path, data, code):
    with pytest.raises(ModelError) as refused:
        calibrate(doubling(), ["twice"], data, 128, context(tmp_path, data), reducer("minmax"))
    assert refused.value.code == code


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy", "mse"])
def test_every_method_takes_samples_of_any_length(tmp_path, method):
    data = vectors([1e-6], [1, 2, 3], [-40], [0, 0, 0, 0])
    table = calibrate(
        doubling(), ["twice"], data, 128, context(tmp_path, data), reducer(method, 100)
    )
    assert (table.method, table.samples) == (method, 4)
    assert table.ranges["twice"].low < 0 < table.ranges["twice"].high
    assert data.served == 4


def test_no_sample_beyond_the_limit_is_read(tmp_path):
    data = vectors([1], [2], [3])
    calibrate(doubling(), ["x"], data, 2, context(tmp_path, data), reducer("minmax"))
    assert data.served == 2
