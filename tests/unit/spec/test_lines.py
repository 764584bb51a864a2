import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepack.spec.lines import line_index

TEXT = '''\
seed = 1  # [not.a.table]
[model]
source = "x # = [y]"
[data]   # comment
train = """
[steps]
a = 1
"""
other = [
  1,
  { b = 2 },
]
[[steps]]
pass = "prune"
[[steps]]
pass = "quantize"
"a key" = 1
[steps.deep]
x.y = 2
[gates.arm64]
size = '6 MB'
'''


def test_every_key_stands_where_it_stands():
    assert line_index(TEXT) == {
        "seed": 1,
        "model": 2,
        "model.source": 3,
        "data": 4,
        "data.train": 5,
        "data.other": 9,
        "data.other.0": 10,
        "data.other.1": 11,
        "data.other.1.b": 11,
        "steps": 13,
        "steps.0": 13,
        "steps.0.pass": 14,
        "steps.1": 15,
        "steps.1.pass": 16,
        "steps.1.a key": 17,
        "steps.1.deep": 18,
        "steps.1.deep.x": 19,
        "steps.1.deep.x.y": 19,
        "gates": 20,
        "gates.arm64": 20,
        "gates.arm64.size": 21,
    }


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("[a.b]\n[a]\nc = 1", {"a": 2, "a.b": 1, "a.c": 3}),
        ("[ a . 'b' ]\n\"\\u00e9\" . d = 1", {"a": 1, "a.b": 1, "a.b.é": 2, "a.b.é.d": 2}),
        ("[[a]]\n[[a.b]]\n[[a]]\n[[a.b]]\nc = 1", {
            "a": 1, "a.0": 1, "a.0.b": 2, "a.0.b.0": 2, "a.1": 3, "a.1.b": 4, "a.1.b.0": 4,
            "a.1.b.0.c": 5,
        }),
        ("a = '''\n''''\nb = 1\nc = ''", {"a": 1, "b": 3, "c": 4}),
        ('a = """\\\n""""\nb = ""\nc = 1', {"a": 1, "b": 3, "c": 4}),
        ("a = 1979-05-27 07:32:00Z\nb = +1.5e-3", {"a": 1, "b": 2}),
        ("", {}),
    ],
)  # fmt: skip
def test_corners_of_the_grammar(text, lines):
    tomllib.loads(text)
    assert line_index(text) == lines


SCALARS = st.sampled_from(
    ["1", "-1.5", '"a"', '"#["', '"\\""', "'\"'", "true", "1979-05-27 07:32:00",
     '"""\n[x]\n"""', "'''\n# = {'''", '""']
)  # fmt: skip
GAPS = st.sampled_from(["", "\n", " # ]\n"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.tuples(st.just("array"), st.lists(inner, max_size=3), GAPS)
        | st.tuples(st.just("table"), st.lists(inner, max_size=3), st.just(""))
    ),
    max_leaves=6,
)  # fmt: skip
HEADERS = st.sampled_from(
    ["[{}]", "[[{}]]", " [ {}  ] # [x]", "[{}.sub]", "[[rows]]", "[rows.sub{}]"]
)
WRITTEN = st.tuples(
    st.none() | HEADERS, VALUES, st.sampled_from(["k{}", '"é\\t#[{}"', "'=\"{}'", "k{} . x"]),
    st.sampled_from(["", "\n", "\n# [c]\n\n"]),
)  # fmt: skip


class Writer:
    """Writes a document and notes where it puts each key and element."""

    def __init__(self):
        self.text, self.lines, self.count = "", {}, 0

    def fresh(self):
        self.count += 1
        return self.count

    def note(self, keys):
        for end in range(1, len(keys) + 1):
            self.lines.setdefault(".".join(keys[:end]), self.text.count("\n") + 1)

    def key(self, form, around):
        written = form.format(self.fresh())
        keys = [*around, *(k.strip() for k in written.split(" . "))]
        keys = [next(iter(tomllib.loads(f"{k} = 0"))) if k[0] in "\"'" else k for k in keys]
        self.note(keys)
        self.text += f"{written} = "
        return keys

    def value(self, value, keys):
        if isinstance(value, str):
            self.text += value
            return
        kind, items, gap = value
        self.text += "[" if kind == "array" else "{"
        for number, item in enumerate(items):
            self.text += ("," if number else "") + gap
            if kind == "array":
                self.note([*keys, str(number)])
                self.value(item, [*keys, str(number)])
            else:
                self.value(item, self.key("k{}", keys))
        self.text += gap + ("]" if kind == "array" else "}")

    def header(self, form, rows):
        name = f"t{self.fresh()}"
        inner = form.format(name)
        if form == "[[rows]]":
            keys = ["rows", str(rows)]
        elif "rows" in form:
            keys = ["rows", str(rows - 1), f"sub{name}"]
        else:
            keys = [name, "0"] if "[[" in form else [name, "sub"] if ".sub" in form else [name]
        self.note(keys)
        self.text += inner + "\n"
        return keys


def paths(value, around=""):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        path = f"{around}.{key}" if around else str(key)
        yield path
        if isinstance(inner, dict | list):
            yield from paths(inner, path)


@given(st.lists(WRITTEN, max_size=8), st.booleans())
def test_the_line_of_each_key_of_any_document_is_right(written, windows):
    writer, keys, rows = Writer(), [], 0
    for header, value, form, gap in written:
        if header and (rows or header != "[rows.sub{}]"):
            keys = writer.header(header, rows)
            rows += header == "[[rows]]"
        writer.value(value, writer.key(form, keys))
        writer.text += "\n" + gap
    text = writer.text.replace("\n", "\r\n") if windows else writer.text
    found = line_index(text)
    assert found == writer.lines
    assert set(found) == set(paths(tomllib.loads(text)))
