"""Files that other zip readers accept, each wrong in one way; every one is refused."""

import hashlib
import io
import os
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepack.artifact import Artifact
from edgepack.artifact import format as layout
from edgepack.errors import ArtifactError

from .forge import contents, forge, judged, refused, zipped


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


GOOD = zipped(forge())
CENTRAL = GOOD.index(layout.CENTRAL_MARK)
END = GOOD.index(layout.END_MARK)


def test_the_forge_itself_is_honest():
    checked = judged(GOOD)
    assert checked.manifest.name == "digits"
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        assert archive.testzip() is None


def rezipped(change) -> bytes:
    """Build the good entries again with Python's own zip writer, changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in forge():
            change(archive, name, data)
    return buffer.getvalue()


def stored(archive, name, data, **attributes):
    info = zipfile.ZipInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    archive.writestr(info, data)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"compress_type": zipfile.ZIP_DEFLATED},
        {"extra": struct.pack("<HH", 0xCAFE, 0)},
        {"comment": b"hello"},
        {"date_time": (2026, 1, 1, 0, 0, 0)},
        {"external_attr": 0o120777 << 16},
        {"create_system": 0},
    ],
    ids=lambda value: next(iter(value), "plain"),
)
def test_another_writers_spelling(attributes):
    assert refused(rezipped(lambda *entry: stored(*entry, **attributes))) == "E603"


def test_zip64():
    def change(archive, name, data):
        with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as stream:
            stream.write(data)

    assert refused(rezipped(change)) == "E603"


def test_data_descriptor():
    class Unseekable(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise OSError

        def tell(self):
            raise OSError

    buffer = Unseekable()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in forge():
            stored(archive, name, data)
    data = buffer.getvalue()
    assert data[6] & 8
    assert refused(data) == "E603"


def test_symlink_attributes_in_the_directory_alone():
    attributes = struct.pack("<I", 0o120777 << 16)
    assert refused(patched(GOOD, CENTRAL + 38, attributes)) == "E603"


def test_file_comment():
    commented = GOOD[:-2] + struct.pack("<H", 5) + b"hello"
    assert refused(commented) == "E606"


@pytest.mark.parametrize("junk", [b"\0", b"PK\5\6" + bytes(18), GOOD])
def test_appended_bytes(junk):
    assert refused(GOOD + junk) == "E606"


def test_prepended_bytes():
    assert refused(b"#!/bin/sh\n" + GOOD) == "E602"


@pytest.mark.parametrize("at", [CENTRAL, CENTRAL - 1000])
def test_gap(at):
    assert refused(GOOD[:at] + b"\0" * 64 + GOOD[at:]) in {"E603", "E605"}


def test_gap_between_entries():
    second = GOOD.index(layout.LOCAL_MARK, 4)
    assert refused(GOOD[:second] + bytes(30) + GOOD[second:]) == "E603"


@pytest.mark.parametrize("size", [0, 1, 29, 30, 500, CENTRAL, END, len(GOOD) - 1])
def test_truncated(size):
    assert refused(GOOD[:size]) in {"E601", "E606"}


@pytest.mark.parametrize("field", [0, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 30, 32, 34, 36, 38, 42])
def test_headers_that_differ(field):
    wrong = bytes([GOOD[CENTRAL + field] ^ 1])
    assert refused(patched(GOOD, CENTRAL + field, wrong)) in {"E603", "E606"}


def test_an_entry_that_only_the_directory_names():
    inner = zipped(forge())
    entry = inner[CENTRAL : CENTRAL + 46 + len(layout.MANIFEST)]
    assert refused(inner[:END] + entry + inner[END:]) == "E606"


def test_an_entry_that_the_directory_hides():
    first = CENTRAL + 46 + len(layout.MANIFEST)
    assert refused(GOOD[:CENTRAL] + GOOD[first:]) == "E606"


@pytest.mark.parametrize("size", [2**31, 2**32 - 1])
@pytest.mark.parametrize("at", [0, GOOD.index(layout.LOCAL_MARK, 4)])
def test_huge_declared_size(at, size):
    assert refused(patched(GOOD, at + 18, struct.pack("<II", size, size))) == "E601"


def test_a_manifest_beyond_its_cap():
    assert refused(zipped(forge(manifest=b" " * ((4 << 20) + 1)))) == "E601"


def test_a_huge_file_is_refused_by_its_size_alone(tmp_path):
    path = tmp_path / "huge.edgepack"
    with path.open("wb") as stream:
        stream.truncate(2**32 - 1)
    with pytest.raises(ArtifactError) as caught:
        Artifact.open(path)
    assert caught.value.code == "E601"


def test_too_many_entries():
    files = {**contents(), **{f"assets/{i}": b"" for i in range(10_001)}}
    assert refused(zipped(forge(files))) == "E601"


NAMES = [
    "../evil", "assets/../evil", "assets/..", "/etc/passwd", "assets//a", "assets/", "assets",
    "C:/evil", "assets\\a", "assets/.hidden", "assets/a.", "assets/a b", "assets/con",
    "assets/AUX.txt", "assets/com1/a", "assets/-rf", "assets/\x00", "assets/a\n", "assets/ä",
    "model.onnx.bin", "other.txt", "golden/8/input.0.bin", "golden/0/input.00.bin",
    "golden/0/input.1000.bin",
    "golden/0/input.0.bin/a", "assets/a/b/c/d/e/f", "assets/" + "a" * 65, "assets/" + "a/" * 150,
    "readme.md",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names(name):
    entries = [*forge(), (name, b"x")]
    raw = b"".join(
        struct.pack("<4s5H3I2H", b"PK\3\4", 10, 0, 0, 0, 33, 0, len(d), len(d), len(n.encode()), 0)
        + n.encode()
        for n, d in entries[-1:]
    )
    assert refused(GOOD[:CENTRAL] + raw + b"x" + GOOD[CENTRAL:]) == "E604"


def test_wrong_order():
    entries = forge()
    for at in range(len(entries) - 1):
        swapped = list(entries)
        swapped[at], swapped[at + 1] = swapped[at + 1], swapped[at]
        assert refused(zipped(swapped)) == "E604"


def test_duplicate_names():
    entries = forge()
    assert refused(zipped([*entries, entries[-1]])) == "E604"
    assert refused(zipped([entries[0], *entries])) == "E604"


@pytest.mark.parametrize("names", [("assets/A", "assets/a"), ("assets/a", "assets/a/b"),
                                   ("assets/B", "assets/b/c")])  # fmt: skip
def test_names_that_a_file_system_confuses(names):
    files = {**contents(), **dict.fromkeys(names, b"")}
    assert refused(zipped(forge(files))) == "E604"


def test_missing_digest_and_missing_manifest():
    entries = forge()
    assert refused(zipped(entries[:1] + entries[2:])) == "E604"
    assert refused(zipped(entries[1:])) == "E604"
    assert refused(zipped(entries[2:])) == "E604"


def test_empty_zip():
    assert refused(layout.END.pack(layout.END_MARK, *[0] * 7)) == "E606"


def test_signature_slot_is_outside_the_digest_and_capped():
    unsigned, signed = judged(GOOD), judged(zipped(forge(signature=b"{}")))
    assert signed.digest == unsigned.digest
    assert refused(zipped(forge(signature=bytes((64 << 10) + 1)))) == "E601"
    entries = forge()
    late = [*entries[:3], (layout.SIGNATURE, b"{}"), *entries[3:]]
    assert refused(zipped(late)) == "E604"


def test_a_file_that_changes_after_it_was_checked(made):
    data = bytearray(made.path.read_bytes())
    entry = next(e for e in made.entries if e.name == "model.onnx")
    data[entry.offset + 5] ^= 1
    made.path.write_bytes(data)
    with pytest.raises(ArtifactError) as caught:
        made.read("model.onnx")
    assert caught.value.code == "E620"
    target = made.path.parent / "out"
    with pytest.raises(ArtifactError):
        made.extract("model.onnx", target)
    assert not target.exists()


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "absent"):
        with pytest.raises(ArtifactError) as caught:
            Artifact.open(path)
        assert caught.value.code == "E600"


def test_every_flipped_byte_is_refused():
    data = bytearray(zipped(forge(contents(weights=18_000))))
    assert len(data) > 20_000
    assert judged(bytes(data)).digest == hashlib.sha256(forge(contents(18_000))[0][1]).hexdigest()
    for at in range(len(data)):
        data[at] ^= 0xFF
        with pytest.raises(ArtifactError):
            judged(bytes(data))
        data[at] ^= 0xFF


@given(st.integers(0, len(GOOD)), st.integers(0, 60), st.binary(max_size=60))
def test_any_edit_is_refused(at, length, new):
    edited = GOOD[:at] + new + GOOD[at + length :]
    if edited != GOOD:
        refused(edited)


@given(st.binary(max_size=200))
def test_anything_behind_the_first_mark_is_refused(data):
    refused(layout.LOCAL_MARK + data)
