"""The target: one TOML file that says what a device can do and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from edgepack.errors import UsageError, did_you_mean
from edgepack.spec.document import Document
from edgepack.spec.gates import Gates
from edgepack.spec.load import read, validated
from edgepack.types import Frozen, Scheme

PACKAGE = Path(__file__).parent.parent
Feature: TypeAlias = Literal["fp", "asimd", "asimddp", "i8mm", "avx2", "avx512f", "vnni", "amx"]
"""What a device can be asked for; a word that no device reports would leave all unverified."""
Version: TypeAlias = Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){1,3}$")]


class IsaTable(Frozen):
    """`[isa]`: the instruction set."""

    arch: Literal["aarch64", "x86_64"] = Field(description="the architecture")
    features: tuple[Feature, ...] = Field((), description="what an artifact may use, and no more")
    emulate: str = Field(description="the qemu CPU that stands for it")
    saturates: bool = Field(
        False, strict=True, description="int8 products saturate, so u8 x s8 needs 7-bit weights"
    )


class RuntimeTable(Frozen):
    """`[runtime]`: what runs the model there."""

    package: str = Field("onnxruntime", description="the runtime's package")
    version: Version = Field(
        description="the version that verification uses, and the newest that the artifact names"
    )
    minimum: Version = Field(description="the oldest version that loads the artifact")
    providers: tuple[str, ...] = Field(
        ("CPUExecutionProvider",), description="execution providers, in order of preference"
    )
    threads: int = Field(1, ge=1, strict=True, description="intra-op threads")
    optimization: Literal["disabled", "basic", "extended", "layout", "all"] = Field(
        "all", description="graph optimisation at load"
    )
    entries: dict[str, str] = Field({}, description="session config entries")
    opset: int = Field(ge=11, strict=True, description="the newest opset that it loads")
    ir: int = Field(ge=4, strict=True, description="the newest IR version that it loads")
    exact: bool = Field(
        True,
        strict=True,
        description="it rounds as ONNX Runtime's CPU provider does, so answers are held close",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        oldest, newest = (tuple(map(int, v.split("."))) for v in (self.minimum, self.version))
        if oldest > newest:
            raise ValueError(f"minimum {self.minimum} is newer than version {self.version}")
        return self


class QuantizeTable(Frozen):
    """`[quantize]`: what suits the target's instructions."""

    schemes: tuple[Scheme, ...] = Field(description="in order of preference")
    weight_type: Literal["s8", "u8"] = Field("s8", description="signedness of static weights")
    dynamic_weight_type: Literal["s8", "u8"] = Field(
        "s8", description="signedness of dynamic weights"
    )
    activation_type: Literal["s8", "u8"] = Field("u8", description="signedness of activations")
    per_channel: bool = Field(True, strict=True, description="one scale per output channel")
    weight_symmetric: bool = Field(
        True, strict=True, description="ranges of static weights reach as far down as up"
    )
    activation_symmetric: bool = Field(
        False, strict=True, description="ranges of static activations reach as far down as up"
    )
    reduce_range: bool = Field(False, strict=True, description="7 bits for signed weights")
    calibration: Literal["auto", "minmax", "percentile", "entropy", "mse"] = Field(
        "auto", description="how ranges of static activations are found"
    )


class RewritesTable(Frozen):
    """`[rewrites]`: what pays on one kind of host alone."""

    weight_zero_point_one: bool = Field(
        False, strict=True, description="weights of large convolutions get the zero point 1"
    )
    space_to_depth: bool = Field(
        False, strict=True, description="first convolutions of stride 2 work on 2 x 2 blocks"
    )


class PackageTable(Frozen):
    """`[package]`: what goes into the artifact besides the model."""

    ort: bool = Field(False, strict=True, description="the .ort form too")
    samples: bool = Field(True, strict=True, description="a sample program")


class Target(Frozen):
    """A whole target."""

    description: str = Field(description="one line for `edgepack targets`")
    extends: str | None = Field(None, description="a target whose tables this one adds to")
    verify: tuple[str, ...] = Field(
        (), description="channels that a build proves the artifact on [qemu on isa.emulate]"
    )
    isa: IsaTable
    runtime: RuntimeTable
    quantize: QuantizeTable
    rewrites: RewritesTable = RewritesTable()
    package: PackageTable = PackageTable()
    gates: Gates = Gates()

    @model_validator(mode="after")
    def _verified_somewhere(self) -> Self:
        channels = self.verify or (f"qemu:{self.isa.emulate}",)
        return self if self.verify else self.model_copy(update={"verify": channels})


def folder() -> Path:
    """Return where the targets lie: in the wheel, or beside the package in a checkout."""
    inside = PACKAGE / "targets"
    return inside if inside.is_dir() else PACKAGE.parent / "targets"


def names() -> tuple[str, ...]:
    """Name the targets that come with edgepack and those in ``./targets``."""
    places = (folder(), Path("targets"))
    return tuple(sorted({path.stem for place in places for path in place.glob("*.toml")}))


def load_target(name: str) -> Target:
    """Load a target by its name, or by the path of its TOML file.

    Raises:
        UsageError: E210 unknown name, E211 a target that extends itself, E201 to E208 for a file.
    """
    return validated(Target, _laid(_find(name), ()))


def _laid(path: Path, above: tuple[Path, ...]) -> Document:
    """Read a target's file and lay it over what it extends; `above` are the files that led here."""
    document = read(path)
    base_name = document.data.get("extends")
    if not isinstance(base_name, str):
        return document
    where = document.where("extends")
    here = (*above, path.resolve())
    below = _find(base_name, path.parent, where)
    if below.resolve() in here:
        raise UsageError(
            "E211",
            f"`{path.stem}` extends `{base_name}`, which extends it in turn",
            where=where,
            why=" > ".join(one.stem for one in (*here, below)),
            fix="end the chain in a target that extends nothing",
        )
    base = _laid(below, here)
    validated(Target, base)  # so that its mistakes are laid at its own lines
    return Document(document.name, _merged(base.data, document.data), document.lines)


def _find(name: str, start: Path = Path(), where: str = "") -> Path:
    """Return the file of a target; a path to one starts from `start`."""
    if name.endswith(".toml"):
        return start / name
    known = names()
    if name not in known:
        raise UsageError(
            "E210", f"there is no target `{name}`", where=where, fix=did_you_mean(name, known)
        )
    own = Path("targets") / f"{name}.toml"
    return own if own.is_file() else folder() / f"{name}.toml"


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one document over another, table by table."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = {**below, **value} if both and below else value
    return merged
