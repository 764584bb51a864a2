"""The recipe: what a user writes in `edgepack.toml`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, Field, PrivateAttr, model_validator

from edgepack.errors import UsageError, did_you_mean
from edgepack.spec.gates import Gates
from edgepack.spec.load import Document, overridden, read, validated
from edgepack.spec.target import Target
from edgepack.types import Frozen

USUAL = "edgepack.toml"


class ModelTable(Frozen):
    """`[model]`: what comes in."""

    source: str = Field(
        description="a folder, torch:FILE.py:FACTORY, an .onnx file, or builtin:digits"
    )
    task: str | None = Field(None, description="the transformers task, where it is not inferred")


class DataTable(Frozen):
    """`[data]`: a .npz, .jsonl or .csv file, or ``data.py:function``, beside the recipe."""

    train: str | None = Field(None, description="what training passes learn from")
    calibration: str | None = Field(None, description="what static quantisation measures")
    evaluation: str | None = Field(None, description="what the metric is measured on")
    metric: str | None = Field(None, description="accuracy, spearman, cosine, or data.py:metric")


class Step(Frozen):
    """One `[[steps]]` table: a pass and its options, which the plan holds against the class."""

    name: str = Field(alias="pass", description="the pass; `edgepack passes` lists them")
    options: dict[str, Any] = Field({}, description="the pass's options, written as its other keys")
    line: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        named = {key: table[key] for key in ("pass",) if key in table}
        return {**named, "options": {k: v for k, v in table.items() if k != "pass"}}


class GatesTable(Gates):
    """`[gates]`: limits for every target, and tables for single ones."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Gates] = Field(init=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_no_targets(cls, table: Any) -> Any:
        if isinstance(table, dict):
            for key, value in table.items():
                if key not in cls.model_fields and not isinstance(value, dict | Gates):
                    known = ", ".join(cls.model_fields)
                    raise ValueError(
                        f"there is no gate `{key}`; known: {known}, or a target's table"
                    )
        return table


class Recipe(Frozen):
    """A whole recipe.

    Attributes:
        folder: what relative paths start from.
        path: the file, or None for a recipe made from the command line.
    """

    name: str | None = Field(None, description="the artifact's name [the source's]")
    seed: int = Field(0, ge=0, description="seeds everything that is random")
    model: ModelTable
    data: DataTable = DataTable()
    steps: tuple[Step, ...] = ()
    gates: GatesTable = GatesTable()

    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _path: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """What relative paths start from."""
        return self._folder

    @property
    def path(self) -> Path | None:
        """The file, if there is one."""
        return self._path

    @classmethod
    def resolve(
        cls,
        source: str | None = None,
        path: Path | None = None,
        *,
        data: str | None = None,
        metric: str | None = None,
        task: str | None = None,
        overrides: tuple[str, ...] = (),
    ) -> Self:
        """Read a recipe, or make one for a bare source, and put in what the command line says.

        Args:
            source: a model; None for the recipe's own.
            path: a recipe; ``edgepack.toml`` of this folder where neither is named.
            data: evaluation data.
            metric: its metric.
            task: the transformers task.
            overrides: ``a.b=value``, TOML values.

        Raises:
            UsageError: E201 to E209.
        """
        if source is None and path is None:
            path = Path(USUAL)
            if not path.is_file():
                raise UsageError(
                    "E209",
                    f"there is no {USUAL} in this folder",
                    fix="name a model, as in `edgepack build model.onnx`, or a recipe (--recipe)",
                )
        document = read(path) if path else Document("", {})
        given = {
            "model": {"source": source, "task": task},
            "data": {"evaluation": data, "metric": metric},
        }
        written = {
            table: {
                **document.data.get(table, {}),
                **{k: v for k, v in keys.items() if v is not None},
            }
            for table, keys in given.items()
        }
        document = Document(document.name, {**document.data, **written}, document.lines)
        document = overridden(document, tuple(overrides))
        recipe = validated(cls, document)
        steps = tuple(
            step.model_copy(update={"line": document.line(f"steps.{index}.pass")})
            for index, step in enumerate(recipe.steps)
        )
        recipe = recipe.model_copy(update={"steps": steps})
        recipe._path = path
        recipe._folder = path.resolve().parent if path else Path.cwd()
        return recipe

    def check_gate_tables(self, targets: Collection[str]) -> None:
        """Refuse limits for a target that does not exist.

        Raises:
            UsageError: E212.
        """
        for name in self.gates.__pydantic_extra__ or {}:
            if name not in targets:
                raise UsageError(
                    "E212",
                    f"`[gates.{name}]` names no target",
                    where=self._path.name if self._path else "",
                    fix=did_you_mean(name, targets),
                )

    def gates_for(self, name: str, target: Target) -> dict[str, Any]:
        """Return the limits for a target: its own defaults, the recipe's, the recipe's for it.

        Returns:
            The fields of `proof.budget.Limits`; `asked` names those that the recipe sets.
        """
        written = Gates.model_validate(self.gates.model_dump(include=set(Gates.model_fields)))
        special = (self.gates.__pydantic_extra__ or {}).get(name, Gates())
        asked = special.over(written)
        return {**asked.over(target.gates).model_dump(), "asked": sorted(asked.set_())}
