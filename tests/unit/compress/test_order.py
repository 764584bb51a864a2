"""Orders of steps that make no sense are refused before anything runs."""

import pytest

from edgepack.base import StepRecord
from edgepack.compress.order import CLASHES, PREPARES, require_sense
from edgepack.errors import UsageError
from edgepack.registry import load_pass, pass_names

LEAST = {
    "low-rank": {"ratio": 0.5},
    "prune": {"ratio": 0.5},
    "prune-heads": {"ratio": 0.5},
    "prune-layers": {"ratio": 0.5},
    "prune-weights": {"ratio": 0.5},
    "share": {"layers": "all"},
}


def steps(*given):
    made = []
    for one in given:
        name, options = one if isinstance(one, tuple) else (one, {})
        cls = load_pass(name)
        full = cls.model_validate(options or LEAST.get(name, {})).model_dump(mode="json")
        made.append(StepRecord(name=name, version=cls.version, options=full))
    return made


@pytest.mark.parametrize(
    ("given", "code", "place", "word"),
    [
        (["sparsify"], "E254", 0, "`prune` or `prune-weights`"),
        (["prune", "sparsify", "finetune"], "E254", 1, "none follows"),
        (["prune-layers", "layer-drop"], "E254", 1, "`prune-layers`"),
        (["prune-weights", "finetune"], "E255", 1, "`finetune` undoes"),
        (["prune-weights", "recalibrate", "low-rank"], "E255", 2, "`low-rank` undoes"),
        (["prune-weights", "finetune", "prune-weights", "finetune"], "E255", 3, "undoes"),
        ([("share", {"clusters": 16}), "finetune"], "E255", 1, "`share`"),
        ([("qat", {"width": "w2"}), "prune"], "E255", 1, "`qat`"),
        (["qat", "finetune"], "E255", 1, "`finetune` undoes"),
        (["qat", "qat"], "E255", 1, "`qat` undoes"),
        (["low-rank", "prune-heads"], "E256", 1, "nothing to work on"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(given, code, place, word):
    with pytest.raises(UsageError, match=word) as caught:
        require_sense(steps(*given), lambda index: f"step {index}")
    assert (caught.value.code, caught.value.where) == (code, f"step {place}")
    assert caught.value.why
    assert "`" in caught.value.fix


@pytest.mark.parametrize(
    "given",
    [
        ["sparsify", "prune", "recalibrate", "finetune", "low-rank", "finetune", "prune-weights"],
        ["prune-weights", "finetune", "prune-weights"],
        ["prune-weights", ("finetune", {"keep_zeros": True})],
        ["layer-drop", "prune-layers", "finetune"],
        ["share", "finetune", "low-rank", "prune"],
        [("low-rank", {"ratio": 0.5, "keep": ("*attention*",)}), "prune-heads"],
        ["prune-heads", "low-rank"],
    ],
    ids=lambda given: given[0] if isinstance(given[0], str) else given[0][0],
)
def test_what_makes_sense_is_not(given):
    require_sense(steps(*given), str)


def test_the_same_student_is_not_taught_twice():
    student, other = "torch:a.py:build", "torch:b.py:build"
    with pytest.raises(UsageError) as caught:
        require_sense(distilled(student, student), str)
    assert caught.value.code == "E255"
    require_sense(distilled(other, student), str)
    require_sense(distilled(student, ""), str)


def distilled(*students):
    return [StepRecord(name="distil", version=1, options={"student": one}) for one in students]


def test_every_name_is_a_pass():
    known = set(pass_names())
    assert set(PREPARES) <= known
    assert {name for names in PREPARES.values() for name in names} <= known
    assert {name for clash in CLASHES for name in (clash.first, *clash.then)} <= known
