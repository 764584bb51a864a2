"""The layer at which a processor saturates is named, and it is the right one."""

import time

import numpy as np
import onnx
import pytest

from edgepack.api.compare import compare
from edgepack.artifact import Artifact
from edgepack.base import Silent
from edgepack.cli.demo import STEPS
from edgepack.devices import Job
from edgepack.devices.open import open_channel
from edgepack.devices.work import execute
from edgepack.graph import Graph
from edgepack.graph.prefix import cuts, exposed
from edgepack.graph.runner import ChildRunner
from edgepack.proof.bisect import explain_device, first_on_device


@pytest.fixture(scope="module")
def made_for_vnni(tmp_path_factory, cache):
    import edgepack.api as api
    from edgepack.api.run import execute as build

    out = tmp_path_factory.mktemp("vnni")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPACK_CACHE", str(cache))
        request = api.Request(model="builtin:digits", targets=("x86-vnni",), overrides=(STEPS,))
        build(api.prepare(request), out=out, force=True)
    return Artifact.open(out / "digits-x86-vnni.edgepack")


def first_by_laying_all_open(artifact: Artifact, channel, folder) -> str:
    """Find the first saturating layer another way: every byte tensor from one run of the whole."""
    artifact.extract("model.onnx", folder / "whole.onnx")
    graph = Graph.from_proto(onnx.load(folder / "whole.onnx"))
    places = cuts(graph)
    open_graph = exposed(graph, [place.tensor for place in places])
    open_graph.write(folder / "open.onnx")
    feeds = [inputs for inputs, _ in artifact.vectors()]
    job = Job(folder / "open.onnx", artifact.manifest.session, feeds)
    there = execute(channel, job).outputs
    with ChildRunner().open(open_graph, artifact.manifest.golden.session) as session:
        here = [session.run(feed) for feed in feeds]
    return next(
        place.node
        for place in places
        if any(not np.array_equal(a[place.tensor], b[place.tensor]) for a, b in zip(here, there))
    )


@pytest.mark.emulated
def test_the_first_saturating_convolution_is_named(made_for_vnni, tmp_path):
    runtime = made_for_vnni.manifest.runtime.maximum
    channel = open_channel("qemu:Haswell", runtime=runtime)
    begun = time.monotonic()
    found = first_on_device(made_for_vnni, channel, ChildRunner(), Silent())
    assert time.monotonic() - begun < 60
    assert found.operator == "Conv"
    assert found.node == first_by_laying_all_open(made_for_vnni, channel, tmp_path)
    assert found.relative > 0.01
    assert found.cut_short == ""
    channel.close()


@pytest.mark.emulated
def test_where_it_does_not_saturate_nothing_is_said(made_for_vnni):
    channel = open_channel("local", runtime=made_for_vnni.manifest.runtime.maximum)
    assert explain_device(made_for_vnni, channel, ChildRunner(), Silent()) == ""
    channel.close()


@pytest.mark.emulated
def test_two_artifacts_are_compared_by_counted_work(made_for_vnni, tmp_path):
    made_for_vnni.extract("model.onnx", tmp_path / "int8.onnx")
    found = compare(made_for_vnni.path, tmp_path / "int8.onnx", on=("qemu:Haswell",))
    one, other = (side.work[0] for side in found.sides)
    assert one.instructions
    assert abs(one.instructions / other.instructions - 1) < 0.02
    assert found.answers.inputs == "golden"
    assert found.answers.exact == found.answers.samples
