"""Calibration forgets what it has seen: memory does not follow the number of samples."""

import json
import subprocess
import sys

import pytest

import edgepack.api as api
from edgepack.base import Context, Silent
from edgepack.graph.runner import ChildRunner
from edgepack.registry import load_pass

SWEEP = """
import json, resource, sys, tempfile
from pathlib import Path
import numpy as np
from edgepack.base import Context, Silent
from edgepack.graph import Graph
from edgepack.graph.runner import ChildRunner
from edgepack.registry import load_pass
from edgepack.types import Sample

folder, name, options = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
count = int(sys.argv[4])

class Texts:
    generated, digest = False, "0"
    def __len__(self):
        return count
    def __iter__(self):
        draw = np.random.default_rng(0)
        for index in range(count):
            length = 128 if index < 3 else int(draw.integers(4, 129))
            ids = draw.integers(1000, 28000, (1, length))
            fed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            yield Sample(inputs=({**fed, "token_type_ids": np.zeros_like(ids)},))

graph = Graph.load(folder)
with tempfile.TemporaryDirectory() as work:
    context = Context(Path(work), 0, {"calibration": Texts()}, ChildRunner(), Silent())
    load_pass(name)(samples=count, **options).apply(graph, context)
whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
print(max(resource.getrusage(who).ru_maxrss for who in whose))
"""
"""Prints the kilobytes that the largest of its processes took."""


@pytest.fixture(scope="module")
def encoder(minilm, tmp_path_factory):
    """MiniLM as a tidy float graph, saved."""
    work = api.prepare(api.Request(str(minilm), targets=("x86-vnni",)))
    context = Context(tmp_path_factory.mktemp("work"), 0, {}, ChildRunner(), Silent())
    graph = work.source.load(context)
    for step in work.plans[0].baseline:
        graph = load_pass(step.name).model_validate(step.options).apply(graph, context)
    folder = tmp_path_factory.mktemp("encoder")
    graph.save(folder)
    return folder


def peak(folder, name, options, count):
    line = [sys.executable, "-c", SWEEP, str(folder), name, json.dumps(options), str(count)]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("quantize", {"scheme": "w8a8-static", "calibration": "entropy", "correct_bias": True}),
        ("smooth", {"insert": True}),
    ],
    ids=["quantize", "smooth"],
)
def test_twenty_times_the_samples_take_no_fifth_more(encoder, name, options):
    few, many = (peak(encoder, name, options, count) for count in (100, 2000))
    assert many <= 1.2 * few
