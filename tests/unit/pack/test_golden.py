import weakref

import numpy as np
import pytest

from edgepack.artifact.manifest import Golden
from edgepack.errors import ModelError
from edgepack.pack.golden import choose, make_vectors, room
from edgepack.types import Sample, SessionSettings

from .scene import FakeSamples, Relu, context, lengths


def chosen(samples) -> list[int]:
    runs = (run for sample in samples for run in sample.inputs)
    return [inputs["x"].shape[1] for inputs in choose(runs)]


def test_the_three_smallest_shapes_alternate():
    assert chosen(lengths(9, 4, 4, 6, 8, 4, 6)) == [4, 6, 8, 4, 6, 4]


def test_eight_at_most():
    assert chosen(lengths(*[5] * 20)) == [5] * 8


def test_equal_inputs_are_taken_once():
    assert chosen(lengths(5, 5, 5, 6, fill=1.0)) == [5, 6]


def test_each_run_of_a_pair_counts():
    pair = ({"x": np.zeros((1, 2), np.float32)}, {"x": np.ones((1, 3), np.float32)})
    assert chosen(FakeSamples((Sample(pair),))) == [2, 3]


def test_outputs_are_exact_and_single_threaded(tmp_path):
    scene = context(tmp_path / "work")
    settings = SessionSettings(threads=4, optimization="basic", entries={"a": "b"})
    made = make_vectors(Relu(), scene, settings)
    exact = made.golden.session
    assert scene.runner.opened == [exact]
    assert (exact.threads, exact.optimization) == (1, "basic")
    assert exact.entries == {"a": "b", "session.x64quantprecision": "1"}
    assert len(made.golden.vectors) == 3
    want = np.maximum(np.full((1, 4), -2.5, np.float32), 0)
    assert made.files["golden/0/output.0.bin"] == want.tobytes()
    assert sorted(made.files) == [
        f"golden/{i}/{side}.0.bin" for i in range(3) for side in ("input", "output")
    ]


@pytest.mark.parametrize(
    ("data", "length", "generated"),
    [
        ({"evaluation": lengths(3), "calibration": lengths(5)}, 3, False),
        ({"calibration": lengths(5)}, 5, False),
        ({"evaluation": lengths(3, generated=True), "calibration": lengths(5)}, 5, False),
        ({"evaluation": lengths(3, generated=True)}, 3, True),
        ({"evaluation": lengths(), "calibration": lengths(5)}, 5, False),
    ],
    ids=range(5),
)
def test_whose_data(tmp_path, data, length, generated):
    made = make_vectors(Relu(), context(tmp_path / "work", data), SessionSettings()).golden
    assert made.vectors[0].inputs[0].shape == (1, length)
    assert made.generated is generated


def test_no_data_opens_no_session(tmp_path):
    scene = context(tmp_path / "work", {"train": lengths(3)})
    made = make_vectors(Relu(), scene, SessionSettings())
    assert made.golden.vectors == ()
    assert made.files == {}
    assert scene.runner.opened == []


def test_files_stay_within_the_budget(tmp_path):
    scene = context(tmp_path / "work", {"evaluation": lengths(10, 10, 10)})
    assert len(make_vectors(Relu(), scene, SessionSettings(), 100).golden.vectors) == 1


@pytest.mark.parametrize(
    ("model", "files"), [(1000, 1 << 16), (4_000_000, 1_000_000), (10**9, 16 << 20)]
)
def test_a_model_is_not_dwarfed_by_its_vectors(model, files):
    assert room(model) == files


def test_order_and_memory_layout_do_not_matter(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for given in (array, np.asfortranarray(array), array.astype(">f4")):
        data = {"evaluation": FakeSamples((Sample(({"unused": array, "x": given},)),))}
        files = make_vectors(Relu(), context(tmp_path / "w", data), SessionSettings()).files
        assert files["golden/0/input.0.bin"] == array.astype("<f4").tobytes()


@pytest.mark.parametrize(
    ("run", "code"),
    [({"z": np.zeros(1, np.float32)}, "E480"), ({"x": np.zeros((1, 2), np.float64)}, "E480")],
)
def test_data_that_does_not_fit(tmp_path, run, code):
    scene = context(tmp_path / "work", {"evaluation": FakeSamples((Sample((run,)),))})
    with pytest.raises(ModelError) as caught:
        make_vectors(Relu(), scene, SessionSettings())
    assert caught.value.code == code


def test_description_survives_json(tmp_path):
    made = make_vectors(Relu(), context(tmp_path / "work"), SessionSettings()).golden
    assert Golden.model_validate_json(made.model_dump_json(), strict=True) == made


def test_few_inputs_are_held_at_a_time():
    refs = []

    def runs():
        for i in range(200):
            array = np.full((1, 2 + (i * 37) % 100), i, np.float32)
            refs.append(weakref.ref(array))
            yield {"x": array}
            assert sum(ref() is not None for ref in refs) <= 3 * 8 + 2

    assert [inputs["x"].shape[1] for inputs in choose(runs())] == [2, 3, 4, 2, 3, 4]
