from pathlib import Path

import pytest

from edgepack.devices import count
from edgepack.errors import HostError


def written(folder: Path, text: str) -> Path:
    path = folder / "counts"
    path.write_text(text)
    return path


def test_counts_come_back_in_the_order_in_which_pairs_closed(tmp_path):
    assert count.read_counts(written(tmp_path, "7 1460\n2 38000\n7 1461\n")) == (1460, 38000, 1461)


def test_an_error_line_wins_over_the_counts_before_it(tmp_path):
    with pytest.raises(HostError) as caught:
        count.read_counts(written(tmp_path, "0 1460\nerror mark 1 never stops\n"))
    assert (caught.value.code, caught.value.why) == ("E318", "mark 1 never stops")


@pytest.mark.parametrize("text", [None, ""])
def test_nothing_counted_is_not_zero(tmp_path, text):
    path = tmp_path / "counts" if text is None else written(tmp_path, text)
    with pytest.raises(HostError) as caught:
        count.read_counts(path)
    assert caught.value.code == "E319"


def test_arguments_are_absolute_and_a_comma_is_doubled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = count.plugin_arguments(Path("a,b.so"), Path("c,d"))
    assert arguments == ["-plugin", f"{tmp_path}/a,,b.so,out={tmp_path}/c,,d"]


def test_marks_are_positive_offsets_that_leave_the_identity_its_24_bits():
    for operation in (count.START, count.STOP):
        offset = count.MAGIC | operation | 0xFFFFFF
        assert 0 < offset < 1 << 63
        assert offset - 0xFFFFFF == count.MAGIC + operation


def test_without_gcc_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        count.build_plugin(tmp_path)
    assert caught.value.code == "E316"
    assert "apt-get install gcc" in caught.value.fix


def test_a_failing_gcc_is_quoted_and_leaves_nothing(tmp_path, monkeypatch):
    gcc = tmp_path / "bin" / "gcc"
    gcc.parent.mkdir()
    gcc.write_text("#!/bin/sh\necho 'no stdio.h' >&2\nexit 1\n")
    gcc.chmod(0o755)
    monkeypatch.setenv("PATH", str(gcc.parent))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(HostError) as caught:
        count.build_plugin(out)
    assert (caught.value.code, caught.value.why) == ("E317", "no stdio.h")
    assert list(out.iterdir()) == []


def test_a_plugin_that_is_there_needs_no_gcc(tmp_path, monkeypatch):
    plugin = count.build_plugin(tmp_path)
    assert list(tmp_path.iterdir()) == [plugin]
    monkeypatch.setenv("PATH", "")
    assert count.build_plugin(tmp_path) == plugin
