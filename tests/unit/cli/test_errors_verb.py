import pytest

from edgepack.cli import run


@pytest.mark.parametrize("code", ["E299", "e299"])
def test_a_code_is_explained_however_it_is_written(capsys, code):
    assert run(["errors", code]) == 0
    assert capsys.readouterr().out.startswith("E299 all evaluation samples are")
