import stat

import pytest

from edgepack.cache import Cache


def stored(cache, key="ab" * 32, text="value"):
    with cache.put(key) as stage:
        (stage / "file").write_text(text)
    return key


def test_what_was_put_is_found_by_a_later_command(tmp_path):
    key = stored(Cache(tmp_path))
    entry = Cache(tmp_path).get(key)
    assert (entry / "file").read_text() == "value"
    assert Cache(tmp_path).get("cd" * 32) is None


def test_the_cache_is_private(tmp_path):
    root = tmp_path / "cache"
    Cache(root)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["change", "truncate", "add", "remove", "seal"])
def test_a_damaged_entry_is_noticed_removed_and_told(tmp_path, damage):
    key = stored(Cache(tmp_path))
    entry = Cache(tmp_path).get(key)
    match damage:
        case "change":
            (entry / "file").write_text("valuE")
        case "truncate":
            (entry / "file").write_text("")
        case "add":
            (entry / "extra").write_text("")
        case "remove":
            (entry / "file").unlink()
        case "seal":
            (entry / "seal.json").unlink()
    told = []
    assert Cache(tmp_path, warn=told.append).get(key) is None
    assert len(told) == 1
    assert key[:12] in told[0]
    assert not entry.exists()


def test_a_failed_step_stores_nothing(tmp_path):
    cache = Cache(tmp_path)
    with pytest.raises(ZeroDivisionError), cache.put("ab" * 32):
        raise ZeroDivisionError
    assert cache.get("ab" * 32) is None


def test_fresh_ignores_earlier_commands_but_not_this_one(tmp_path):
    key = stored(Cache(tmp_path))
    cache = Cache(tmp_path, fresh=True)
    assert cache.get(key) is None
    stored(cache, text="again")
    assert (cache.get(key) / "file").read_text() == "again"


def test_a_fact_is_computed_once(tmp_path):
    calls = []
    compute = lambda: calls.append(1) or {"x": 1.5}  # noqa: E731
    assert Cache(tmp_path).fact("ab" * 32, compute) == ({"x": 1.5}, False)
    assert Cache(tmp_path).fact("ab" * 32, compute) == ({"x": 1.5}, True)
    assert len(calls) == 1
