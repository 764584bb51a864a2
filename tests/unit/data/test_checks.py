from dataclasses import dataclass

import numpy as np
import pytest

from edgepack.base import Silent
from edgepack.data import checks
from edgepack.data.checks import check_splits
from edgepack.errors import UsageError
from edgepack.types import Sample


@dataclass
class Given:
    samples: list
    generated: bool = False
    digest: str = "d"
    passes: int = 0

    def __len__(self):
        return len(self.samples)

    def __iter__(self):
        self.passes += 1
        return iter(self.samples)


class Notes(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def pictures(seed, count=8, scale=1.0, whole=False, labels=(0, 1)):
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 256, (count, 1, 3, 4, 4)) if whole else rng.random((count, 1, 3, 4, 4))
    return [
        Sample(({"image": np.float32(x * scale)},), labels[i % len(labels)])
        for i, x in enumerate(drawn)
    ]


def found(metric="accuracy", **splits):
    return check_splits({k: Given(v) for k, v in splits.items()}, metric, Silent())


def test_good_data_is_passed_in_one_reading_of_each():
    data = {s: Given(pictures(i)) for i, s in enumerate(("train", "calibration", "evaluation"))}
    notes = Notes()
    assert check_splits(data, "accuracy", notes) == ()
    assert notes.notes == []
    assert [given.passes for given in data.values()] == [1, 1, 1]


def test_samples_of_both_are_named_by_their_places():
    held = pictures(0)
    (text,) = found(calibration=held[4:], evaluation=held[:6])
    assert (
        "2 of 6 samples are calibration samples too: 4 (calibration 0), 5 (calibration 1)" in text
    )
    assert "take them out" in text


@pytest.mark.parametrize("other", ["calibration", "train"])
def test_evaluation_that_is_all_seen_before_is_refused(other):
    held = pictures(0)
    with pytest.raises(UsageError) as caught:
        found(**{other: held, "evaluation": held[:2]})
    assert caught.value.code == "E299"
    assert other in caught.value.what
    assert "0 (" in caught.value.where


def test_calibration_may_be_of_the_training_data():
    held = pictures(0)
    assert found(train=held, calibration=held[:4], evaluation=pictures(1)) == ()


def test_a_split_that_stands_in_for_another_is_looked_at_once():
    given = Given(pictures(0))
    assert check_splits({"calibration": given, "evaluation": given}, None, Silent()) == ()
    assert given.passes == 1


def test_made_up_data_is_not_looked_at():
    given = Given(pictures(0, whole=True), generated=True)
    assert check_splits({"evaluation": given}, None, Silent()) == ()
    assert given.passes == 0


def test_constant_samples_are_told():
    same = pictures(0, 1) * 5
    assert "all 5 samples are the same as sample 0" in found(None, calibration=same)[0]
    zeros = [Sample(({"x": np.full((1, 3), 0.5, np.float32), "n": np.array([i])},)) for i in (1, 2)]
    (text,) = found(None, calibration=zeros)
    assert "every value of `x` is 0.5" in text


def test_state_masks_and_token_types_may_be_constant():
    runs = [
        {"h": np.zeros((1, 2), np.float32), "mask": np.ones((1, 2), int), "x": np.float32([[i]])}
        for i in range(3)
    ]
    samples = [Sample((run,), i, {"h": "hn"}) for i, run in enumerate(runs)]
    assert found(evaluation=samples) == ()


@pytest.mark.parametrize(
    ("metric", "labels", "told"),
    [
        ("accuracy", (1,), True),
        ("auc", ([1, 1],), True),
        ("auc", (np.array([1, 1]), [np.int64(1)]), True),
        ("f1", (1, 1, 0), False),
        ("auc", ([1, 0],), False),
        ("spearman", (1,), False),
        ("accuracy", ({"box": 1}, {"box": 2}), False),
    ],
)
def test_labels_of_a_single_class(metric, labels, told):
    texts = found(metric, evaluation=pictures(0, labels=labels))
    assert [("have the label 1" in text, metric in text) for text in texts] == [(True, True)] * told


def test_one_class_in_training_data_says_nothing_of_the_metric():
    assert found(train=pictures(0, labels=(1,)), evaluation=pictures(1)) == ()


def test_bytes_where_a_network_takes_0_to_1():
    (text,) = found(evaluation=pictures(0, whole=True))
    assert "`image` holds whole numbers up to 25" in text
    assert "divide by 255" in text
    assert found(evaluation=pictures(0, whole=True, scale=1 / 255)) == ()
    signed = [Sample(({"image": s.inputs[0]["image"] - 128},), s.label) for s in
              pictures(0, whole=True)]  # fmt: skip
    assert found(evaluation=signed) == ()


def test_whole_numbers_of_other_shapes_are_no_pictures():
    table = [Sample(({"row": np.float32([[30 + i, 170]])},), i) for i in range(3)]
    assert found(evaluation=table) == ()


@pytest.mark.parametrize(("scale", "told"), [(25.0, True), (15.0, False), (1 / 25, True)])
def test_ranges_that_are_far_apart(scale, told):
    texts = found(calibration=pictures(0, scale=scale), evaluation=pictures(1))
    assert ["in calibration data" in text for text in texts] == [True] * told


def test_only_so_many_samples_are_looked_at(monkeypatch):
    monkeypatch.setattr(checks, "MOST", 4)
    held = pictures(0, labels=(0, 0, 0, 0, 1))
    assert found(calibration=held[:4], evaluation=held[4:] + held[:4]) == ()
    (text,) = found(calibration=held[:4], evaluation=held)
    assert "4 of 4 looked at samples" in text


@pytest.mark.parametrize(
    "label",
    [
        np.zeros((2, 2)),
        [np.zeros(2), np.zeros(3)],
        {"boxes": np.zeros((1, 4))},
        [[1], [1, 2]],
        None,
    ],
    ids=["array", "ragged", "dict", "lists", "none"],
)
def test_labels_of_other_kinds_count_as_different(label):
    assert found("accuracy", evaluation=pictures(0, labels=(label,))) == ()


@dataclass
class Classes(Given):
    numbered: dict = None


def numbered(metric="accuracy", **splits):
    data = {
        split: Classes(pictures(i), numbered={name: n for n, name in enumerate(names.split())})
        for i, (split, names) in enumerate(splits.items())
    }
    return check_splits(data, metric, Silent())


def test_classes_that_are_numbered_by_their_names_are_told_once():
    (text,) = numbered(train="cat dog", evaluation="cat dog")
    assert "cat = 0, dog = 1;" in text
    assert "label2id" in text
    assert "a = 0, b = 1, c = 2, d = 3, e = 4, ...;" in numbered(evaluation="a b c d e f")[0]
    assert numbered(evaluation="") == ()


@pytest.mark.parametrize(
    ("splits", "lost"),
    [({"train": "cat dog", "evaluation": "dog"}, "cat"),
     ({"train": "cat", "evaluation": "cat dog"}, "dog"),
     ({"calibration": "cat dog", "evaluation": "dog"}, "cat")],
    ids=["evaluation", "train", "calibration"],
)  # fmt: skip
def test_splits_that_would_number_classes_differently_are_refused(splits, lost):
    with pytest.raises(UsageError) as caught:
        numbered(**splits)
    assert caught.value.code == "E262"
    assert f"no class `{lost}`" in caught.value.what


def test_calibration_may_lack_classes():
    assert len(numbered(calibration="dog", evaluation="cat dog")) == 1


def test_labels_that_nothing_uses_may_be_numbered_in_any_way():
    assert numbered(metric=None, calibration="cat dog", evaluation="dog") == ()
