"""Perplexity of a language model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgepack.base import Row
from edgepack.data.tallies import refusals
from edgepack.data.tallies.reading import IGNORED, classes, first
from edgepack.data.tallies.tally import Measure, ratio
from edgepack.errors import MeasurementError
from edgepack.types import Sample

if TYPE_CHECKING:
    from edgepack.data.intervals import Statistic
    from edgepack.types import Array, Tensors


class Perplexity(Measure):
    """Exponential of the mean negative log-likelihood of each token after those before it.

    The first output is [1, T, vocabulary]; the tokens are the label where there is one, else
    ``input_ids``, and those outside ``attention_mask`` do not count. A row holds the sum over a
    sample, in nats, and its number of tokens. Lower is better; what it loses is relative.
    """

    lower_is_better = True
    relative = True

    def reduce(
        self, sample: Sample, outputs: Sequence[Tensors], reference: Sequence[Tensors], where: str
    ) -> Sequence[Row]:
        """Sum the negative log-likelihoods of a sample's tokens but the first."""
        logits = first(outputs[0])
        if len(outputs) != 1 or logits.ndim != 3 or logits.shape[0] != 1:
            raise refusals.not_scored(
                self.name,
                f"the first output has the shape {list(logits.shape)}, not [1, T, tokens]",
            )
        given = sample.inputs[0]
        source = sample
        if sample.label is None:
            if "input_ids" not in given:
                raise refusals.label(self.name, "there is neither label nor `input_ids`", where)
            source = Sample(sample.inputs, given["input_ids"])
        tokens = classes(source, self.name, where, logits.shape[-1])
        if len(tokens) != logits.shape[1]:
            what = f"there are {len(tokens)} tokens and {logits.shape[1]} answers"
            raise refusals.label(self.name, what, where)
        seen = np.asarray(given.get("attention_mask", np.ones(len(tokens)))).ravel() > 0
        counted = (tokens[1:] != IGNORED) & seen[1:] & seen[:-1]
        # One position at a time: all of them in float64 are too large where vocabularies are.
        places = np.flatnonzero(counted)
        terms = [surprise(logits[0, at], int(tokens[at + 1])) for at in places]
        if not np.isfinite(terms).all():
            raise refusals.not_finite(self.name, where)
        return [(math.fsum(terms), len(terms))]

    def statistic(self, table: Array) -> Statistic:
        """Return the exponential of the mean."""
        mean = ratio(table)

        def statistic(weights: Array) -> float:
            nats = mean(weights)
            return math.exp(nats) if not nats > MOST else math.inf

        return statistic

    def undefined(self, table: Array) -> MeasurementError:
        """Say whether there is nothing to count, or too much."""
        if table[:, -1].any():
            why, fix = "it is too large to write down", "check that the tokens are the model's own"
        else:
            why, fix = "no sample has two tokens in a row", "give longer texts"
        return refusals.undefined(self.name, why, fix)


MOST = math.log(1e300)
"""Nats a token from which the exponential is no number any more."""


def surprise(logits: Array, token: int) -> float:
    """Return the negative log-likelihood of a token in nats, from [vocabulary] logits."""
    wide = logits.astype(np.float64)
    top = wide.max()
    return float(top + np.log(np.exp(wide - top).sum()) - wide[token])
