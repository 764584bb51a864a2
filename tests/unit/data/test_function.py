import sys

import numpy as np
import pytest

from edgepack.data.function import FunctionRows, UserFunction
from edgepack.errors import UsageError


@pytest.fixture
def rows(tmp_path):
    def make(body, **beside):
        for name, content in beside.items():
            (tmp_path / f"{name}.py").write_text(content)
        (tmp_path / "data.py").write_text("import numpy as np\n" + body)
        return FunctionRows(UserFunction(tmp_path / "data.py", "f", "data.py:f"))

    return make


@pytest.mark.parametrize(
    "body",
    [
        "def f(): return np.arange(6).reshape(3, 2), np.arange(3)",
        "def f(): return {'x': np.arange(6).reshape(3, 2)}, [0, 1, 2]",
        "def f(): return {'x': np.arange(6).reshape(3, 2), 'y': np.arange(3)}",
        "def f(): return [(np.array([2 * i, 2 * i + 1]), i) for i in range(3)]",
        "def f():\n    for i in range(3): yield np.array([2 * i, 2 * i + 1]), i",
        "class f:\n"
        "    def __len__(self): return 3\n"
        "    def __getitem__(self, i):\n"
        "        if i > 2: raise IndexError(i)\n"
        "        return np.array([2 * i, 2 * i + 1]), i",
    ],
)
def test_every_way_to_give_samples_gives_the_same(rows, body):
    from edgepack.data.rows import row_of

    given = rows(body)
    for _ in range(2):
        read = [row_of(raw, [], "") for raw in given]
        x = [r.runs[0]["x"] if isinstance(r.runs[0], dict) else r.runs[0] for r in read]
        assert np.array_equal(x, [[0, 1], [2, 3], [4, 5]])
        assert [r.label for r in read] == [0, 1, 2]
    assert len(given) == 3


def test_one_array_is_unlabelled_samples(rows):
    assert [r.tolist() for r in rows("def f(): return np.eye(2)")] == [[1, 0], [0, 1]]


def test_a_generator_is_called_anew_and_a_list_once(rows):
    counting = "calls = []\ndef g():\n    calls.append(1)\n    return [len(calls)]\n"
    assert [list(r) for r in [rows(counting + "f = g")] * 2] == [[1], [1]]
    again = rows(counting + "def f(): yield g()[0]")
    assert [[*iter(again)], [*iter(again)]] == [[1], [2]]


def test_nothing_runs_before_it_is_asked_for(rows):
    given = rows("raise ValueError('ran')\ndef f(): ...")
    with pytest.raises(UsageError, match="raised ValueError"):
        len(given)


def test_what_the_code_raises_is_named_by_its_line(rows):
    given = rows(
        "def f():\n    yield 1\n    import beside\n    beside.g()", beside="def g():\n    1/0"
    )
    read = iter(given)
    assert next(read) == 1
    with pytest.raises(UsageError) as caught:
        next(read)
    assert (caught.value.code, caught.value.where) == ("E274", "beside.py:2")
    assert "division by zero" in caught.value.why


@pytest.mark.parametrize("body", ["def f(): ...", "def f(): return 3", "def f(): return 'text'"])
def test_what_holds_no_items_is_refused(rows, body):
    with pytest.raises(UsageError) as caught:
        list(rows(body))
    assert caught.value.code == "E289"


def test_columns_must_be_equally_long(rows):
    with pytest.raises(UsageError) as caught:
        len(rows("def f(): return np.zeros((3, 2)), np.zeros(2)"))
    assert "x has 3, y has 2" in caught.value.why


def test_modules_of_two_recipes_do_not_mix(tmp_path):
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "edgepack_beside.py").write_text(f"name = '{name}'")
        (folder / "data.py").write_text(
            "import edgepack_beside\n"
            "def f():\n    import edgepack_beside as again\n"
            "    assert again is edgepack_beside\n    yield again.name"
        )
        made.append(FunctionRows(UserFunction(folder / "data.py", "f", "data.py:f")))
    path, loaded = list(sys.path), set(sys.modules)
    assert [list(rows) for rows in (*made, *made)] == [["one"], ["two"]] * 2
    assert sys.path == path
    assert set(sys.modules) == loaded


def test_prints_go_to_standard_error_and_an_exit_is_a_mistake(rows, capsys):
    with pytest.raises(UsageError, match="raised SystemExit"):
        list(rows("def f():\n    print('loud')\n    yield 1\n    exit(0)"))
    assert capsys.readouterr() == ("", "loud\n")


def test_dataclasses_work_in_the_file(rows):
    body = "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: 'int'\n"
    assert list(rows(body + "def f(): return [A(3).a]")) == [3]
