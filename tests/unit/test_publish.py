import os
import stat
import subprocess
import sys
import textwrap

import pytest

from edgepack import publish
from edgepack.errors import HostError


def test_a_file_appears_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "a.bin"
    path.write_text("old")
    with publish.file(path) as stage:
        stage.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_failure_leaves_the_old_file_and_no_stage(tmp_path):
    path = tmp_path / "a.bin"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), publish.file(path) as stage:
        stage.write_text(str(1 / 0))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path):
    path = tmp_path / "a.bin"
    path.write_text("old")
    program = textwrap.dedent(f"""
        import os, pathlib
        from edgepack import publish
        with publish.file(pathlib.Path({str(path)!r})) as stage:
            stage.write_text("half")
            os.kill(os.getpid(), 9)
    """)
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    with publish.file(path) as stage:
        stage.write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_the_mode_does_not_depend_on_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        with publish.file(tmp_path / "a") as stage:
            stage.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_a_folder_appears_whole(tmp_path):
    place = tmp_path / "value"
    with publish.folder(place) as stage:
        (stage / "deep").mkdir()
        (stage / "deep" / "x").write_text("1")
        assert not place.exists()
    assert (place / "deep" / "x").read_text() == "1"
    with publish.folder(place) as stage:
        (stage / "y").write_text("2")
    assert sorted(p.name for p in place.iterdir()) == ["y"]
    assert [p.name for p in tmp_path.iterdir()] == ["value"]


def test_a_missing_folder_is_an_error_about_the_folder(tmp_path):
    with pytest.raises(HostError) as caught, publish.file(tmp_path / "no" / "a"):
        pass
    assert caught.value.code == "E320"
    assert caught.value.where == str(tmp_path / "no")


def test_two_writers_of_one_name_take_turns(tmp_path):
    program = textwrap.dedent(f"""
        import pathlib, time
        from edgepack import publish
        log = pathlib.Path({str(tmp_path / "log")!r})
        for _ in range(5):
            with publish.file(pathlib.Path({str(tmp_path / "a")!r})) as stage:
                with log.open("a") as stream: stream.write("in\\n")
                stage.write_text("x"); time.sleep(0.01)
                with log.open("a") as stream: stream.write("out\\n")
    """)
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [p.wait(timeout=60) for p in running] == [0, 0]
    assert (tmp_path / "log").read_text().split() == ["in", "out"] * 10


def test_the_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEPACK_CACHE", str(tmp_path))
    assert publish.cache_root() == tmp_path
    monkeypatch.delenv("EDGEPACK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert publish.cache_root() == tmp_path / "edgepack"
