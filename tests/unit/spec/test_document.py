import pytest

from edgepack.spec.document import Document

DOCUMENT = Document("f.toml", {"a": {"b": 1}, "rows": [{"c": 2}]}, {"a": 1, "a.b": 2, "rows": 3})


def test_putting_in_leaves_the_document_unchanged():
    changed = DOCUMENT.put("rows.0.c", 5, "--set rows.0.c")
    assert changed.data["rows"] == [{"c": 5}]
    assert DOCUMENT.data == {"a": {"b": 1}, "rows": [{"c": 2}]}
    assert DOCUMENT.where("rows.0.c") == "f.toml:3"


def test_what_replaces_a_table_takes_its_lines_away():
    changed = DOCUMENT.put("a", {"b": 3}, "--set a")
    assert (changed.where("a.b"), changed.line("a.b")) == ("--set a", None)
    assert changed.where("rows") == "f.toml:3"


@pytest.mark.parametrize("path", ["a.b.c", "rows.1.c", "rows.01.c", "rows.-1", "rows.x", "rows.²"])
def test_there_is_nothing_to_put_it_into(path):
    assert DOCUMENT.put(path, 1, "--set") is None


def test_a_value_by_its_path():
    assert DOCUMENT.at(("rows", 0, "c")) == 2
    assert DOCUMENT.at(("rows", 1)) is None
    assert DOCUMENT.at(("a", "b", "c")) is None


def test_the_nearest_table_around_an_unknown_key():
    assert DOCUMENT.where("a.x.y") == "f.toml:1"
    assert DOCUMENT.where("z") == "f.toml"
    assert Document("", {}, {"a": 1}).where("a") == ""
