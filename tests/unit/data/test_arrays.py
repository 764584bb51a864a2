import io
import pickle
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.data import arrays
from edgepack.data.arrays import NpzRows, read_npz
from edgepack.errors import UsageError


def refused(path):
    with pytest.raises(UsageError) as caught:
        len(NpzRows(path, "x.npz"))
    assert caught.value.where == "x.npz"
    return caught.value


def member(array):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array)
    return stream.getvalue()


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return path


def test_samples_are_cut_along_the_leading_axis(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, image=np.arange(6).reshape(3, 2), y=[7, 8, 9])
    rows = NpzRows(path, "x.npz")
    assert len(rows) == 3
    assert [(r["image"].tolist(), int(r["y"])) for r in rows] == [
        ([0, 1], 7),
        ([2, 3], 8),
        ([4, 5], 9),
    ]


def test_arrays_of_different_lengths_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, image=np.zeros((3, 2)), y=[1, 2])
    assert "image has 3, y has 2" in refused(path).why
    np.savez(path, image=np.zeros((3, 2)), y=1)
    assert "y has none" in refused(path).why


def test_python_objects_are_refused_and_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle ran",))

    header = member(np.zeros(1)).replace(b"'<f8'", b"'|O' ")[:128]
    problem = refused(archive(tmp_path / "x.npz", image=header + pickle.dumps(Bomb())))
    assert problem.code == "E281"


def test_a_header_may_not_promise_more_than_there_is(tmp_path):
    huge = member(np.zeros(1)).replace(b"(1,), }          ", b"(999999999999,), }")
    assert b"999999999999" in huge
    problem = refused(archive(tmp_path / "x.npz", image=huge))
    assert (problem.code, "promises more" in problem.why) == ("E281", True)


def test_what_unpacks_too_large_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MOST", 10_000)
    problem = refused(archive(tmp_path / "x.npz", image=member(np.zeros(10_000))))
    assert problem.code == "E282"


def test_a_name_may_stand_once(tmp_path):
    path = archive(tmp_path / "x.npz", image=member(np.zeros(1)))
    with zipfile.ZipFile(path, "a") as made, pytest.warns(UserWarning, match="Duplicate"):
        made.writestr("image.npy", member(np.ones(1)))
    assert "twice" in refused(path).why


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.integers(0, 600))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path_factory, place, byte, cut):
    stream = io.BytesIO()
    np.savez_compressed(stream, image=np.arange(40.0).reshape(4, 10), y=np.arange(4))
    content = bytearray(stream.getvalue())
    content[place % len(content)] = byte
    path = tmp_path_factory.mktemp("npz") / "x.npz"
    path.write_bytes(content[: len(content) - cut] if cut < 100 else content)
    with suppress(UsageError):
        read = read_npz(path, "x.npz")
        assert all(isinstance(array, np.ndarray) for array in read.values())
