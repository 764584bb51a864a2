from pathlib import Path

import pytest

from edgepack.artifact import write_artifact

from .forge import FIELDS, contents


@pytest.fixture
def made(tmp_path: Path):
    return write_artifact(FIELDS, contents(), tmp_path / "digits-arm64.edgepack")
