"""edgepack beside its peers: the same models and data, interleaved, one thread and two.

Writes docs/benchmarks.md and docs/benchmarks.svg. `python bench_peers.py [CASE ...]` takes some of
the cases and writes nothing. The last line says how many bars hold; exit status 1 if one does not.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from peers.bars import bars
from peers.builds import cold, made, ours
from peers.cases import Case, cases
from peers.environment import Failed
from peers.measured import Measured, measured
from peers.page import page, plot, table
from verdict import verdict

from edgepack.devices import Opening
from edgepack.devices.local import Local
from edgepack.report import TargetReport

DOCS = Path(__file__).parents[1] / "docs"


def main() -> int:
    """Build all, time all, write the page, and say whether the bars hold."""
    began = time.monotonic()
    known = cases()
    chosen = {name: known[name] for name in sys.argv[1:] or known}
    info = Local("", Opening("")).info()
    found: dict[str, list[Measured]] = {}
    reports: dict[tuple[str, str], TargetReport | None] = {}
    seconds: dict[str, float] = {}
    work = Path(tempfile.mkdtemp(prefix="edgepack-peers-"))
    try:
        for name, case in chosen.items():
            print(f"{case.title}:", flush=True)
            folder = work / name
            folder.mkdir()
            candidates = list(made(case, folder))
            for target in case.targets:
                one, reports[name, target] = ours(case, target, folder)
                candidates.append(one)
            if name == "minilm":
                seconds = _cold(case, folder)
            found[name] = measured(case, candidates, folder)
            print(table(case, found[name]), flush=True)
        held, elsewhere = bars(found, reports, seconds, info.features)
        load = os.getloadavg()[1]
        machine = (
            f"{info.cpu} with {', '.join(info.features)}, {os.cpu_count()} processors, "
            f"load {load:.1f}"
        )
        lines = [f"- {says}: {'holds' if holds else '**fails**'}" for says, holds in held.items()]
        if len(chosen) == len(known):  # sizes are read from the files, which go with the folder
            text = page(known, found, machine, "\n".join([*lines, *(f"- {e}" for e in elsewhere)]))
            (DOCS / "benchmarks.md").write_text(text)
            (DOCS / "benchmarks.svg").write_text(plot(known, found))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{machine}\n" + "\n".join(f"  {one}" for one in elsewhere))
    return verdict(held, began)


def _cold(case: Case, folder: Path) -> dict[str, float]:
    try:
        return cold(case, folder)
    except Failed as problem:
        print(f"  cold builds: {problem}")
        return {}


if __name__ == "__main__":
    raise SystemExit(main())
