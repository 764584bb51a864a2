"""What a benchmark says last."""

from __future__ import annotations

import time
from collections.abc import Mapping


def verdict(bars: Mapping[str, bool], began: float) -> int:
    """Print each bar and how many hold; return the exit status.

    Args:
        bars: what must hold, with its figure, and whether it does.
        began: when the benchmark did, by `time.monotonic`.
    """
    for says, holds in bars.items():
        print(f"  {says}: {'holds' if holds else 'FAILS'}")
    print(f"\n{sum(bars.values())} of {len(bars)} bars hold, in {time.monotonic() - began:.0f} s")
    return 0 if all(bars.values()) else 1
