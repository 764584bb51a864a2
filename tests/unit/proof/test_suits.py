"""What the figures of a step say of whether it was worth it."""

import pytest

from edgepack.proof.suits import judge_effects
from edgepack.report import Effect, Footprint, Metric

BIG = {"parameters": 1000, "multiply_adds": 10_000, "bytes": 4000, "instructions": 5000}
HALF = {"parameters": 500, "multiply_adds": 5000, "bytes": 2000, "instructions": 2600}


def effect(before=BIG, after=BIG, points=(99.0, 99.0), interval=None, samples=360, **rest):
    metric = Metric(
        name="accuracy",
        before=points[0],
        after=points[1],
        drop_interval=interval,
        samples=samples,
        **rest,
    )
    return Effect(before=Footprint(**before), after=Footprint(**after), metric=metric)


def notes(*effects):
    return [one.notes for one in judge_effects(effects)]


def test_a_step_that_is_worth_it_gets_no_note():
    assert notes(effect(BIG, HALF, (99.0, 95.0), (2.0, 6.0))) == [()]


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({**HALF, "instructions": 4950}, "parameters fell by 50 %, and instructions did not"),
        ({**HALF, "instructions": None, "multiply_adds": 9999}, "and multiply-adds did not"),
        ({**BIG, "instructions": 5500}, "it executes 10 % more instructions"),
    ],
)
def test_work_that_does_not_follow_the_parameters_is_told(after, words):
    [told] = notes(effect(BIG, after, (99.0, 95.0), (2.0, 6.0)))
    assert len(told) == 1
    assert words in told[0]


def test_parameters_and_work_that_hardly_change_say_nothing():
    assert notes(effect(BIG, {**BIG, "parameters": 990, "instructions": 5050})) == [()]


def test_too_few_samples_and_a_change_within_chance_are_told():
    [few] = notes(effect(BIG, HALF, (99.0, 97.0), samples=40))
    [chance] = notes(effect(BIG, HALF, (99.0, 98.5), (-0.4, 1.4)))
    assert few == ("40 evaluation samples are too few to judge accuracy by",)
    assert "may be chance" in chance[0]
    assert "[-0.4, 1.4]" in chance[0]
    assert notes(effect(BIG, HALF, (99.0, 97.0), samples=40, items=4000)) == [()]


def test_a_loss_for_nothing_is_told():
    [told] = notes(effect(BIG, {**BIG, "bytes": 4008}, (99.0, 95.0), (2.0, 6.0)))
    assert told == ("it made nothing smaller or faster, and lost 4 points",)


@pytest.mark.parametrize(("back", "count"), [(73.0, 1), (97.0, 0)])
def test_a_recovery_that_wins_back_less_than_half_is_told(back, count):
    cut = effect(BIG, HALF, (99.0, 59.0), (35.0, 45.0))
    won = effect(HALF, HALF, (59.0, back), (-40.0, -10.0))
    told = notes(cut, won)[1]
    assert len(told) == count
    assert all("won back 14 points of the 40 points lost before it" in text for text in told)


def test_no_change_at_all_is_told():
    assert notes(effect()) == [("no figure changed",)]


def test_a_step_that_was_not_measured_says_nothing_of_its_worth():
    lost = Effect(before=Footprint(**BIG), after=Footprint(parameters=500), why="it does not run")
    assert notes(lost) == [()]


def test_more_mistakes_are_a_loss():
    [told] = notes(
        effect(points=(2.0, 3.0), interval=(30, 70), lower_is_better=True, relative=True)
    )
    assert told == ("it made nothing smaller or faster, and lost 50 %",)
