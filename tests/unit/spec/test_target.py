import pytest

from edgepack.errors import UsageError
from edgepack.spec.target import load_target, names


def test_an_unknown_target_gets_a_suggestion():
    with pytest.raises(UsageError) as caught:
        load_target("arm46")
    assert caught.value.code == "E210"
    assert "`arm64`" in caught.value.fix


def test_extends_lays_table_over_table():
    base, over = load_target("arm64"), load_target("arm64-dotprod")
    assert over.isa.arch == base.isa.arch
    assert over.isa.emulate == "cortex-a76"
    assert over.quantize == base.quantize


def test_each_level_is_laid_over_the_one_below(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "mine.toml").write_text(
        'description = "d"\nextends = "mobile"\n[isa]\nemulate = "neoverse-n1"\n'
    )
    assert "mine" in names()
    mine, mobile = load_target("mine"), load_target("mobile")
    assert mine.isa == mobile.isa.model_copy(update={"emulate": "neoverse-n1"})
    assert (mine.package, mine.runtime) == (mobile.package, load_target("arm64").runtime)


@pytest.mark.parametrize(
    ("chain", "where"),
    [({"mine": "mine"}, "mine.toml:2"), ({"mine": "a", "a": "b", "b": "mine"}, "b.toml:2")],
    ids=["itself", "through-others"],
)
def test_a_chain_that_comes_back_is_refused(tmp_path, monkeypatch, chain, where):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "targets").mkdir()
    for name, base in chain.items():
        text = f'description = "d"\nextends = "{base}"\n'
        (tmp_path / "targets" / f"{name}.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_target("mine")
    assert (caught.value.code, caught.value.where) == ("E211", where)
    assert caught.value.why == " > ".join([*chain, "mine"])


def test_a_target_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "board.toml").write_text(
        'description = "d"\nextends = "arm64"\n[gates]\nsize = "1 MB"'
    )
    target = load_target("board.toml")
    assert target.gates.size == 1_000_000
    assert target.gates.cosine == 0.99


@pytest.mark.parametrize(
    ("text", "code", "where", "fix"),
    [
        ('extends = "arm46"', "E210", "mine.toml:2", "`arm64`"),
        ("extends = 5", "E208", "mine.toml:2", "a string"),
        (
            'extends = "arm64"\n[isa]\nfeatures = ["fp", "asimdpp"]',
            "E208",
            "mine.toml:4",
            "`asimddp`",
        ),
        ('extends = "arm64"\n[isa]\narch = "aarch46"', "E208", "mine.toml:4", "`aarch64`"),
        ('extends = "arm64"\nisa = "x"', "E208", "mine.toml:3", "a table"),
        ('extends = "arm64"\nverify = "local"', "E208", "mine.toml:3", "an array"),
        ('extends = "arm64"\n[package]\nort = "yes"', "E208", "mine.toml:4", "true or false"),
        ('extends = "arm64"\n[runtime]\nversion = "latest"', "E208", "mine.toml:4", "match"),
        ('extends = "arm64"\n[runtime]\nminimum = "2.0"', "E208", "mine.toml:3", "newer"),
        ('extends = "arm64"\n[quantise]', "E206", "mine.toml:3", "`quantize`"),
    ],
)
def test_a_mistake_gets_its_line_and_a_fix(tmp_path, text, code, where, fix):
    path = tmp_path / "mine.toml"
    path.write_text(f'description = "d"\n{text}\n')
    with pytest.raises(UsageError) as caught:
        load_target(str(path))
    assert (caught.value.code, caught.value.where) == (code, where)
    assert fix in caught.value.fix


def test_a_mistake_of_the_target_below_is_laid_at_its_own_file(tmp_path):
    below, above = tmp_path / "below.toml", tmp_path / "above.toml"
    below.write_text('description = "d"\n[isa]\nemulate = "cortex-a72"\narhc = "aarch64"\n')
    above.write_text('description = "d"\nextends = "below.toml"\n[isa]\nemulate = "cortex-a53"\n')
    with pytest.raises(UsageError) as caught:
        load_target(str(above))
    assert (caught.value.code, caught.value.where) == ("E206", "below.toml:4")
