"""Every test draws the same weights, whatever ran before it."""

import numpy as np
import pytest

from tests.unit.quantize import scene


@pytest.fixture(autouse=True)
def _drawn_anew(monkeypatch):
    monkeypatch.setattr(scene, "DRAW", np.random.default_rng(0))
