"""What the command line says of quantisation reaches the recipe."""

import pytest

from edgepack.errors import UsageError
from edgepack.spec.recipe import Recipe

STEPS = """
[model]
source = "m.onnx"
[[steps]]
pass = "{name}"
keep = ["stem"]
[gates]
max_drop = 2.0
"""


def resolved(tmp_path, name="quantize", **given):
    path = tmp_path / "edgepack.toml"
    path.write_text(STEPS.format(name=name))
    return Recipe.resolve(path=path, **given)


def test_layers_are_added_to_those_that_stay_float(tmp_path):
    recipe = resolved(tmp_path, keep_float=("head", "tail*"))
    assert recipe.steps[0].options["keep"] == ["stem", "head", "tail*"]
    assert recipe.where("steps.0.keep") == "--keep-float"


def test_without_steps_they_belong_to_the_one_that_comes_by_itself():
    recipe = Recipe.resolve("m.onnx", keep_float=("head",))
    assert [(s.name, s.options) for s in recipe.steps] == [("quantize", {"keep": ["head"]})]


def test_where_nothing_is_quantised_nothing_can_be_kept(tmp_path):
    with pytest.raises(UsageError) as refused:
        resolved(tmp_path, "simplify", keep_float=("head",))
    assert refused.value.code == "E214"


def test_the_drop_that_is_allowed_goes_over_the_recipe_s(tmp_path):
    assert resolved(tmp_path).gates.max_drop == 2.0
    assert resolved(tmp_path, max_drop=0.5).gates.max_drop == 0.5
