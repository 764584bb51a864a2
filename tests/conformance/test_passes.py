"""Every registered pass keeps the contract of passes."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from edgepack.base import ExportPass, GraphPass, ModelPass, PackPass, Pass
from edgepack.cli.passes import markdown
from edgepack.registry import PASSES, load_pass, pass_names
from edgepack.spec.target import load_target

BASES = {ModelPass, ExportPass, GraphPass, PackPass}
HALF = {"ratio": 0.5}
GIVEN = {
    "low-rank": HALF,
    "prune": HALF,
    "prune-heads": HALF,
    "prune-layers": HALF,
    "prune-weights": HALF,
    "replace": {"activations": {"gelu": "relu"}},
    "share": {"layers": "all"},
}
"""What a pass asks for that has no default."""
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(params=sorted(PASSES))
def cls(request):
    return load_pass(request.param)


def example(cls):
    """The pass with every option that it takes from a target, and what else it requires."""
    named = {
        "name": "arm64",
        "artifact": "name",
        "state": {},
        "preprocessing": [],
        "learned": False,
    }
    settings = {**load_target("arm64").model_dump(mode="json"), **named}
    given = dict(GIVEN.get(cls.name, {}))
    for field, path in cls.from_target.items():
        value = settings
        for key in path.split("."):
            value = value[key]
        given[field] = value
    return cls.model_validate(given)


def test_it_inherits_from_one_base_and_from_no_other_pass(cls):
    bases = [base for base in cls.__bases__ if issubclass(base, Pass)]
    assert len(bases) == 1
    assert bases[0] in BASES


def test_it_survives_toml(cls):
    one = example(cls)
    lines = [
        f"{key} = {toml(value)}"
        for key, value in one.model_dump(mode="json", exclude_none=True).items()
    ]
    assert cls.model_validate(tomllib.loads("\n".join(lines))) == one


def toml(value):
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case dict():
            return "{" + ", ".join(f'"{k}" = {toml(v)}' for k, v in value.items()) + "}"
    return repr(value)


def test_it_is_immutable_and_knows_its_options(cls):
    one = example(cls)
    with pytest.raises(ValidationError):
        cls.model_validate({**one.model_dump(), "no_such_option": 1})
    for field in cls.model_fields:
        with pytest.raises(ValidationError):
            setattr(one, field, None)


def test_every_option_says_what_it_means(cls):
    assert {name for name, field in cls.model_fields.items() if not field.description} == set()


def test_what_it_takes_from_a_target_is_an_option_of_its_own(cls):
    assert set(cls.from_target) <= set(cls.model_fields)


def test_the_page_of_passes_is_current():
    classes = [load_pass(name) for name in sorted(pass_names())]
    assert (DOCS / "passes.md").read_text() == markdown(classes)
