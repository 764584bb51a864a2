"""What every driver reads."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np


def read() -> dict[str, Any]:
    """Return the job that the command line names."""
    return json.loads(Path(sys.argv[1]).read_text())


def calibration(job: dict[str, Any]) -> list[dict[str, np.ndarray]]:
    """Return the inputs to calibrate on."""
    found: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    with np.load(job["calibration"]) as arrays:
        for name in arrays.files:
            place, _, given = name.partition("/")
            found[place][given] = arrays[name]
    return list(found.values())
