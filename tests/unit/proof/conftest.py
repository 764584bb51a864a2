from contextlib import contextmanager
from types import SimpleNamespace

import pytest


@pytest.fixture
def runner():
    """Runs graphs that are plain functions from inputs to outputs; remembers the settings."""

    class FakeRunner:
        def __init__(self):
            self.settings = []

        @contextmanager
        def open(self, graph, settings=None):
            self.settings.append(settings)
            yield SimpleNamespace(run=lambda inputs, outputs=None: graph(inputs))

    return FakeRunner()


@pytest.fixture
def events():
    class Recorded:
        def __init__(self):
            self.told = []

        def progress(self, what, done, total):
            self.told.append((what, done, total))

    return Recorded()


@pytest.fixture
def samples():
    """Make samples of a list of (label, run, run ...)."""

    def make(items, generated=False):
        from edgepack.types import Sample

        class Listed(list):
            digest = ""

        listed = Listed(Sample(tuple(runs), label) for label, *runs in items)
        listed.generated = generated
        return listed

    return make
