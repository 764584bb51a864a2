"""Every example builds as its recipe says: with few samples always, whole in `make test-full`."""

import os
from pathlib import Path

import pytest

import edgepack.api as api
from edgepack.api.run import execute
from edgepack.artifact import Artifact

EXAMPLES = sorted(
    p.parent for p in (Path(__file__).parents[2] / "examples").glob("*/edgepack.toml")
)
ARM = ["qemu:cortex-a53", "qemu:cortex-a72", "qemu:cortex-a76"]


def built(name, out, *targets, on=(), **rest):
    recipe = next(folder for folder in EXAMPLES if folder.name == name) / "edgepack.toml"
    work = api.prepare(api.Request(recipe=recipe, targets=targets, **rest))
    report = execute(work, out=out, on=on)
    return {target.target: target for target in report.targets}, report.verdict


def test_there_are_seven():
    names = {folder.name for folder in EXAMPLES}
    assert names == {
        "digits", "minilm-embedding", "mnist", "mobilenet", "news-classifier", "ocr-onnx", "vad"
    }  # fmt: skip


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_it_is_documented_and_plans(folder):
    text = (folder / "README.md").read_text()
    assert "edgepack build" in text
    assert "verdict: pass" in text
    work = api.prepare(api.Request(recipe=folder / "edgepack.toml", targets=("all",)))
    assert len(work.plans) >= 5


LOOSE = ("gates.max_drop=100.0", "gates.cosine=0.5")
"""A few samples judge nothing; the whole builds do."""


@pytest.mark.emulated
def test_digits_build(tmp_path):
    targets, verdict = built("digits", tmp_path, "arm64")
    assert verdict == "pass"
    assert targets["arm64"].metric.samples == 360


@pytest.mark.emulated
def test_vad_builds_with_few_samples(tmp_path):
    targets, verdict = built("vad", tmp_path, "arm64", overrides=("data.most=2", *LOOSE))
    assert verdict == "pass"
    assert targets["arm64"].metric.samples == 2


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("minilm-embedding", "w8-dynamic"),
        ("mobilenet", "w8a8-static"),
        ("ocr-onnx", "w8a8-static"),
    ],
)
def test_what_is_slow_to_emulate_builds_with_few_samples(name, scheme, tmp_path):
    """On x86 and by one scheme: choosing, on ARM, is a matter of the whole tests."""
    steps = f'steps=[{{pass="quantize", scheme="{scheme}"}}]'
    few = ("data.most=6", steps, *LOOSE)
    targets, verdict = built(name, tmp_path, "x86-vnni", overrides=few)
    assert verdict in {"pass", "unverified"}  # this machine may lack VNNI
    assert targets["x86-vnni"].scheme == scheme
    assert targets["x86-vnni"].metric.samples == 6


@pytest.mark.full
@pytest.mark.emulated
def test_minilm_is_small_and_near(tmp_path):
    targets, verdict = built("minilm-embedding", tmp_path, "arm64", "x86")
    assert verdict == "pass"
    for target in targets.values():
        assert target.metric.after >= 71.9
        assert target.metric.samples == 353
        assert target.bytes <= 0.26 * target.float_bytes


@pytest.mark.full
@pytest.mark.emulated
def test_mobilenet_is_right_small_and_exact(tmp_path):
    targets, verdict = built("mobilenet", tmp_path, "arm64", on=ARM)
    target = targets["arm64"]
    assert verdict == "pass"
    assert target.metric.after * target.metric.samples / 100 >= 17
    artifact = Artifact.open(Path(target.artifact))
    assert artifact.manifest.file("model.onnx").size <= 0.27 * target.float_bytes
    assert [(device.on, device.exact) for device in target.devices] == [(on, True) for on in ARM]


@pytest.mark.full
@pytest.mark.emulated
def test_news_is_a_sixth_of_the_size_and_a_fifth_of_the_work(tmp_path):
    targets, verdict = built("news-classifier", tmp_path, "arm64")
    target = targets["arm64"]
    assert verdict == "pass"
    assert 6 * target.model_bytes <= target.float_bytes
    assert target.metric.drop <= 1
    assert target.metric.samples == 506
    effects = [step.effect for step in target.steps if step.effect]
    assert effects[0].before.instructions >= 5 * target.devices[0].instructions


@pytest.mark.full
@pytest.mark.emulated
@pytest.mark.parametrize("name", ["ocr-onnx", "vad"])
def test_it_builds_whole(name, tmp_path):
    _, verdict = built(name, tmp_path, "arm64")
    assert verdict == "pass"


@pytest.mark.full
@pytest.mark.emulated
@pytest.mark.parametrize("name", [folder.name for folder in EXAMPLES])
def test_cold_and_warm_builds_are_the_same_to_the_byte(name, tmp_path, monkeypatch):
    """The target is this machine's, so that nothing is emulated but what is counted."""
    digests = set()
    for turn, cache in enumerate(("one", "other", "other")):
        cache_folder = tmp_path / cache
        cache_folder.mkdir(exist_ok=True)
        shared = Path(os.environ["EDGEPACK_CACHE"]) / "sysroots"
        if not (cache_folder / "sysroots").exists():
            (cache_folder / "sysroots").symlink_to(shared)
        with monkeypatch.context() as patch:
            patch.setenv("EDGEPACK_CACHE", str(cache_folder))
            few = ("data.most=12", *LOOSE) if name != "digits" else ()
            targets, _ = built(name, tmp_path / str(turn), "x86", on=("local",), overrides=few)
        digests.add(targets["x86"].sha256)
    assert len(digests) == 1
