import csv
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.data.text import TextRows
from edgepack.errors import UsageError

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"))


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(TextRows(path, path.name))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(WORDS, st.integers(0, 9)), min_size=1, max_size=5))
def test_both_formats_give_back_what_was_written(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("text")
    wanted = [{"text": text, "label": label} for text, label in rows]
    (folder / "x.jsonl").write_text("\n".join(map(json.dumps, wanted)), encoding="utf-8")
    with (folder / "x.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["text", "label"])
        writer.writeheader()
        writer.writerows(wanted)
    for name in ("x.jsonl", "x.csv"):
        rows = TextRows(folder / name, name)
        assert (list(rows), len(rows)) == (wanted, len(wanted))


def test_a_byte_order_mark_and_empty_lines_are_nothing(tmp_path):
    content = b'\xef\xbb\xbf{"text": "a"}\n\n{"text": "b"}\n'
    assert read(tmp_path / "x.jsonl", content) == [{"text": "a"}, {"text": "b"}]
    assert read(tmp_path / "x.csv", b"\xef\xbb\xbftext\na\n") == [{"text": "a"}]


def test_labels_of_csv_are_numbers_where_they_read_so(tmp_path):
    content = "text,label,score\n1,2,2.5\n1,sport,nan\n1,,1\n"
    rows = read(tmp_path / "x.csv", content)
    assert [r["label"] for r in rows] == [2, "sport", None]
    assert [r["score"] for r in rows] == [2.5, "nan", 1]
    assert rows[0]["text"] == "1"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("x.jsonl", b'{"text": "a"}\n{oops\n', 2),
        ("x.jsonl", b'{"text": "a"}\n["a"]\n', 2),
        ("x.jsonl", b'{"text": "\xff"}\n', 1),
        ("x.jsonl", b'{"text": "a", "score": NaN}\n', 1),
        ("x.jsonl", b'{"text": "a", "label": [1]}\n', 1),
        ("x.jsonl", b"[" * 100_000, 1),
        ("x.csv", b"text,label\na\n", 2),
        ("x.csv", b"text,label\na,1,2\n", 2),
        ("x.csv", b'text\n"a" b\n', 2),
    ],
)
def test_a_malformed_row_is_named_by_its_line(tmp_path, name, content, line):
    with pytest.raises(UsageError) as caught:
        read(tmp_path / name, content)
    assert (caught.value.code, caught.value.where) == ("E288", f"{name}:{line}")
