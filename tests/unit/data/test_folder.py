import pytest

from edgepack.data.folder import Folder
from edgepack.errors import UsageError


@pytest.fixture
def folder(tmp_path):
    def make(*names, **written):
        for name in names:
            path = tmp_path / "pics" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
        for name, text in written.items():
            (tmp_path / "pics" / name.replace("_", ".")).write_text(text)
        return Folder(tmp_path / "pics", "pics")

    return make


def listed(found):
    return [(path.relative_to(found.path).as_posix(), label) for path, label in found]


def test_subfolders_are_classes_in_sorted_order(folder):
    found = folder("dog/b.png", "cat/deep/a.JPG", "dog/a.png", ".hidden/c.png", "notes.md")
    assert found.kind == "pictures"
    assert listed(found) == [("cat/deep/a.JPG", "cat"), ("dog/a.png", "dog"), ("dog/b.png", "dog")]
    assert len(found) == 3


def test_subfolders_of_numbers_are_those_numbers(folder):
    assert listed(folder("10/a.wav", "2/a.wav")) == [("10/a.wav", 10), ("2/a.wav", 2)]


def test_a_flat_folder_has_no_labels(folder):
    assert listed(folder("b.npy", "a.npy")) == [("a.npy", None), ("b.npy", None)]


def test_a_file_of_labels_says_them(folder):
    found = folder("a.png", "b.png", labels_csv="file,label\nb.png,1\na.png,0\n")
    assert listed(found) == [("a.png", 0), ("b.png", 1)]


def test_a_label_may_have_a_value_for_each_run(folder):
    found = folder("a.wav", labels_jsonl='{"file": "a.wav", "label": [0, 1, 1]}')
    assert listed(found) == [("a.wav", [0, 1, 1])]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file,label\na.png,0\n", "`b.png`"),
        ("file,label\na.png,0\nb.png,1\nc.png,1\n", "`c.png` is not in the folder"),
        ("file,label\na.png,0\na.png,1\nb.png,1\n", "`a.png` stands in it twice"),
        ("name,label\na.png,0\n", "entry 1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(folder, text, why):
    with pytest.raises(UsageError) as caught:
        list(folder("a.png", "b.png", labels_csv=text))
    assert caught.value.code == "E291"
    assert why in caught.value.why


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["notes.md"], "none"),
        (["a.png", "b.wav"], "pictures and sounds"),
        (["a.png", "b.tiff"], "b.tiff is of a kind that is not read"),
        (["a.png", "cat/b.png"], "some files lie in subfolders"),
    ],
)
def test_folders_that_are_no_data_are_refused(folder, names, why):
    with pytest.raises(UsageError) as caught:
        list(folder(*names))
    assert caught.value.code == "E290"
    assert why in caught.value.why


def test_the_digest_follows_names_bytes_and_labels(folder):
    digests = [folder("a.png").digest, folder("a.png").digest]
    digests += [folder(labels_csv="file,label\na.png,1\n").digest, folder("b.png").digest]
    (folder().path / "a.png").write_bytes(b"other")
    digests.append(folder().digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4
