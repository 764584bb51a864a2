"""Build, verify and bench: a recipe and its targets in, artifacts and a report out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack.errors import UsageError
from edgepack.plan import Plan, make_plan, models_of
from edgepack.report import Report
from edgepack.source.reference import open_source
from edgepack.spec.recipe import Recipe
from edgepack.spec.target import Target, load_target, names

if TYPE_CHECKING:
    from edgepack.source import Source

__all__ = ["Request", "Work", "build", "prepare"]


@dataclass(frozen=True)
class Request:
    """What a user asks to be built: a model, or a recipe, and what to change in it."""

    model: str | None = None
    recipe: Path | None = None
    targets: Sequence[str] = ()
    data: str | None = None
    metric: str | None = None
    task: str | None = None
    overrides: Sequence[str] = ()
    keep_float: Sequence[str] = ()
    max_drop: float | None = None


@dataclass(frozen=True)
class Work:
    """A request resolved: everything that is known before anything runs."""

    recipe: Recipe
    source: Source
    targets: Mapping[str, Target]
    plans: tuple[Plan, ...]
    models: Mapping[str, Source] = field(default_factory=dict)
    """Other models that steps name, by their references."""


def prepare(request: Request) -> Work:
    """Read the recipe and the targets, and plan.

    Raises:
        UsageError: for anything wrong in the request, the recipe or a target.
    """
    recipe = Recipe.resolve(
        request.model,
        request.recipe,
        data=request.data,
        metric=request.metric,
        task=request.task,
        overrides=tuple(request.overrides),
        max_drop=request.max_drop,
        keep_float=tuple(request.keep_float),
    )
    chosen = list(request.targets) or ["arm64"]
    wanted = names() if "all" in chosen else tuple(dict.fromkeys(chosen))
    targets = {Path(name).stem: load_target(name) for name in wanted}
    recipe.check_gate_tables({*names(), *targets})
    source = open_source(
        recipe.model.source, recipe.folder, task=recipe.model.task, seed=recipe.seed
    )
    if _unfounded(recipe, source):
        raise UsageError(
            "E251",
            f"the metric `{recipe.data.metric}` has no evaluation data to stand on",
            where=recipe.where("data.metric"),
            fix='add `evaluation = "..."` under [data], or `--data`',
        )
    plans = tuple(make_plan(recipe, name, target, source) for name, target in targets.items())
    named = {ref for plan in plans for step in plan.settled for ref in models_of(step)}
    models = {
        ref: open_source(ref, recipe.folder, task=recipe.model.task, seed=recipe.seed)
        for ref in sorted(named)
    }
    return Work(recipe, source, targets, plans, models)


def _unfounded(recipe: Recipe, source: Source) -> bool:
    """Whether a metric is asked for that needs labels, and there are none."""
    named = recipe.data.metric not in (None, "cosine")
    return named and not recipe.data.evaluation and "evaluation" not in source.data


def build(
    model: str | None = None,
    *,
    recipe: Path | None = None,
    targets: Sequence[str] = (),
    data: str | None = None,
    metric: str | None = None,
    task: str | None = None,
    overrides: Sequence[str] = (),
    keep_float: Sequence[str] = (),
    max_drop: float | None = None,
    out: Path = Path("dist"),
    on: Sequence[str] = (),
    offline: bool = False,
) -> Report:
    """Build a model or a recipe for its targets; the same as the command of that name."""
    from edgepack.api.run import execute

    request = Request(model, recipe, targets, data, metric, task, overrides, keep_float, max_drop)
    return execute(prepare(request), out=out, on=on, offline=offline)
