import os
import subprocess
import sys
import textwrap
import time

import pytest

from edgepack.api import store
from edgepack.cache import Cache

KEYS = [f"{n:02x}" * 32 for n in range(3)]


@pytest.fixture
def root(tmp_path):
    """Three facts of 1000 bytes and a seal, used three, two and one days ago."""
    cache = Cache(tmp_path)
    for index, key in enumerate(KEYS):
        with cache.put(key) as stage:
            (stage / "fact.json").write_text("x" * 1000)
        used = time.time() - (3 - index) * 86400
        os.utime(tmp_path / "objects" / key[:2] / key, (used, used))
    return tmp_path


def left(root):
    return sorted(p.name for p in root.glob("objects/*/*"))


def test_entries_are_counted_by_kind(root):
    (root / "sysroots/arm64").mkdir(parents=True)
    (root / "sysroots/arm64/file").write_text("12345")
    facts, system = store.survey(root)
    assert (facts.kind, facts.entries, facts.oldest_days) == ("fact", 3, 3.0)
    assert 3000 < facts.bytes < 4500
    assert (system.kind, system.entries, system.bytes) == ("system", 1, 5)
    assert store.survey(root / "nothing") == ()


def test_what_is_damaged_is_named_and_removed_only_when_asked(root):
    (root / "objects" / KEYS[1][:2] / KEYS[1] / "fact.json").write_text("y")
    (one,) = store.verify(root, fix=False)
    assert (one.key, one.why, one.removed) == (KEYS[1], "fact.json changed", False)
    (one,) = store.verify(root, fix=True)
    assert one.removed
    assert left(root) == [KEYS[0], KEYS[2]]
    assert store.verify(root, fix=False) == ()


def test_the_longest_unused_go_first(root):
    size = store.survey(root)[0].bytes // 3
    assert store.prune(root, older=None, keep=2 * size + 10).entries == 1
    assert left(root) == KEYS[1:]
    Cache(root).get(KEYS[1])
    assert store.prune(root, older=None, keep=size + 10).entries == 1
    assert left(root) == [KEYS[1]]


def test_what_is_old_goes_and_so_do_parts(root):
    (root / "objects" / KEYS[2][:2] / f".{KEYS[2]}.1.part").mkdir()
    assert store.prune(root, older=1.5 * 86400, keep=None).entries == 2
    assert left(root) == [KEYS[2]]
    assert store.prune(root, older=None, keep=0).left == 0
    assert left(root) == []


def test_pruning_waits_for_a_build_that_uses_the_cache(root):
    program = textwrap.dedent(f"""
        import pathlib, time
        from edgepack.cache import Cache
        cache = Cache(pathlib.Path({str(root)!r}))
        entry = cache.get({KEYS[0]!r})
        print("open", flush=True)
        time.sleep(1)
        print((entry / "fact.json").exists(), flush=True)
    """)
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as user:
        assert user.stdout.readline() == b"open\n"
        store.prune(root, older=None, keep=0)
        assert user.stdout.readline() == b"True\n"
    assert left(root) == []
