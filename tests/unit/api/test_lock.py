import pytest

from edgepack.api.lock import Lock
from edgepack.errors import UsageError


def test_a_word_once_given_is_found_again(tmp_path):
    path = tmp_path / "edgepack.lock"
    assert Lock(path).get("a") is None
    Lock(path).put("a", 1.23456)
    Lock(path).put("b", 0.5)
    assert (Lock(path).get("a"), Lock(path).get("b")) == (1.235, 0.5)


def test_nothing_is_written_where_nothing_was_timed(tmp_path):
    Lock(tmp_path / "edgepack.lock").get("a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": "x"}', '{"schema": "edgepack.lock/1"}']
)
def test_a_lock_that_cannot_be_read_is_named(tmp_path, text):
    path = tmp_path / "edgepack.lock"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        Lock(path)
    assert caught.value.code == "E231"
    assert "edgepack.lock" in caught.value.what
