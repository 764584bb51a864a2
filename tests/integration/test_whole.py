"""The long ones: real models whole, every processor. `make test-full` runs them."""

import pytest

from edgepack.api.use import verify
from edgepack.devices.cpus import CPUS

from .conftest import build, package_folder

pytestmark = [pytest.mark.full, pytest.mark.emulated]


def test_wiki_sentences_keep_their_embeddings(tmp_path, minilm):
    """MiniLM on sentences of Wikipedia articles: mean cosine at least 0.99 on four targets."""
    import json

    text = (
        package_folder("gensim")
        / "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
    )
    from bz2 import open as bz2_open

    sentences = []
    with bz2_open(text, "rt", encoding="utf-8") as stream:
        for line in stream:
            plain = line.strip()
            if plain[:1].isalpha() and 60 < len(plain) < 300 and not set(plain) & set("[]{}<>|=&"):
                sentences.append(plain)
            if len(sentences) == 100:
                break
    data = tmp_path / "wiki.jsonl"
    data.write_text("".join(json.dumps({"text": s}) + "\n" for s in sentences))
    targets = ("arm64", "x86", "x86-vnni", "mobile")
    report, _ = build(
        tmp_path,
        str(minilm),
        *targets,
        data=str(data),
        metric="cosine",
        overrides=("gates.cosine=0.99",),
    )
    for target in report.targets:
        cosine = next(gate for gate in target.gates if gate.name == "cosine")
        assert cosine.value >= 0.99
        assert target.metric.samples == len(sentences) == 100


@pytest.mark.parametrize("name", ["ch_PP-OCRv4_det_infer", "ch_PP-OCRv4_rec_infer"])
def test_paddle_s_models_build_for_every_target(tmp_path, ocr, name):
    report, _ = build(tmp_path, str(ocr / f"{name}.onnx"), "arm64", "x86", "mobile")
    assert report.verdict == "pass"


def test_digits_are_exact_on_every_emulated_processor(tmp_path):
    static = (
        'steps=[{pass="prune", ratio=0.5}, {pass="finetune", epochs=4}, '
        '{pass="quantize", scheme="w8a8-static"}]',
        "gates.max_slowdown=50.0",
    )
    _, out = build(tmp_path, "builtin:digits", "arm64", "x86", overrides=static)
    for target, arch in (("arm64", "aarch64"), ("x86", "x86_64")):
        on = [f"qemu:{cpu.name}" for cpu in CPUS.values() if cpu.arch == arch]
        report = verify(out / f"digits-{target}.edgepack", on=on)
        assert [d.exact for d in report.targets[0].devices] == [True] * len(on)
