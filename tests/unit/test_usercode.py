import pytest

from edgepack.errors import UsageError
from edgepack.usercode import closure, code_digest, find


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py").replace("_npy", ".npy")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return folder / "data.py"


def names(file):
    return set(closure(file, "data.py:f"))


def test_imports_beside_the_file_are_followed_wherever_they_stand(tmp_path):
    file = write(
        tmp_path,
        data_py="import json, model\ndef f():\n    from tasks import one\n    import lost",
        model_py="from deep import x as y",
        deep_py="import data",
        other_py="",
        tasks__init_py="",
    )
    (tmp_path / "tasks").mkdir(exist_ok=True)
    (tmp_path / "tasks" / "__init__.py").write_text("from . import two\nfrom .. import nothing")
    (tmp_path / "tasks" / "one.py").write_text("from .two import z\nimport other")
    (tmp_path / "tasks" / "two.py").write_text("")
    assert names(file) == {
        "data.py", "model.py", "deep.py", "other.py",
        "tasks/__init__.py", "tasks/one.py", "tasks/two.py",
    }  # fmt: skip


def test_a_file_that_a_string_names_counts(tmp_path):
    file = write(
        tmp_path, data_py="import numpy\ndef f(): return numpy.load('x.npy'), '', '..', '/'"
    )
    (tmp_path / "x.npy").write_bytes(b"1")
    assert names(file) == {"data.py", "x.npy"}
    before = code_digest(file, "f", "")
    (tmp_path / "x.npy").write_bytes(b"2")
    assert code_digest(file, "f", "") != before


def test_the_digest_follows_code_and_name_but_not_the_folder(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        write(folder, data_py="import model", model_py="x = 1")
    assert code_digest(one / "data.py", "f", "") == code_digest(two / "data.py", "f", "")
    assert code_digest(one / "data.py", "f", "") != code_digest(one / "data.py", "g", "")
    (two / "model.py").write_text("x = 2")
    assert code_digest(one / "data.py", "f", "") != code_digest(two / "data.py", "f", "")


@pytest.mark.parametrize(
    "content",
    ["def f(): ...", "f = len", "from other import f", "from other import g as f",
     "if True:\n    def f(): ...", "try:\n    f = 1\nexcept ValueError:\n    pass",
     "from other import *"],
)  # fmt: skip
def test_a_name_may_be_defined_in_any_way(tmp_path, content):
    find(write(tmp_path, data_py=content), "f", "data.py:f")


def test_a_name_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    file = write(tmp_path, data_py="def train(): ...\ndef evaluation(): ...")
    with pytest.raises(UsageError, match="defines no `evalution`") as caught:
        find(file, "evalution", "data.py:evalution")
    assert "did you mean `evaluation`" in caught.value.fix


def test_what_is_no_python_is_named_by_its_line(tmp_path):
    with pytest.raises(UsageError) as caught:
        find(write(tmp_path, data_py="x = 1\ndef f(:"), "f", "data.py:f")
    assert (caught.value.code, caught.value.where) == ("E272", "data.py:2")
