from edgepack.cli import run


def test_a_recipe_that_is_there_is_not_replaced_unless_forced(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["init", "builtin:digits"]) == 0
    written = (tmp_path / "edgepack.toml").read_text()
    assert 'source = "builtin:digits"' in written
    (tmp_path / "edgepack.toml").write_text("mine")
    assert run(["init", "builtin:digits"]) == 2
    assert "E222" in capsys.readouterr().err
    assert (tmp_path / "edgepack.toml").read_text() == "mine"
    assert run(["init", "builtin:digits", "--force"]) == 0
    assert (tmp_path / "edgepack.toml").read_text() == written


def test_a_dash_prints_the_recipe_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["init", "builtin:digits", "-o", "-"]) == 0
    assert capsys.readouterr().out.startswith("# A recipe")
    assert list(tmp_path.iterdir()) == []
