import shutil
import stat
import subprocess
import sys
import textwrap

import pytest

from edgepack.cache import Cache
from edgepack.errors import HostError


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


@pytest.mark.parametrize(
    "damage", ["change", "truncate", "add", "remove", "seal", "list", "moved", "link", "a file"]
)
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
        case "list":
            (entry / "seal.json").write_text("[]")
        case "moved":
            seal = (entry / "seal.json").read_text()
            (entry / "seal.json").write_text(seal.replace(key, "cd" * 32))
        case "link":
            (entry / "file").rename(tmp_path / "value")
            (entry / "file").symlink_to(tmp_path / "value")
        case "a file":
            shutil.rmtree(entry)
            entry.write_text("value")
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


def test_a_fact_that_is_sealed_but_is_none_is_made_again(tmp_path):
    key = "ab" * 32
    with Cache(tmp_path).put(key) as stage:
        (stage / "fact.json").write_text("[1")
    told = []
    cache = Cache(tmp_path, warn=told.append)
    assert cache.fact(key, lambda: {"x": 1}) == ({"x": 1}, False)
    assert len(told) == 1
    assert cache.fact(key, lambda: {"x": 2}) == ({"x": 1}, True)


def test_of_two_writers_of_a_key_the_first_wins(tmp_path):
    key = stored(Cache(tmp_path), text="first")
    before = (Cache(tmp_path).get(key) / "file").stat().st_ino
    stored(Cache(tmp_path), text="second")
    entry = Cache(tmp_path).get(key)
    assert (entry / "file").read_text() == "first"
    assert (entry / "file").stat().st_ino == before
    assert [p.name for p in entry.parent.iterdir()] == [key]


@pytest.mark.parametrize("state", ["a file", "in a file", "full"])
def test_a_cache_that_cannot_be_written_is_named(tmp_path, state, monkeypatch):
    root = tmp_path / "cache"
    if state == "full":
        monkeypatch.setattr("tempfile.TemporaryFile", no_space)
    else:
        root.write_text("")
    with pytest.raises(HostError) as caught:
        Cache(root / "deep" if state == "in a file" else root)
    assert caught.value.code == "E322"
    assert "EDGEPACK_CACHE" in caught.value.fix


def no_space(**_):
    raise OSError(28, "No space left on device")


def test_no_space_while_an_entry_is_written_leaves_no_part(tmp_path):
    cache = Cache(tmp_path)
    with pytest.raises(HostError) as caught, cache.put("ab" * 32):
        no_space()
    assert (caught.value.code, caught.value.why) == ("E322", "No space left on device")
    assert list((tmp_path / "objects/ab").iterdir()) == []


def test_six_writers_and_a_reader_of_one_key_break_no_read(tmp_path):
    program = textwrap.dedent(f"""
        import pathlib
        from edgepack.cache import Cache
        for _ in range(40):
            with Cache(pathlib.Path({str(tmp_path)!r})).put("ab" * 32) as stage:
                for name in "abc":
                    (stage / name).write_text("value")
    """)
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(6)]
    told, reads = [], 0
    while any(one.poll() is None for one in running) or reads < 100:
        if entry := Cache(tmp_path, warn=told.append).get("ab" * 32):
            assert [(entry / name).read_text() for name in "abc"] == ["value"] * 3
            reads += 1
    assert [one.wait() for one in running] == [0] * 6
    assert told == []
