"""Sentences that stand in for a text model's data where the user gives none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from edgepack.data.fit import fit
from edgepack.data.rows import Text
from edgepack.data.tokens import Encoder, tokenizer_digest
from edgepack.types import Sample, TensorSpec, digest_of

SENTENCES = (
    "The train to the coast leaves at nine.",
    "A cup of tea costs two euros here.",
    "Nobody had seen the old bridge in years.",
    "Prices rose again in the third quarter.",
    "She plays the cello in a small orchestra.",
    "The river froze early that winter.",
    "Please switch the lamp off before you leave the room tonight.",
    "Farmers along the valley expect a better harvest than last year.",
    "The new library opens on Monday with a reading for children.",
    "Two ships met off the cape and exchanged letters and fresh water.",
    "Engineers found a crack in the third turbine during the inspection.",
    "He answered every question of the committee calmly and at length.",
    "After the storm the village had no electricity for three days and people cooked together.",
    "The museum bought a map from the sixteenth century on which the island is drawn twice.",
    "A good dictionary tells not only what a word means but also when it was first written down.",
    "The team lost the final, but its youngest player was named the best of the tournament.",
)
"""Plain English of three lengths: random token ids give activations that no text gives."""


class Sentences:
    """`SENTENCES`, read by a model's own tokenizer; a comparison stands on them, never a score."""

    generated = True

    def __init__(self, inputs: Callable[[], tuple[TensorSpec, ...]], tokenizer: Path) -> None:
        self._inputs = inputs
        self._tokenizer = tokenizer

    @property
    def digest(self) -> str:
        """SHA-256 over the sentences and the tokenizer's files."""
        return digest_of("sentences", list(SENTENCES), tokenizer_digest(self._tokenizer))

    def __len__(self) -> int:
        return len(SENTENCES)

    def __iter__(self) -> Iterator[Sample]:
        specs = self._inputs()
        encoder = Encoder(self._tokenizer, specs)
        for index, sentence in enumerate(SENTENCES):
            given = encoder.encode(Text(sentence))
            yield Sample((fit(given, specs, f"sentence {index}"),))
