import subprocess
import sys

import numpy as np
import pytest

from edgepack.base import Context, Silent
from edgepack.source.digits import DigitsSource, pictures


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, 0, {}, None, Silent())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return DigitsSource(0).load(Context(tmp_path_factory.mktemp("d"), 0, {}, None, Silent()))


def test_splits_share_nothing_but_calibration():
    splits = {name: list(samples) for name, samples in DigitsSource(0).data.items()}
    assert {name: len(s) for name, s in splits.items()} == {
        "train": 1437,
        "calibration": 128,
        "evaluation": 360,
    }
    (one,) = splits["train"][0].inputs
    assert one["image"].shape == (1, 1, 8, 8)
    assert one["image"].dtype == np.float32
    assert 0 <= one["image"].min() < one["image"].max() == 1
    whole = np.concatenate([s.inputs[0]["image"] for s in splits["train"] + splits["evaluation"]])
    assert np.array_equal(whole, pictures()[0])
    assert {s.label for s in splits["evaluation"]} == set(range(10))


def test_nothing_heavy_is_loaded_to_know_it():
    probe = (
        "import sys; from edgepack.source.digits import DigitsSource as D; s = D(0);"
        "[x.digest for x in s.data.values()], [len(x) for x in s.data.values()];"
        "print({'torch', 'sklearn', 'onnx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_digests_tell_seeds_and_splits_apart():
    source = DigitsSource(0)
    assert source.digest == DigitsSource(0).digest != DigitsSource(1).digest
    assert len({s.digest for s in source.data.values()}) == 3


def test_training_gives_the_same_bits_and_is_nearly_always_right(context, trained):
    images, labels = (column[1437:] for column in pictures())
    assert np.mean(trained.run({"image": images})["logits"].argmax(1) == labels) >= 0.97
    assert DigitsSource(0).load(context).digest == trained.digest
    assert 200_000 < trained.facts()["parameters"] < 260_000


def test_fresh_has_the_same_names_and_shapes_and_other_weights(context, trained):
    fresh = DigitsSource(0).fresh(context)
    shapes = [{n: t.shape for n, t in m.module.state_dict().items()} for m in (fresh, trained)]
    assert shapes[0] == shapes[1]
    assert fresh.outputs == trained.outputs
    assert fresh.digest != trained.digest
