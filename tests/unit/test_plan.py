import pytest

from edgepack.errors import UsageError
from edgepack.plan import TIDY, make_plan
from edgepack.source.reference import open_source
from edgepack.spec.recipe import Recipe
from edgepack.spec.target import load_target


def plan(tmp_path, text="", target="arm64", source="builtin:digits", **rest):
    path = tmp_path / "edgepack.toml"
    path.write_text(f'[model]\nsource = "{source}"\n{text}')
    recipe = Recipe.resolve(None, path, **rest)
    opened = open_source(source, tmp_path, task=None, seed=recipe.seed)
    return make_plan(recipe, target, load_target(target), opened)


def names(given):
    return [step.name for step in given.steps]


def test_without_steps_a_model_is_exported_tidied_quantised_and_packed(tmp_path):
    assert names(plan(tmp_path)) == ["export", *TIDY, "quantize", "pack"]


def test_a_graph_is_not_exported(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"x")
    assert names(plan(tmp_path, source="m.onnx")) == [*TIDY, "quantize", "pack"]


def test_written_steps_keep_their_order_and_the_rest_comes_where_it_belongs(tmp_path):
    text = """
    [[steps]]
    pass = "prune"
    ratio = 0.5
    [[steps]]
    pass = "finetune"
    [[steps]]
    pass = "simplify"
    """
    assert names(plan(tmp_path, text)) == [
        "prune", "finetune", "export", "sanitise", "fuse-batch-norm", "mean-to-pool", "simplify",
        "pack",
    ]  # fmt: skip


def test_what_the_target_knows_is_filled_in_and_what_is_written_stays(tmp_path):
    text = '[[steps]]\npass = "quantize"\nscheme = "float"\nreduce_range = false\n'
    steps = {step.name: step.options for step in plan(tmp_path, text, "x86").steps}
    assert steps["export"] == {"opset": 20}
    assert steps["quantize"]["saturates"] is True
    assert steps["quantize"]["reduce_range"] is False
    assert steps["pack"]["target"] == "x86"
    assert steps["pack"]["artifact"] == "digits"
    choice = plan(tmp_path).steps[-2]
    assert all(way.options["reduce_range"] is False for way in choice.ways)


def test_a_scheme_left_open_is_a_choice_among_those_of_the_target(tmp_path):
    given = plan(tmp_path)
    choice = given.choice
    schemes = [way.options["scheme"] for way in choice.ways]
    assert not choice.asked
    assert schemes[:2] == ["w8a8-static", "w8-dynamic"]
    assert schemes[-1] == "float"
    taken = given.with_way(choice.ways[1])
    assert taken[given.steps.index(choice)] == choice.ways[1]
    assert [step.name for step in taken] == names(given)


def test_a_scheme_that_is_named_is_held_against_float(tmp_path):
    given = plan(tmp_path, '[[steps]]\npass = "quantize"\nscheme = "w8-dynamic"\n')
    choice = given.choice
    assert choice.asked
    assert [way.options["scheme"] for way in choice.ways] == ["w8-dynamic", "float"]
    assert plan(tmp_path, '[[steps]]\npass = "quantize"\nscheme = "float"\n').choice is None


def test_two_open_choices_are_refused(tmp_path):
    with pytest.raises(UsageError) as caught:
        plan(tmp_path, '[[steps]]\npass = "quantize"\n[[steps]]\npass = "quantize"\n')
    assert caught.value.code == "E230"


def test_the_baseline_is_the_model_as_it_came_in(tmp_path):
    given = plan(tmp_path, '[[steps]]\npass = "prune"\nratio = 0.5\n')
    assert [step.name for step in given.baseline] == ["export", *TIDY]


def test_the_digest_changes_with_any_option(tmp_path):
    text = '[[steps]]\npass = "prune"\nratio = {}\n'
    assert plan(tmp_path, text.format(0.5)).digest == plan(tmp_path, text.format(0.5)).digest
    assert plan(tmp_path, text.format(0.5)).digest != plan(tmp_path, text.format(0.4)).digest


@pytest.mark.parametrize(
    ("text", "code", "line", "word"),
    [
        ('[[steps]]\npass = "prnue"\n', "E241", 4, "`prune`"),
        ('[[steps]]\npass = "prune"\nratoi = 0.5\n', "E242", 5, "`ratio`"),
        ('[[steps]]\npass = "prune"\nratio = 1.5\n', "E242", 5, "prune"),
        ('[[steps]]\npass = "quantize"\n[[steps]]\npass = "finetune"\n', "E243", 6, "order"),
        ('[[steps]]\npass = "sparsify"\n', "E254", 4, "`prune`"),
    ],
)
def test_a_wrong_step_is_refused_with_its_line(tmp_path, text, code, line, word):
    with pytest.raises(UsageError) as caught:
        plan(tmp_path, text)
    assert (caught.value.code, caught.value.where) == (code, f"edgepack.toml:{line}")
    assert word in caught.value.fix


def test_a_torch_pass_on_a_graph_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"x")
    with pytest.raises(UsageError, match="works on torch models") as caught:
        plan(tmp_path, '[[steps]]\npass = "prune"\nratio = 0.5\n', source="m.onnx")
    assert caught.value.code == "E243"


def test_a_pass_that_needs_data_is_refused_without_it(tmp_path):
    (tmp_path / "model.py").write_text("def build():\n    return None\n")
    with pytest.raises(UsageError) as caught:
        plan(tmp_path, '[[steps]]\npass = "finetune"\n', source="torch:model.py:build")
    assert caught.value.code == "E244"
    assert "train = " in caught.value.fix
