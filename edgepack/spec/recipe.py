"""The recipe: what a user writes in `edgepack.toml`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from edgepack.errors import UsageError, did_you_mean
from edgepack.spec.document import Document
from edgepack.spec.gates import Gates
from edgepack.spec.load import overridden, read, validated
from edgepack.spec.samples import AudioTable, PicturesTable, TextTable
from edgepack.spec.target import Target
from edgepack.types import Frozen

USUAL = "edgepack.toml"
MOST = 2**53 - 1
"""The largest seed: JSON readers keep whole numbers exactly up to here."""


class ModelTable(Frozen):
    """`[model]`: what comes in."""

    source: str = Field(
        min_length=1,
        description="a folder, torch:FILE.py:FACTORY, an .onnx or .gguf file, package:NAME/PATH "
        "for one that a Python package carries, or builtin:digits",
    )
    task: str | None = Field(
        None, min_length=1, description="the transformers task, where it is not inferred"
    )
    state: dict[str, str] = Field(
        {}, description="input = output: what a run takes from the run before it, zeros at first"
    )


PREPARING = ("pictures", "audio", "text", "constants")
"""Tables of `[data]` that say how files become inputs."""


class DataTable(Frozen):
    """`[data]`: a file, a folder, or ``data.py:function``, beside the recipe."""

    train: str | None = Field(None, min_length=1, description="what training passes learn from")
    calibration: str | None = Field(
        None, min_length=1, description="what static quantisation measures"
    )
    evaluation: str | None = Field(None, min_length=1, description="what the metric is measured on")
    metric: str | None = Field(
        None, min_length=1, description="accuracy, top5, f1, auc, ... or data.py:metric"
    )
    most: int | None = Field(
        None, ge=1, strict=True, description="samples of each split that are used [all of them]"
    )
    pictures: PicturesTable = Field(
        PicturesTable(), description="how pictures of a folder become samples"
    )
    audio: AudioTable = Field(AudioTable(), description="how wav files become samples")
    text: TextTable = Field(TextTable(), description="how texts become samples")
    constants: dict[str, bool | int | float] = Field(
        {}, description="input = number: what every run is fed beside the data"
    )

    def operations(self) -> list[dict[str, Any]]:
        """Return how files become inputs, as far as the recipe says so, for the manifest."""
        written = [name for name in PREPARING if name in self.model_fields_set]
        told = self.model_dump(mode="json", include=set(written), exclude_none=True)
        return [{"op": name, "options": told[name]} for name in written]


class Step(Frozen):
    """One `[[steps]]` table: a pass and its options, which the plan holds against the class."""

    name: str = Field(alias="pass", description="the pass; `edgepack passes` lists them")
    options: dict[str, Any] = Field({}, description="the pass's options, written as its other keys")

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        named = {key: table[key] for key in ("pass",) if key in table}
        return {**named, "options": {k: v for k, v in table.items() if k != "pass"}}


def _is_table(value: Any) -> Any:
    """Take a number for a mistyped gate, not for a target's limits."""
    if not isinstance(value, dict | Gates):
        raise PydanticCustomError("extra_forbidden", "there is no such gate")
    return value


class GatesTable(Gates):
    """`[gates]`: limits for every target, and tables for single ones."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Annotated[Gates, BeforeValidator(_is_table)]] = Field(init=False)


class Recipe(Frozen):
    """A whole recipe.

    Attributes:
        folder: what relative paths start from.
        path: the file, or None for a recipe made from the command line.
    """

    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="the artifact's name [the source's]",
    )
    seed: int = Field(0, ge=0, le=MOST, strict=True, description="seeds everything that is random")
    model: ModelTable
    data: DataTable = DataTable()
    steps: tuple[Step, ...] = ()
    gates: GatesTable = GatesTable()

    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _path: Path | None = PrivateAttr(default=None)
    _document: Document = PrivateAttr(default_factory=lambda: Document("", {}))

    @property
    def folder(self) -> Path:
        """What relative paths start from."""
        return self._folder

    @property
    def path(self) -> Path | None:
        """The file, if there is one."""
        return self._path

    def where(self, path: str) -> str:
        """Return ``file:line``, or the option, that a key such as ``steps.0.ratio`` is from."""
        return self._document.where(path)

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
        max_drop: float | None = None,
        keep_float: tuple[str, ...] = (),
    ) -> Self:
        """Read a recipe, or make one for a bare source, and put in what the command line says.

        Args:
            source: a model; None for the recipe's own.
            path: a recipe; ``edgepack.toml`` of this folder where neither is named.
            data: evaluation data.
            metric: its metric.
            task: the transformers task.
            overrides: ``a.b=value``, TOML values.
            max_drop: points of the metric that may be lost.
            keep_float: patterns of layers that `quantize` leaves as they are.

        Raises:
            UsageError: E201 to E209, E214.
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
        options = (
            ("model.source", source, "MODEL"),
            ("model.task", task, "--task"),
            ("data.evaluation", data, "--data"),
            ("data.metric", metric, "--metric"),
            ("gates.max_drop", max_drop, "--max-drop"),
        )
        for key, value, option in options:
            if value is not None:  # what takes no key is no table, and is refused below
                document = document.put(key, value, option) or document
        document = overridden(document, tuple(overrides))
        if keep_float:
            document = _kept(document, keep_float)
        recipe = validated(cls, document)
        recipe._document = document
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
                    where=self.where(f"gates.{name}"),
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


def _kept(document: Document, names: tuple[str, ...]) -> Document:
    """Return the document with layers added that `quantize` leaves float.

    Raises:
        UsageError: E214 where the recipe has steps and none of them quantises.
    """
    steps = document.at(("steps",))
    if not isinstance(steps, list) or not steps:
        written: list[dict[str, Any]] = [{"pass": "quantize", "keep": list(names)}]
        return document.put("steps", written, "--keep-float") or document
    for index, step in enumerate(steps):
        if isinstance(step, dict) and step.get("pass") == "quantize":
            before = step.get("keep", [])
            keep = [*(before if isinstance(before, list) else []), *names]
            return document.put(f"steps.{index}.keep", keep, "--keep-float") or document
    raise UsageError(
        "E214",
        "nothing is quantised that a layer could be kept from",
        where="--keep-float",
        fix='add a step with pass = "quantize" to the recipe',
    )
