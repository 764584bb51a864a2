"""Reads wav files as a model wants them: whole, or in frames that it is fed one after the other."""

from __future__ import annotations

import math
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edgepack.data.folder import Folder
from edgepack.errors import UsageError
from edgepack.spec.samples import AudioTable
from edgepack.types import TensorSpec

if TYPE_CHECKING:
    from edgepack.types import Array

_CROSSINGS = 16
"""Zero crossings of the sinc on each side: the pass band is flat to 0.1 dB up to 90 %."""
_BETA = 8.6
"""Of the Kaiser window: some 85 dB below outside the band."""
_PIECE = 4096


@dataclass(frozen=True)
class AudioRows:
    """The wav files of a folder: a mapping for each run, and the label.

    Attributes:
        folder: where they lie.
        inputs: gives the inputs that the data feeds; it must be one float signal.
        table: the recipe's `[data.audio]`.
    """

    folder: Folder
    inputs: Callable[[], Sequence[TensorSpec]]
    table: AudioTable

    def __len__(self) -> int:
        return len(self.folder)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        spec = self._spec
        first = None
        for path, label in self.folder:
            where = f"{self.folder.reference}/{path.relative_to(self.folder.path).as_posix()}"
            signal, rate = read_wav(path, where)
            first = first or rate
            if self.table.rate is None and rate != first:
                raise _bad(
                    where,
                    f"it has {rate} values a second and the first file {first}",
                    "say what the model expects: `rate` under [data.audio]",
                )
            signal = resampled(signal, rate, self.table.rate or rate)
            runs = framed(signal, self.table) if self.table.window else [_whole(signal, spec)]
            yield {"runs": [{spec.name: _shaped(run, spec)} for run in runs], "label": label}

    def labels(self) -> Iterator[Any]:
        """Yield the labels alone; no file is opened."""
        return (label for _, label in self.folder)

    @cached_property
    def _spec(self) -> TensorSpec:
        inputs = self.inputs()
        if len(inputs) == 1 and inputs[0].dtype.startswith("float") and inputs[0].shape:
            return inputs[0]
        raise UsageError(
            "E294",
            "sounds do not fit the model",
            where=self.folder.reference,
            why=f"it takes {'; '.join(map(str, inputs))}, and a sound is one array of floats",
            fix="name what is carried over under [model] state and what stays the same under "
            "[data.constants], or give a function, as in `data.py:function`",
        )


def read_wav(path: Path, where: str) -> tuple[Array, int]:
    """Return a file's signal, -1 to 1 float32 [n], its channels averaged, and its rate in Hz.

    Raises:
        UsageError: E295 for what is no PCM of 8, 16, 24 or 32 bits, or is empty.
    """
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError, ValueError) as problem:
        raise _bad(where, str(problem) or "it ends too early") from problem
    if width not in {1, 2, 3, 4} or not channels or not rate or len(raw) < width * channels:
        raise _bad(where, f"{8 * width} bits, {channels} channels, {len(raw)} bytes")
    whole = len(raw) // (width * channels) * width * channels
    signal = _pcm(raw[:whole], width).reshape(-1, channels).mean(axis=1)
    return signal.astype(np.float32), rate


def _pcm(raw: bytes, width: int) -> Array:
    if width == 1:
        return (np.frombuffer(raw, np.uint8) - 128.0) / 128
    if width == 3:
        # The three bytes are the upper ones of an int32, which keeps the sign.
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        return wide.view("<i4").ravel() / 2.0**31
    return np.frombuffer(raw, f"<i{width}") / 2.0 ** (8 * width - 1)


def resampled(signal: Array, rate: int, to: int) -> Array:
    """Return a signal [n] at another rate, [ceil(n * to / rate)], by a polyphase windowed sinc.

    Source of the method: J. O. Smith, Digital Audio Resampling; the band ends at the lower of the
    two Nyquist frequencies.
    """
    if rate == to:
        return signal
    common = math.gcd(rate, to)
    up, down = to // common, rate // common
    band = min(1.0, up / down)
    half = math.ceil(_CROSSINGS / band)
    steps = np.arange(-half + 1, half + 1)
    padded = np.pad(signal.astype(np.float64), (half - 1, half + 1))
    windows = sliding_window_view(padded, 2 * half)
    found = np.empty(math.ceil(len(signal) * up / down))
    for phase in range(min(up, len(found))):
        start, rest = divmod(phase * down, up)
        away = steps - rest / up
        shape = np.sqrt(np.maximum(0, 1 - (away / half) ** 2))
        taps = np.sinc(away * band) * np.i0(_BETA * shape) / np.i0(_BETA)
        taps /= taps.sum()
        places, out = windows[start::down], found[phase::up]
        for piece in range(0, len(out), _PIECE):  # the product copies its overlapping windows
            end = min(piece + _PIECE, len(out))
            out[piece:end] = places[piece:end] @ taps
    return found.astype(np.float32)


def framed(signal: Array, table: AudioTable) -> Iterator[Array]:
    """Yield frames [context + window]; zeros stand before the signal and after it."""
    assert table.window is not None
    hop = table.hop or table.window
    count = max(1, math.ceil((len(signal) - table.window) / hop) + 1)
    missing = (count - 1) * hop + table.window - len(signal)
    padded = np.pad(signal, (table.context, max(0, missing)))
    for start in range(0, count * hop, hop):
        yield padded[start : start + table.context + table.window]


def _whole(signal: Array, spec: TensorSpec) -> Array:
    """Cut or fill a signal up with zeros, where the model takes a fixed length."""
    length = spec.shape[-1]
    if not isinstance(length, int):
        return signal
    return np.pad(signal[:length], (0, max(0, length - len(signal))))


def _shaped(run: Array, spec: TensorSpec) -> Array:
    return run.astype(spec.dtype).reshape((1,) * (len(spec.shape) - 1) + (-1,))


def _bad(where: str, why: str, fix: str = "save it as PCM of 16 bits") -> UsageError:
    return UsageError("E295", "the wav file cannot be read", where=where, why=why, fix=fix)
