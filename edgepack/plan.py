"""The plan: what a recipe and a target mean, settled before anything runs.

It needs neither torch, onnx nor onnxruntime, so that `edgepack plan` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from edgepack.base import Kind, Pass, StepRecord
from edgepack.compress.order import require_sense
from edgepack.errors import UsageError, did_you_mean
from edgepack.registry import load_pass
from edgepack.types import Frozen, digest_of

if TYPE_CHECKING:
    from edgepack.source import Source
    from edgepack.spec.recipe import Recipe
    from edgepack.spec.target import Target

TIDY = ("sanitise", "simplify", "fuse-batch-norm", "mean-to-pool")
"""What every graph goes through, in this order, where the recipe does not say otherwise."""
RANK: dict[Kind, int] = {"model": 0, "graph": 1, "artifact": 2}


class Choice(Frozen):
    """A step that may be done in several ways; the build measures them and takes one.

    Attributes:
        ways: in the order of preference; the last leaves the value as it is.
        asked: the recipe names the first; the others are built only to hold it against them.
    """

    ways: tuple[StepRecord, ...]
    asked: bool

    @property
    def name(self) -> str:
        """The pass."""
        return self.ways[0].name


class Plan(Frozen):
    """The resolved passes for one target.

    Attributes:
        name: the artifact's name.
        target: the target's name.
        source: the model's reference as the user wrote it.
        steps: every pass with every option, in order; at most one is a choice.
    """

    name: str
    target: str
    source: str
    steps: tuple[StepRecord | Choice, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the plan."""
        return digest_of(self)

    @property
    def baseline(self) -> tuple[StepRecord, ...]:
        """The steps that bring the model as it came in to a float graph, to compare with."""
        return tuple(step for step in self.settled if step.name in {"export", *TIDY})

    @property
    def training(self) -> tuple[StepRecord, ...]:
        """The steps on the torch model, which several processes may walk through together."""
        return tuple(step for step in self.settled if load_pass(step.name).gives == "model")

    @property
    def choice(self) -> Choice | None:
        """The step that is a choice."""
        return next((step for step in self.steps if isinstance(step, Choice)), None)

    @property
    def settled(self) -> tuple[StepRecord, ...]:
        """The steps that are no choice."""
        return tuple(step for step in self.steps if isinstance(step, StepRecord))

    def with_way(
        self, way: StepRecord, before: Sequence[StepRecord] = ()
    ) -> tuple[StepRecord, ...]:
        """Return the steps with the choice made, and what goes before it."""
        made = ((*before, way) if isinstance(step, Choice) else (step,) for step in self.steps)
        return tuple(step for steps in made for step in steps)


def make_plan(recipe: Recipe, name: str, target: Target, source: Source) -> Plan:
    """Resolve a recipe for the target called `name`.

    Passes that the recipe leaves out are put where they belong: `export` where torch ends,
    the passes of `TIDY` where a graph begins, `quantize` where there are no steps at all or `qat`
    trained for it, and `pack` at the end. What a pass takes from the target is filled in.

    Raises:
        UsageError: E241 unknown pass, E242 wrong option, E243 wrong order, E244 missing data, E254
            to E256 for steps that make no sense in their order.
    """
    written = [(s.name, s.options, f"steps.{index}") for index, s in enumerate(recipe.steps)]
    classes = [load_pass(word, recipe.where(f"{place}.pass")) for word, _, place in written]
    _require_order(recipe, classes, source)
    steps = _completed(written, source.gives) if written else _default(source.gives)
    settings = {
        **target.model_dump(mode="json"),
        "name": name,
        "artifact": recipe.name or source.name,
        "state": recipe.model.state,
        "preprocessing": recipe.data.operations(),
        "learned": any(step.name == "qat" for step in recipe.steps),
    }
    resolved: list[StepRecord | Choice] = []
    splits = {
        split for split in ("train", "calibration", "evaluation") if _has(recipe, source, split)
    }
    for pass_name, options, place in steps:
        cls = load_pass(pass_name)
        if missing := cls.needs - splits:
            split = sorted(missing)[0]
            raise UsageError(
                "E244",
                f"`{pass_name}` needs {split} data and the recipe names none",
                where=recipe.where(f"{place}.pass") if place else "",
                fix=f'add `{split} = "..."` under [data]',
            )
        filled = _filled(recipe, cls, options, settings, place)
        ways = tuple(_record(way) for way in filled.ways())
        asked = ways[0] == _record(filled)
        resolved.append(ways[0] if len(ways) == 1 else Choice(ways=ways, asked=asked))
    require_sense(
        [step if isinstance(step, StepRecord) else step.ways[0] for step in resolved],
        lambda index: recipe.where(f"{steps[index][2]}.pass"),
    )
    if sum(isinstance(step, Choice) for step in resolved) > 1:
        raise UsageError(
            "E230",
            "more than one step leaves a choice open",
            where=recipe.where("steps"),
            fix="quantise once",
        )
    return Plan(
        name=settings["artifact"], target=name, source=recipe.model.source, steps=tuple(resolved)
    )


