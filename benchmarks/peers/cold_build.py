"""Exports, fuses and quantises a transformers folder to `w8-dynamic`, from an empty cache.

`python cold_build.py JOB`, as the peers' drivers; nothing is packed or verified.
"""

import json
import sys
from pathlib import Path

from edgepack.api import Request, prepare
from edgepack.api.chain import Chain
from edgepack.base import Silent
from edgepack.cache import Cache
from edgepack.graph.runner import ChildRunner

job = json.loads(Path(sys.argv[1]).read_text())
steps = 'steps=[{pass="quantize", scheme="w8-dynamic"}]'
work = prepare(Request(model=job["weights"], targets=("x86-vnni",), overrides=(steps,)))
[plan] = work.plans
way = next(w for w in plan.choice.ways if w.options["scheme"] == "w8-dynamic")
records = [step for step in plan.with_way(way) if step.name != "pack"]
cache = Cache(Path(job["out"]) / "cache")
chain = Chain(work.source, work.recipe.seed, {}, ChildRunner(), Silent(), cache, {})
chain.run(tuple(records))[-1].load().write(Path(job["out"]) / "ours.onnx")
