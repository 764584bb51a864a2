"""What a criterion is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from edgepack.compress.batches import Batches
from edgepack.model.groups import Group


@dataclass(frozen=True)
class Subject:
    """Channels to judge.

    Attributes:
        module: in evaluation mode; its gradients may be used, its weights stay.
        groups: whose channels are asked about.
        data: samples to learn from, for criteria that read a split.
        seed: seeds what is drawn by lot.
    """

    module: torch.nn.Module
    groups: Sequence[Group]
    data: Batches | None = None
    seed: int = 0

    @property
    def samples(self) -> Batches:
        """Return the data, which is there."""
        assert self.data is not None
        return self.data
