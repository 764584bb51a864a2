import tomllib

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
        "steps.0": 13,
        "steps.0.pass": 14,
        "steps.1": 15,
        "steps.1.pass": 16,
        "steps.1.a key": 17,
        "steps.1.deep": 18,
        "steps.1.deep.x.y": 19,
        "gates.arm64": 20,
        "gates.arm64.size": 21,
    }


def test_windows_line_ends_count_once():
    assert line_index("a = 1\r\n\r\nb = 2\r\n") == {"a": 1, "b": 3}


VALUES = st.sampled_from(
    ["1", '"a"', '"#["', "'\"'", "[1, 2]", "[\n 1, # ]\n 2,\n]", '"""\n[x]\n"""', "{ a = [1] }"]
)


@given(st.lists(st.tuples(st.booleans(), VALUES, st.integers(0, 2)), max_size=12))
def test_the_line_of_each_generated_key_is_right(items):
    text, expected, table = "", {}, -1
    for number, (new, value, blank) in enumerate(items):
        text += "\n" * blank
        if new:
            table += 1
            expected[f"t.{table}"] = text.count("\n") + 1
            text += "[[t]]\n"
        key = f"k{number}"
        path = f"t.{table}.{key}" if table >= 0 else key
        expected[path] = text.count("\n") + 1
        text += f"{key} = {value}\n"
    tomllib.loads(text)
    assert line_index(text) == expected
