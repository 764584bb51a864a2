import os

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
    assert [(s.name, s.options) for s in recipe.steps] == [
        ("prune", {"ratio": 0.5}),
        ("quantize", {}),
    ]
    assert recipe.where("steps.0.ratio") == "edgepack.toml:6"
    assert recipe.folder == tmp_path.resolve()


def test_gates_add_up_from_target_to_recipe_to_the_recipe_for_the_target(write):
    recipe = Recipe.resolve(None, write(GOOD))
    assert recipe.gates_for("arm64", load_target("arm64")) == {
        "max_drop": 2.0,
        "max_slowdown": 1.0,
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
        ("max_drop = 2.0", "max_dorp = 2.0", "E206", "edgepack.toml:12", "max_drop"),
        ('instructions = "40 M"', 'instrucs = "40 M"', "E206", "edgepack.toml:15", "instructions"),
        ('pass = "quantize"', "", "E207", "edgepack.toml:8", "add"),
        ('pass = "quantize"', 'pas = "quantize"', "E207", "edgepack.toml:9", "`pass` by `pas`"),
        ("[gates]", "[gates", "E204", "edgepack.toml:11", "mend"),
        ('instructions = "40 M"', 'name = """', "E204", "edgepack.toml:15", "mend"),
        ('[model]\nsource = "m.onnx"', 'model = "m.onnx"', "E208", "edgepack.toml:1", "a table"),
        ('source = "m.onnx"', 'source = ""', "E208", "edgepack.toml:2", "1 character"),
        ("[model]", 'name = "../x"\n[model]', "E208", "edgepack.toml:1", "match"),
    ],
)
def test_a_mistake_gets_its_line_and_a_fix(write, old, new, code, where, fix):
    assert old in GOOD
    problem = refusal(write(GOOD.replace(old, new)))
    assert (problem.code, problem.where) == (code, where)
    assert fix in problem.fix


@pytest.mark.parametrize("seed", ["true", '"3"', "3.0", "-1", "1e3", str(2**53)])
def test_a_seed_is_taken_as_written_or_refused(write, seed):
    problem = refusal(write(f"seed = {seed}\n{GOOD}"))
    assert (problem.code, problem.where) == ("E208", "edgepack.toml:1")


@pytest.mark.parametrize(
    "limit",
    ["max_drop = true", 'max_drop = "1"', "max_drop = inf", "max_drop = nan", "max_drop = -1",
     "cosine = true", "cosine = 1.1", "size = true", "size = 6.0", "size = 0", 'size = "0 B"'],
)  # fmt: skip
def test_a_limit_is_taken_as_written_or_refused(write, limit):
    problem = refusal(write(f"{GOOD}[gates.x86]\n{limit}\n"))
    assert (problem.code, problem.where) == ("E208", "edgepack.toml:17")


def test_steps_in_one_array_keep_their_lines(write):
    text = 'model.source = "m"\nsteps = [\n  {pass = "a"},\n  {pass = "b"},\n  {ratio = 1},\n]\n'
    problem = refusal(write(text))
    assert (problem.code, problem.where) == ("E207", "edgepack.toml:5")
    recipe = Recipe.resolve(None, write(text.replace("{ratio = 1},", "")))
    assert [recipe.where(f"steps.{index}") for index in (0, 1)] == [
        "edgepack.toml:3",
        "edgepack.toml:4",
    ]


def test_later_stages_can_ask_where_a_key_stands(write):
    recipe = Recipe.resolve(None, write(GOOD), overrides=("steps.1.scheme=float",))
    assert recipe.where("steps.0.ratio") == "edgepack.toml:6"
    assert recipe.where("steps.1.scheme") == "--set steps.1.scheme"
    assert recipe.where("steps.1.other") == "edgepack.toml:8"


def test_limits_for_a_target_that_is_not_there(write):
    recipe = Recipe.resolve(None, write(GOOD))
    recipe.check_gate_tables({"arm64"})
    with pytest.raises(UsageError) as caught:
        recipe.check_gate_tables({"arm46", "x86"})
    problem = caught.value
    assert (problem.code, problem.where) == ("E212", "edgepack.toml:14")
    assert "`arm46`" in problem.fix


def test_where_a_step_stands_is_no_part_of_what_it_is(write):
    dumps = [
        Recipe.resolve(None, write(text)).model_dump(mode="json") for text in (GOOD, "\n" + GOOD)
    ]
    assert dumps[0] == dumps[1]


def test_what_is_no_recipe(tmp_path, monkeypatch):
    assert refusal(tmp_path).code == "E201"
    assert refusal(tmp_path / "no.toml").code == "E201"
    large, latin = tmp_path / "large.toml", tmp_path / "latin.toml"
    large.write_bytes(b"#" * (1 << 20) + b"\n")
    latin.write_bytes(b'name = "\xe9"')
    assert refusal(large).code == "E202"
    assert refusal(latin).code == "E203"
    assert refusal(latin).where == "latin.toml:1"
    assert refusal(tmp_path / ("x" * 300)).code == "E201"
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    assert refusal(pipe).code == "E201"
    monkeypatch.chdir(tmp_path)
    assert refusal(None).code == "E209"


@pytest.mark.parametrize("text", ["a = " + "[" * 9999, "a = " + "9" * 5000])
def test_toml_that_python_cannot_hold(write, text):
    assert refusal(write(text)).code == "E204"


def test_an_editor_may_leave_a_byte_order_mark(write):
    path = write("")
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert Recipe.resolve(None, path).where("steps.1.pass") == "edgepack.toml:9"


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


@pytest.mark.parametrize(
    "override",
    ["nothing", "=1", "steps.7.ratio=1", "steps.x=1", "steps.²=1", "steps.-1.ratio=1", "a..b=1",
     "model.source.x=1", "name=", 'name="x', "seed=[1", "name=a\nseed=2", "seed=1\nname='a'"],
)  # fmt: skip
def test_an_override_that_sets_nothing_is_refused(write, override):
    assert refusal(write(GOOD), overrides=(override,)).code == "E205"


@pytest.mark.parametrize(
    ("override", "code", "where"),
    [
        ("seed=abc", "E208", "--set seed"),
        ("modle.source=x", "E206", "--set modle.source"),
        ("gates.max_dorp=1", "E206", "--set gates.max_dorp"),
        ("gates.arm64.size=1 mb", "E208", "--set gates.arm64.size"),
    ],
)
def test_a_mistake_of_the_command_line_is_not_laid_at_the_file(write, override, code, where):
    problem = refusal(write(GOOD), overrides=(override,))
    assert (problem.code, problem.where) == (code, where)


def test_the_command_line_goes_before_the_file_and_leaves_the_rest(write):
    path = write(GOOD)
    recipe = Recipe.resolve("other.onnx", path, metric="cosine")
    assert (recipe.model.source, recipe.data.metric) == ("other.onnx", "cosine")
    assert recipe.where("model.source") == "MODEL"
    assert len(recipe.steps) == 2
    assert refusal(write("data = 3\n" + GOOD), metric="cosine").where == "edgepack.toml:1"
