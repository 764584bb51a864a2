from types import SimpleNamespace

import numpy as np
import pytest

from edgepack.graph.difference import apart, first_difference
from edgepack.graph.prefix import Layer

PAIRS = tuple((Layer(name, f"node_{name}", "Op"), name, name) for name in "abc")


def session(**tensors):
    return SimpleNamespace(
        run=lambda feed, outputs: {n: np.float32(tensors[n]) * feed["x"] for n in outputs}
    )


RIGHT = session(a=[1.0, 2], b=[3.0, 4], c=[1.0, 0])
FEEDS = [{"x": np.float32(1)}, {"x": np.float32(2)}]


def differs(found):
    return found.relative > 0.1


def test_the_first_that_differs_is_named():
    wrong = session(a=[1.0, 2.1], b=[3.0, 3.0], c=[0.0, 1])
    found = first_difference(RIGHT, wrong, PAIRS, FEEDS, differs)
    assert (found.tensor, found.node, found.agreeing, found.compared) == ("b", "node_b", 1, 3)
    assert found.relative == pytest.approx(0.25)
    assert found.cosine == pytest.approx(21 / 5 / 18**0.5)
    assert "first differs at `node_b` (Op; relative 0.25, cosine 0.9899)" in str(found)


def test_nothing_differs():
    assert first_difference(RIGHT, RIGHT, PAIRS, FEEDS, differs) is None
    assert {one.decibel for one in apart(RIGHT, RIGHT, PAIRS, FEEDS)} == {200.0}


def test_decibels_stand_on_all_samples():
    half = session(a=[0.5, 1], b=[3.0, 4], c=[1.0, 0])
    first, *_ = apart(RIGHT, half, PAIRS, FEEDS)
    assert first.decibel == pytest.approx(10 * np.log10(4))
    assert first.cosine == pytest.approx(1)


def test_another_shape_is_infinitely_far():
    found = first_difference(RIGHT, session(a=[1.0]), PAIRS[:1], FEEDS, differs)
    assert found.relative == np.inf
    assert "another shape" in str(found)
