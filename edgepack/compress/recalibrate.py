"""Measures batch norms anew after channels went."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from edgepack.base import Context, ModelPass
from edgepack.types import Split

if TYPE_CHECKING:
    from edgepack.model import Model


class Recalibrate(ModelPass):
    """Estimate the means and variances of all batch norms anew, in one pass over the data.

    A batch norm holds what its inputs looked like in training; after pruning they look otherwise.
    No weight changes. He et al., Filter Pruning via Geometric Median (CVPR 2019) and Li et al.,
    EagleEye (ECCV 2020, arXiv 2007.02491) show how much of a pruned model's loss this is.
    """

    name: ClassVar[str] = "recalibrate"
    reads: ClassVar[frozenset[Split]] = frozenset({"train", "calibration"})

    data: Literal["train", "calibration"] = Field("train", description="split that is looked at")
    batch_size: int = Field(
        64, ge=2, description="samples whose mean and variance are one estimate"
    )
    samples: int = Field(0, ge=0, description="most samples to look at; 0 for all")

    def apply(self, model: Model, context: Context) -> Model:
        """Return the model with new means and variances.

        Raises:
            ModelError: E458 when there is no batch norm.
            UsageError: E224 without samples of the split that the user gave, E264, E266 when they
                do not fit the model.
        """
        from edgepack.compress.statistics import recalibrated

        return recalibrated(model, self, context)
