import json

import pytest

from edgepack.cache import Cache
from edgepack.cli import run

KEY = "ab" * 32


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPACK_CACHE", str(tmp_path))
    Cache(tmp_path).fact(KEY, lambda: {"x": 1})
    return tmp_path


def test_the_table_is_for_a_person_and_json_for_a_machine(root, capsys):
    assert run(["cache"]) == 0
    assert "fact" in capsys.readouterr().out
    assert run(["cache", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "edgepack.cache/1"
    assert [(kind["kind"], kind["entries"]) for kind in document["kinds"]] == [("fact", 1)]


def test_damage_is_status_3_until_it_is_removed(root, capsys):
    assert run(["cache", "verify"]) == 0
    (root / "objects/ab" / KEY / "fact.json").write_text("{}")
    assert run(["cache", "verify"]) == 3
    assert capsys.readouterr().out.endswith(f"damaged {KEY[:12]}: fact.json changed\n")
    assert run(["cache", "verify", "--fix"]) == 0
    assert run(["cache", "verify"]) == 0


@pytest.mark.parametrize(
    "wrong", [[], ["--all", "--keep", "1GB"], ["--keep", "2"], ["--older-than", "1y"]], ids=str
)
def test_pruning_asks_what_to_remove(root, wrong):
    assert run(["cache", "prune", *wrong]) == 2
    assert Cache(root).get(KEY)


@pytest.mark.parametrize(
    ("asked", "gone"), [("--keep=2GB", 0), ("--older-than=1h", 0), ("--keep=0B", 1), ("--all", 1)]
)
def test_pruning_says_what_it_removed(root, capsys, asked, gone):
    assert run(["cache", "prune", asked, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["pruned"][0]["entries"] == gone
    assert (Cache(root).get(KEY) is None) == bool(gone)
