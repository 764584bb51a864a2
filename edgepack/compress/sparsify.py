"""Trains channels or weights towards zero, so that cutting them costs little."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from edgepack.base import Context, ModelPass
from edgepack.compress.schedule import Training

if TYPE_CHECKING:
    from edgepack.model import Model


class Sparsify(Training, ModelPass):
    """Train on with a penalty that pulls whole channels (`group`) or single weights (`l1`) to zero.

    It prepares a later `prune` or `prune-weights`: nothing is removed here. `group` is the group
    lasso of Wen et al., Learning Structured Sparsity (NeurIPS 2016, arXiv 1608.03665), over all
    weights that go with a channel that `prune` removes, as in Fang et al., DepGraph (CVPR 2023,
    arXiv 2301.12900); `batch-norm` is the L1 norm of the scales of batch norms, Liu et al., Network
    Slimming (ICCV 2017, arXiv 1708.06519). It takes some hundred steps. Adam evens the pull out
    where batch norms follow: take `optimizer = "sgd"` there, with a rate about 0.1.
    """

    name: ClassVar[str] = "sparsify"
    needs = frozenset({"train"})

    penalty: Literal["group", "batch-norm", "l1"] = Field(
        "group", description="what is pulled to zero"
    )
    strength: float = Field(1e-3, gt=0, description="weight of the penalty beside the loss")

    def apply(self, model: Model, context: Context) -> Model:
        """Return the model after training.

        Raises:
            ModelError: E431 when the model cannot be traced, E434 when training diverges, E459 when
                there is nothing that the penalty would pull at.
            UsageError: E264 to E266 when the training data does not fit the model.
        """
        from edgepack.compress.penalty import sparsified

        return sparsified(model, self, context)
