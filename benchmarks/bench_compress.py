"""Every compression technique on scikit-learn's digits, five seeds each, against its bar.

Prints a table of means and ranges, and how many bars hold; exit status 1 if one does not.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

FOLDER = Path(__file__).parent / "compress"
SEEDS = range(5)
APART = {"__init__", "scene", "qat"}
"""What is no technique, and the one that `make bench-qat` measures by itself."""


def techniques() -> list[str]:
    """Name the files that measure a technique."""
    return sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in APART)


def measured(seed: int, names: list[str]) -> dict[str, dict[str, float]]:
    """Measure techniques from one seed; a process of its own trains each model once."""
    found = {}
    for name in names:
        began = time.monotonic()
        found[name] = import_module(f"compress.{name}").measure(seed)
        print(f"seed {seed}: {name} in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return found


def main() -> int:
    """Measure, print, and say whether all bars hold."""
    names = sys.argv[1:] or techniques()
    began = time.monotonic()
    print(f"seeds {list(SEEDS)}, {platform.machine()}, {os.cpu_count()} processors")
    workers = min(len(SEEDS), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        runs = list(pool.map(measured, SEEDS, [names] * len(SEEDS)))
    held = total = 0
    for name in names:
        print(f"\n{name}")
        bars = import_module(f"compress.{name}").BARS
        values = {key: [run[name][key] for run in runs] for key in runs[0][name]}
        for key, column in values.items():
            line = f"  {key:<44} {np.mean(column):8.2f}  ({min(column):.2f} to {max(column):.2f})"
            for bar in (bar for bar in bars if bar.number == key):
                holds = bar.holds(column)
                total, held = total + 1, held + holds
                limit = f"{'at least' if bar.least else 'at most'} {bar.limit:g}"
                line += f"  {limit}: {'holds' if holds else 'FAILS'}"
            print(line)
    print(f"\n{held} of {total} bars hold, in {time.monotonic() - began:.0f} s")
    return 0 if held == total else 1


if __name__ == "__main__":
    raise SystemExit(main())
