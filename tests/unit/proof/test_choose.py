import pytest

from edgepack.proof.choose import Contender, choose

FLOAT = Contender(name="float", bytes=100, instructions=1000)


def way(name="w8", size=26, instructions=600, **against):
    return Contender(name=name, bytes=size, instructions=instructions, **against)


def taken(*ways, most_slowdown=1.0):
    contenders = [*ways, FLOAT]
    decision = choose(contenders, most_slowdown)
    names = [one.name for one in contenders]
    return names[decision.taken], dict(zip(names, decision.reasons, strict=True))


def test_the_smallest_product_of_size_and_work_wins():
    small, fast = way("small", 20, 900), way("fast", 50, 300)  # .18 against .15
    assert taken(small, fast)[0] == "fast"
    assert taken(way("small", 20, 700), fast)[0] == "small"


def test_what_counts_as_equal_is_decided_by_preference():
    assert taken(way("a", 26, 606), way("b", 26, 600))[0] == "a"
    assert taken(way("a", 26, 630), way("b", 26, 600))[0] == "b"


@pytest.mark.parametrize(
    ("against", "word"),
    [
        ({"refused": "no data"}, "no data"),
        ({"wrong": "cosine 0.5, limit 0.99"}, "cosine 0.5"),
        ({"vetoed": "took 1.4 times as long"}, "took 1.4"),
        ({"instructions": 1011}, "slower: 1.01 times"),
    ],
)
def test_the_model_as_it_is_wins_over_what_something_speaks_against(against, word):
    name, reasons = taken(way(**against))
    assert name == "float"
    assert word in reasons["w8"]
    assert reasons["float"] == "nothing else was better"


def test_a_slowdown_within_the_limit_is_let_through():
    assert taken(way(instructions=1010))[0] == "w8"
    assert taken(way(instructions=1300), most_slowdown=50.0)[0] == "w8"


def test_what_keeps_to_the_budget_comes_before_what_does_not():
    heavy = way("heavy", 10, 600, exceeds="instructions 600 exceeds 500")
    light = way("light", 60, 400)
    name, reasons = taken(heavy, light)
    assert name == "light"
    assert reasons["heavy"] == "instructions 600 exceeds 500"
    over = FLOAT.model_copy(update={"exceeds": "size"})
    assert choose([heavy, over], 1.0).taken == 0


def test_without_counts_the_size_decides():
    assert taken(way("a", 50, None), way("b", 30, 900))[0] == "b"
    assert "not counted" in taken(way("a", 50, None), way("b", 30, 900))[1]["a"]


def test_a_loser_reads_what_it_measured_and_what_was_better():
    _, reasons = taken(way("a", 50, 500), way("b", 26, 600))
    assert reasons["b"] == "0.26 times the size and 0.60 times the instructions of `float`"
    assert reasons["a"].endswith("0.50 times the instructions of `float`; `b` is better")
