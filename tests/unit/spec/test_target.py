import pytest

from edgepack.errors import UsageError
from edgepack.spec.gates import to_bytes
from edgepack.spec.target import load_target, names


def test_an_unknown_target_gets_a_suggestion():
    with pytest.raises(UsageError) as caught:
        load_target("arm46")
    assert caught.value.code == "E210"
    assert "`arm64`" in caught.value.fix


def test_extends_lays_table_over_table():
    base, over = load_target("arm64"), load_target("arm64-dotprod")
    assert over.isa.arch == base.isa.arch
    assert over.isa.emulate == "cortex-a76"
    assert over.quantize == base.quantize


def test_one_level_is_all_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "mine.toml").write_text('description = "d"\nextends = "mobile"\n')
    assert "mine" in names()
    with pytest.raises(UsageError) as caught:
        load_target("mine")
    assert (caught.value.code, caught.value.where) == ("E211", "mine.toml:2")


def test_a_target_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "board.toml").write_text(
        'description = "d"\nextends = "arm64"\n[gates]\nsize = "1 MB"'
    )
    target = load_target("board.toml")
    assert target.gates.size == 1_000_000
    assert target.gates.cosine == 0.99


@pytest.mark.parametrize(
    ("text", "count"),
    [("6 MB", 6_000_000), ("1.5kB", 1500), ("2 MiB", 2 << 20), ("7 B", 7), (9, 9)],
)
def test_sizes(text, count):
    assert to_bytes(text) == count


@pytest.mark.parametrize("text", ["6", "MB", "6 mb", "-1 MB", "1e3 B", "6 MB extra", ""])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="unit"):
        to_bytes(text)
