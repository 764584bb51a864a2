from pathlib import Path

import numpy as np
import pytest

from edgepack.base import Context, Silent
from edgepack.source.digits import DigitsSource, pictures


class Recorded(Silent):
    """Events that a test looks at."""

    def __init__(self):
        self.decisions = []
        self.notes = []
        self.steps = []

    def decision(self, value):
        self.decisions.append(value)

    def note(self, text):
        self.notes.append(text)

    def progress(self, what, done, total):
        self.steps.append((what, done, total))


@pytest.fixture(scope="session")
def source():
    return DigitsSource(seed=0)


@pytest.fixture
def events():
    return Recorded()


@pytest.fixture
def context(source, events, tmp_path: Path):
    return Context(work=tmp_path, seed=0, data=source.data, runner=None, events=events)


@pytest.fixture(scope="session")
def digits(source, tmp_path_factory):
    work = tmp_path_factory.mktemp("digits")
    return source.load(Context(work, 0, source.data, None, Silent()))


@pytest.fixture(scope="session")
def accuracy():
    images, labels = (column[1437:] for column in pictures())

    def measure(model):
        return float(np.mean(model.run({"image": images})["logits"].argmax(1) == labels))

    return measure
