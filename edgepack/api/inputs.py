"""The data of a build: what the recipe names, else what the source brings, else made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from edgepack.data import Sentences, generate, open_data
from edgepack.data.feeds import Feeds
from edgepack.errors import ModelError
from edgepack.types import SPLITS, Sample, Samples, Split, TensorSpec, digest_of

if TYPE_CHECKING:
    from edgepack.api import Work

GENERATED = 16
"""Made-up samples where there is no data: enough for golden vectors and a comparison."""

Specs = Callable[[], tuple[TensorSpec, ...]]
Sizes = Callable[[], tuple[Mapping[str, int], ...]]


class MadeUp:
    """Inputs drawn from the seed, of up to three shapes that the model takes; nothing runs yet.

    Args:
        digest: stands for the source, which decides the inputs' names and types.
        seed: decides the values.
        inputs: gives the model's inputs.
        sizes: gives the sizes of dynamic axes that the model is known to take.
        state: input -> output of the run before; such inputs are zeros.
    """

    generated = True

    def __init__(
        self, digest: str, seed: int, inputs: Specs, sizes: Sizes, state: Mapping[str, str]
    ) -> None:
        self.digest = digest_of("made up", digest, seed, GENERATED, dict(state))
        self._state = state
        self._seed = seed
        self._inputs = inputs
        self._sizes = sizes

    @cached_property
    def _samples(self) -> list[Sample]:
        shapes = self._sizes()
        if not shapes:
            raise ModelError(
                "E470",
                "the model runs on none of the inputs that were made up for it",
                why=f"it takes {'; '.join(map(str, self._inputs()))}",
                fix="give data: `--data x.npz`, or `evaluation` under [data]",
            )
        share = -(-GENERATED // len(shapes))
        specs = Feeds(self._inputs, dict(self._state), {}, "made-up inputs").specs
        drawn = [list(generate(specs, self._seed, share, sizes, self._state)) for sizes in shapes]
        # Shapes take turns, so that the first few samples show each of them.
        return [sample for turn in zip(*drawn, strict=True) for sample in turn][:GENERATED]

    def __len__(self) -> int:
        return GENERATED

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)


@dataclass(frozen=True)
class First:
    """The first samples of a split, for a quick build."""

    samples: Samples
    most: int

    @property
    def digest(self) -> str:
        """SHA-256 of the whole split and how much of it is used."""
        return digest_of("first", self.samples.digest, self.most)

    @property
    def generated(self) -> bool:
        """True where the whole was made up."""
        return self.samples.generated

    @property
    def numbered(self) -> Mapping[str, int]:
        """As `data.checks.Numbered`; nothing where the samples know no names."""
        found: Mapping[str, int] = getattr(self.samples, "numbered", {})
        return found

    def __len__(self) -> int:
        return min(self.most, len(self.samples))

    def __iter__(self) -> Iterator[Sample]:
        return islice(iter(self.samples), self.most)


def open_splits(work: Work, inputs: Specs, sizes: Sizes) -> dict[Split, Samples]:
    """Return the splits at hand; where there is neither evaluation nor calibration, both are made.

    Evaluation data without calibration data does not become calibration data: a model must not be
    calibrated on what it is judged by.
    """
    recipe, source = work.recipe, work.source
    data: dict[Split, Samples] = dict(source.data)
    for split in SPLITS:
        if reference := getattr(recipe.data, split):
            data[split] = open_data(
                reference,
                recipe.folder,
                inputs=inputs,
                tokenizer=source.tokenizer,
                state=recipe.model.state,
                table=recipe.data,
                classes=split != "evaluation" or ".py:" not in (recipe.data.metric or ""),
            )
    if most := recipe.data.most:
        data = {split: First(samples, most) for split, samples in data.items()}
    if "evaluation" not in data:
        made: Samples = MadeUp(source.digest, recipe.seed, inputs, sizes, recipe.model.state)
        if source.tokenizer and (source.tokenizer / "tokenizer.json").is_file():
            made = Sentences(inputs, source.tokenizer)
        data["evaluation"] = data.get("calibration", made)
    return data
