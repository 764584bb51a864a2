import pytest

from edgepack.errors import UsageError
from edgepack.spec.recipe import Recipe
from edgepack.spec.target import load_target

GOOD = """\
[model]
source = "m.onnx"

[[steps]]
pass = "prune"
ratio = 0.5

[[steps]]
pass = "quantize"

[gates]
max_drop = 2.0
size = "6 MB"
[gates.arm64]
instructions = "40 M"
"""


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "edgepack.toml"
        path.write_text(text)
        return path

    return written


def refusal(path, **rest):
    with pytest.raises(UsageError) as caught:
        Recipe.resolve(None, path, **rest)
    return caught.value


def test_a_whole_recipe(write, tmp_path):
    recipe = Recipe.resolve(None, write(GOOD))
    assert recipe.model.source == "m.onnx"
    assert [(s.name, s.options, s.line) for s in recipe.steps] == [
        ("prune", {"ratio": 0.5}, 5),
        ("quantize", {}, 9),
    ]
    assert recipe.folder == tmp_path.resolve()


def test_gates_add_up_from_target_to_recipe_to_the_recipe_for_the_target(write):
    recipe = Recipe.resolve(None, write(GOOD))
    assert recipe.gates_for("arm64", load_target("arm64")) == {
        "max_drop": 2.0,
        "cosine": 0.99,
        "size": 6_000_000,
        "instructions": 40_000_000,
        "asked": ["instructions", "max_drop", "size"],
    }
    assert recipe.gates_for("x86", load_target("x86"))["instructions"] is None


@pytest.mark.parametrize(
    ("old", "new", "code", "where", "fix"),
    [
        ('source = "m.onnx"', 'sauce = "m.onnx"', "E206", "edgepack.toml:2", "`source`"),
        ('[model]\nsource = "m.onnx"', "[modle]", "E206", "edgepack.toml:1", "`model`"),
        ('size = "6 MB"', 'size = "6 mega"', "E208", "edgepack.toml:13", "6 MB"),
        ("max_drop = 2.0", 'max_drop = "two"', "E208", "edgepack.toml:12", "number"),
        ("max_drop = 2.0", "max_dorp = 2.0", "E208", "edgepack.toml:11", "max_drop"),
        ('instructions = "40 M"', 'instrucs = "40 M"', "E206", "edgepack.toml:15", "instructions"),
        ('pass = "quantize"', "", "E207", "edgepack.toml:8", "add"),
        ("[gates]", "[gates", "E204", "edgepack.toml:11", "mend"),
    ],
)
def test_a_mistake_gets_its_line_and_a_fix(write, old, new, code, where, fix):
    assert old in GOOD
    problem = refusal(write(GOOD.replace(old, new)))
    assert (problem.code, problem.where) == (code, where)
    assert fix in problem.fix


def test_what_is_no_recipe(tmp_path, monkeypatch):
    assert refusal(tmp_path).code == "E201"
    assert refusal(tmp_path / "no.toml").code == "E201"
    large, latin = tmp_path / "large.toml", tmp_path / "latin.toml"
    large.write_bytes(b"#" * (1 << 20) + b"\n")
    latin.write_bytes(b'name = "\xe9"')
    assert refusal(large).code == "E202"
    assert refusal(latin).code == "E203"
    monkeypatch.chdir(tmp_path)
    assert refusal(None).code == "E209"


def test_a_bare_model_needs_no_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.resolve("m.onnx", data="e.npz", metric="accuracy", task="t")
    assert recipe.model.source == "m.onnx"
    assert recipe.model.task == "t"
    assert (recipe.data.evaluation, recipe.data.metric) == ("e.npz", "accuracy")


def test_overrides_are_toml_values_or_bare_words(write):
    path = write(GOOD)
    over = ("steps.0.ratio=0.3", "name=tiny", 'data.metric="cosine"', "gates.max_drop=3")
    recipe = Recipe.resolve(None, path, overrides=over)
    assert recipe.steps[0].options == {"ratio": 0.3}
    assert (recipe.name, recipe.data.metric, recipe.gates.max_drop) == ("tiny", "cosine", 3.0)


@pytest.mark.parametrize("override", ["nothing", "=1", "steps.7.ratio=1", "model.source.x=1"])
def test_an_override_that_sets_nothing_is_refused(write, override):
    assert refusal(write(GOOD), overrides=(override,)).code == "E205"
