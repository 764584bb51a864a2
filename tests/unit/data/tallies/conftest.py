import numpy as np
import pytest

from edgepack.data import resolve
from edgepack.types import Sample


@pytest.fixture
def tally(tmp_path):
    """Tally (label, output, ...) samples under a metric; several outputs are several runs."""

    def made(name, samples, inputs=None):
        begun = resolve(name, tmp_path).start()
        for label, *outputs in samples:
            runs = [{"y": np.asarray(o)} for o in outputs]
            begun.add(Sample(tuple(inputs or {} for _ in runs), label), runs, runs)
        return begun

    return made


@pytest.fixture
def score(tally):
    return lambda name, samples, inputs=None: tally(name, samples, inputs).value()
