import os
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

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


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_six_writers_and_a_reader_break_no_read(tmp_path, kind):
    path = tmp_path / "value"
    program = textwrap.dedent(f"""
        import pathlib, sys
        from edgepack import publish
        for _ in range(40):
            with publish.{kind}(pathlib.Path({str(path)!r})) as stage:
                (stage / "x" if {kind!r} == "folder" else stage).write_text(sys.argv[1] * 100_000)
    """)
    running = [subprocess.Popen([sys.executable, "-c", program, str(n)]) for n in range(6)]
    while not path.exists():
        assert running[0].poll() in (None, 0)
    reads = 0
    while any(one.poll() is None for one in running) or reads < 1000:
        text = (path if kind == "file" else path / "x").read_text()
        assert len(text) == 100_000
        assert len(set(text)) == 1
        reads += 1
    assert [one.wait() for one in running] == [0] * 6
    assert [p.name for p in tmp_path.iterdir()] == ["value"]


def test_a_long_wait_is_told_and_ends_with_the_holder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publish, "PATIENCE", 0.2)
    program = textwrap.dedent(f"""
        import pathlib, time
        from edgepack import publish
        with publish.locked(pathlib.Path({str(tmp_path)!r}), "a"):
            print("held", flush=True)
            time.sleep(60)
    """)
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        threading.Timer(0.6, holder.kill).start()
        with publish.file(tmp_path / "a") as stage:
            stage.write_text("x")
    assert capsys.readouterr().err == "waiting for another edgepack (for a) ...\n"


def test_a_killed_process_s_temporary_folder_is_swept_and_a_living_one_s_is_not(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = textwrap.dedent("""
        import tempfile, time
        from edgepack import publish
        with publish.workspace() as place:
            print(tempfile.mkdtemp(), flush=True)
            time.sleep(60)
    """)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as other:
        inner = Path(other.stdout.readline().decode().strip())
        with publish.workspace() as place:
            assert Path(tempfile.mkdtemp()).parent == place
        assert not place.exists()
        assert inner.is_dir()
        other.kill()
        other.wait()
        with publish.workspace():
            assert not inner.exists()
    assert list(tmp_path.glob("edgepack-work-*")) == []


def test_a_temporary_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(HostError) as caught, publish.locked(tmp_path, "a"):
        pass
    assert caught.value.code == "E323"


def test_too_little_room_is_told_ahead(tmp_path):
    publish.check_room([tmp_path], 1)
    with pytest.raises(HostError) as caught:
        publish.check_room([tmp_path], 1 << 62)
    assert (caught.value.code, caught.value.where) == ("E324", str(tmp_path))


def test_parts_of_killed_writers_are_swept_and_living_ones_stay(tmp_path):
    (tmp_path / ".gone.7.part").mkdir()
    (tmp_path / ".mine.part").write_text("not ours")
    with publish.file(tmp_path / "a") as stage:
        stage.write_text("x")
        publish.check_folder(tmp_path)
        assert stage.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".mine.part", "a"]
