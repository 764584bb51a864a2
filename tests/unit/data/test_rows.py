from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepack.data.rows import Row, Text, class_ids, row_of
from edgepack.errors import UsageError
from edgepack.types import Sample


def test_text_is_one_run_or_two():
    assert row_of("good", [], "") == Row((Text("good"),))
    assert row_of(("good", 1), [], "") == Row((Text("good"),), 1)
    joint = {"text": "a", "text_pair": "b", "score": 0.5, "id": 9}
    assert row_of(joint, [], "") == Row((Text("a", "b"),), 0.5)
    apart = Row((Text("a"), Text("b")), 2)
    assert row_of({"texts": ["a", "b"], "label": 2}, [], "") == apart
    assert row_of({"text_1": "a", "text_2": "b", "label": 2}, [], "") == apart


def test_an_input_that_is_called_label_is_an_input():
    row = row_of({"label": 1, "y": 2}, ["label"], "")
    assert row == Row(({"label": 1},), 2)


def test_a_pair_is_inputs_and_label():
    x = np.zeros(2)
    row = row_of(((x, x), np.int64(3)), [], "")
    assert isinstance(row.runs[0], tuple)
    assert row.label == 3
    assert isinstance(row.label, int)


def test_labels_leave_their_arrays():
    assert row_of((np.zeros(2), np.array([4])), [], "").label == 4
    assert row_of((np.zeros(2), True), [], "").label == 1
    assert row_of((np.zeros(2), np.array([4, 5])), [], "").label.tolist() == [4, 5]


def test_a_sample_is_taken_as_it_is():
    sample = Sample(({"x": 1}, {"x": 2}), 0.25)
    assert row_of(sample, [], "") == Row(({"x": 1}, {"x": 2}), 0.25)
    assert row_of(SimpleNamespace(inputs={"x": 1}, label=None), [], "") == Row(({"x": 1},))


@pytest.mark.parametrize(
    ("raw", "code"),
    [((1, 2, 3), "E275"), ({"text": 5}, "E283"), ({"texts": ["a"]}, "E283"),
     ({"texts": "ab"}, "E283"), ({"text_1": "a"}, "E283"), ({"text": "a", "text_pair": 1}, "E283")],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(raw, code):
    with pytest.raises(UsageError) as caught:
        row_of(raw, [], "here")
    assert (caught.value.code, caught.value.where) == (code, "here")


@given(st.lists(st.text(min_size=1), min_size=1))
def test_classes_are_numbered_by_name(labels):
    ids = class_ids(labels, {}, "")
    assert sorted(ids.values()) == list(range(len(set(labels))))
    assert [name for name, _ in sorted(ids.items(), key=lambda p: p[1])] == sorted(set(labels))


def test_the_models_own_numbers_of_classes_win():
    assert class_ids(["a", "b"], {"b": 0, "a": 1, "c": 2}, "") == {"a": 1, "b": 0}
    assert class_ids(["a", "b"], {"LABEL_0": 0, "LABEL_1": 1}, "") == {"a": 0, "b": 1}
    assert class_ids(["LABEL_1"], {"LABEL_0": 0, "LABEL_1": 1}, "") == {"LABEL_1": 1}


def test_strange_and_mixed_classes_are_refused():
    with pytest.raises(UsageError, match="no class named `sprot`") as caught:
        class_ids(["sprot"], {"sport": 0, "art": 1}, "")
    assert "did you mean `sport`" in caught.value.fix
    with pytest.raises(UsageError, match="some labels are names"):
        class_ids(["a", 1], {}, "")