def models_of(step: StepRecord) -> tuple[str, ...]:
    """Return the references of other models that a step takes."""
    return load_pass(step.name).model_validate(step.options).models()


_Written = tuple[str, Mapping[str, Any], str]
"""A pass, its options, and its path in the recipe; no path where it comes by itself."""


def _default(gives: Kind) -> list[_Written]:
    return _completed([("quantize", {}, "")], gives)


def _completed(written: Sequence[_Written], gives: Kind) -> list[_Written]:
    """Add the passes that come by themselves."""
    named = {name for name, _, _ in written}
    kinds = [load_pass(name).takes for name, _, _ in written]
    torch_end = max((i + 1 for i, kind in enumerate(kinds) if kind == "model"), default=0)
    steps = list(written)
    cleaning: list[_Written] = [(n, {}, "") for n in TIDY if n not in named]
    exporting: list[_Written] = []
    if gives == "model" and "export" not in named:
        exporting = [("export", {}, "")]
    steps[torch_end:torch_end] = [*exporting, *cleaning]
    if "qat" in named and not named & {"quantize", "pack"}:
        steps.append(("quantize", {}, ""))  # what was trained for is worth nothing unstored
    return steps if "pack" in named else [*steps, ("pack", {}, "")]


def _record(one: Pass) -> StepRecord:
    return StepRecord(name=one.name, version=one.version, options=one.model_dump(mode="json"))


def _filled(
    recipe: Recipe,
    cls: type[Pass],
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    place: str,
) -> Pass:
    """Validate a step's options and fill the rest from the target."""
    given = dict(options)
    for field, path in cls.from_target.items():
        if field not in given and (value := _dig(settings, path)) is not None:
            given[field] = value
    try:
        return cls.model_validate(given)
    except ValidationError as problem:
        # A mistyped option is also a missing one; the one that was written is the better word.
        errors = sorted(problem.errors(), key=lambda error: error["type"] != "extra_forbidden")
        first = errors[0]
        key = ".".join(map(str, first["loc"]))
        unknown = first["type"] == "extra_forbidden"
        raise UsageError(
            "E242",
            f"`{cls.name}` has no option `{key}`" if unknown else f"`{cls.name}.{key}` is wrong",
            where=recipe.where(f"{place}.{key}") if place else "",
            why="" if unknown else f"{first['msg']}; found {first['input']!r}",
            fix=did_you_mean(key, cls.model_fields)
            if unknown
            else f"see `edgepack passes {cls.name}`",
        ) from None


def _dig(settings: Mapping[str, Any], path: str) -> Any:
    value: Any = settings
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _has(recipe: Recipe, source: Source, split: str) -> bool:
    return bool(getattr(recipe.data, split)) or split in source.data


def _require_order(recipe: Recipe, classes: Sequence[type[Pass]], source: Source) -> None:
    """Refuse a written step that stands after one that takes a later kind of value."""
    reached: Kind = source.gives
    for index, cls in enumerate(classes):
        if RANK[cls.takes] < RANK[reached]:
            graph = source.gives == "graph" and cls.takes == "model"
            raise UsageError(
                "E243",
                f"`{cls.name}` works on torch models and the source is an ONNX graph"
                if graph
                else f"`{cls.name}` takes a {cls.takes} and stands where there is a {reached}",
                where=recipe.where(f"steps.{index}.pass"),
                fix=f"remove `{cls.name}`, or start from the torch model"
                if graph
                else "order the steps: torch passes, export, graph passes, pack",
            )
        reached = cls.gives if RANK[cls.gives] > RANK[cls.takes] else cls.takes
