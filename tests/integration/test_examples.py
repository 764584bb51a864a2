"""Every example builds as its recipe says, with fewer epochs."""

from pathlib import Path

import pytest

import edgepack.api as api
from edgepack.api.run import execute

EXAMPLES = sorted(
    p.parent for p in (Path(__file__).parents[2] / "examples").glob("*/edgepack.toml")
)


@pytest.mark.emulated
@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_it_builds_and_passes(folder, tmp_path):
    request = api.Request(recipe=folder / "edgepack.toml", targets=("arm64",))
    report = execute(api.prepare(request), out=tmp_path)
    assert report.verdict == "pass"
    assert (folder / "README.md").is_file()
