"""Reads pictures as a network wants them, one at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepack.data.folder import Folder
from edgepack.errors import HostError, UsageError
from edgepack.spec.samples import Area, PicturesTable
from edgepack.types import TensorSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from edgepack.types import Array

_DEEP = ("I", "F")
"""Pillow's modes of more than 8 bits a channel; it would clip them to 255."""


@dataclass(frozen=True)
class Want:
    """What one picture must become, once the table and the model's input are put together.

    Attributes:
        name, dtype: the input's.
        channels_last: whether the layout is height, width, channels.
        colour: order of the channels.
        resize: the shorter side, (height, width), or None for what just covers the crop.
        crop: (height, width), or None to leave the size as it is.
    """

    name: str
    dtype: str
    channels_last: bool
    colour: str
    resize: Area | None
    crop: tuple[int, int] | None


@dataclass(frozen=True)
class PictureRows:
    """The pictures of a folder, each as a mapping with its label.

    Attributes:
        folder: where they lie.
        inputs: gives the inputs that the data feeds; it must be one picture.
        table: the recipe's `[data.pictures]`.
    """

    folder: Folder
    inputs: Callable[[], Sequence[TensorSpec]]
    table: PicturesTable

    def __len__(self) -> int:
        return len(self.folder)

    def __iter__(self) -> Iterator[tuple[Mapping[str, Array], Any]]:
        want = self._want
        for path, label in self.folder:
            yield {want.name: _read(path, want, self.table, self.folder)}, label

    def labels(self) -> Iterator[Any]:
        """Yield the labels alone; no picture is opened."""
        return (label for _, label in self.folder)

    @cached_property
    def _want(self) -> Want:
        return wanted(self.inputs(), self.table, self.folder.reference)


def wanted(inputs: Sequence[TensorSpec], table: PicturesTable, where: str) -> Want:
    """Put the recipe's table and the model's input together.

    Raises:
        UsageError: E292 where pictures do not fit the model, or the table does not.
    """
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise _unfit(where, f"the model takes {names}", "give a function, as in `data.py:function`")
    spec = inputs[0]
    shape = spec.shape
    numbers = spec.dtype.startswith("float") or spec.dtype == "uint8"
    layouts = {"nchw": (1, 2, 3), "nhwc": (3, 1, 2)}
    fitting = [
        name
        for name, (channels, _, _) in layouts.items()
        if table.layout in {None, name} and len(shape) == 4 and shape[channels] in {1, 3}
    ]
    if not numbers or not fitting:
        raise _unfit(
            where,
            f"the model takes {spec}, and a picture is [1, 3, height, width] or the like",
            "check `layout` under [data.pictures], or give a function",
        )
    channels, height, width = layouts[fitting[0]]
    colour = table.colour or ("grey" if shape[channels] == 1 else "rgb")
    if (colour == "grey") != (shape[channels] == 1):
        why = f"the model takes {shape[channels]} channels and `colour` is {colour}"
        raise _unfit(where, why, "leave `colour` out, or correct it")
    if spec.dtype == "uint8" and (table.mean or table.std or table.scale != 255):
        why = "the model takes bytes, which are fed as they are"
        raise _unfit(where, why, "leave `mean`, `std` and `scale` out")
    if shape[channels] == 1 and len(table.mean) + len(table.std) > 2:
        raise _unfit(where, "`mean` or `std` has three numbers for one channel", "write one")
    fixed = (shape[height], shape[width])
    crop = table.crop if table.crop is not None else fixed if _sized(fixed) else None
    both = (crop, crop) if isinstance(crop, int) else crop
    return Want(spec.name, spec.dtype, fitting[0] == "nhwc", colour, table.resize, both)  # type: ignore[arg-type]


def _sized(fixed: tuple[int | str, int | str]) -> bool:
    return all(isinstance(side, int) for side in fixed)


def _read(path: Path, want: Want, table: PicturesTable, folder: Folder) -> Array:
    """Return a picture of shape [1, ...] in the input's type.

    Raises:
        HostError: E390 without Pillow.
        UsageError: E293 for a picture that cannot be read or is too small.
    """
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as problem:
        raise HostError(
            "E390", "pictures are read by Pillow, which is not installed", fix="pip install pillow"
        ) from problem
    where = f"{folder.reference}/{path.relative_to(folder.path).as_posix()}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                upright = ImageOps.exif_transpose(opened)
                if upright.mode.startswith(_DEEP):
                    raise ValueError("it has more than 8 bits a channel")
                picture = upright.convert("L" if want.colour == "grey" else "RGB")
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as problem:
        why = str(problem).replace(str(path), path.name)
        raise _bad(where, why, "save it again as 8-bit PNG or JPEG") from problem
    values = np.asarray(_cut(_resized(picture, want, table.interpolation), want, where))
    values = values[..., None] if values.ndim == 2 else values
    if want.colour == "bgr":
        values = values[..., ::-1]
    if want.dtype != "uint8":
        values = _normal(values, table).astype(want.dtype)
    return np.ascontiguousarray(values if want.channels_last else values.transpose(2, 0, 1))[None]


def _resized(picture: Image, want: Want, interpolation: str) -> Image:
    from PIL.Image import Resampling

    width, height = picture.size
    to = want.resize
    if isinstance(to, tuple):
        high, wide = to
    else:
        if to is not None:
            factor = to / min(width, height)
        elif want.crop is not None:
            factor = max(want.crop[0] / height, want.crop[1] / width)
        else:
            return picture
        high, wide = max(1, round(height * factor)), max(1, round(width * factor))
    if (wide, high) == picture.size:
        return picture
    return picture.resize((wide, high), Resampling[interpolation.upper()])


def _cut(picture: Image, want: Want, where: str) -> Image:
    if want.crop is None:
        return picture
    (high, wide), (width, height) = want.crop, picture.size
    if high > height or wide > width:
        why = f"it is {height} x {width} after resizing, and {high} x {wide} are cut out of it"
        raise _bad(where, why, "let `resize` under [data.pictures] be no smaller than `crop`")
    left, top = (width - wide) // 2, (height - high) // 2
    return picture.crop((left, top, left + wide, top + high))


def _normal(values: Array, table: PicturesTable) -> Array:
    scaled = values.astype(np.float32) / np.float32(table.scale)
    if table.mean:
        scaled = scaled - np.array(table.mean, np.float32)
    return scaled / np.array(table.std, np.float32) if table.std else scaled


def _unfit(where: str, why: str, fix: str) -> UsageError:
    return UsageError("E292", "pictures do not fit the model", where=where, why=why, fix=fix)


def _bad(where: str, why: str, fix: str) -> UsageError:
    return UsageError("E293", "the picture cannot be read", where=where, why=why, fix=fix)
