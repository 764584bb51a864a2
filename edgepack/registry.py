"""The passes by name; nothing is loaded until it is named."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from edgepack.base import Pass
from edgepack.errors import UsageError, did_you_mean

PASSES: dict[str, str] = {
    "distil": "edgepack.compress.distil:Distil",
    "equalise": "edgepack.quantize.equalise:Equalise",
    "export": "edgepack.export.export:Export",
    "finetune": "edgepack.compress.finetune:Finetune",
    "fuse-batch-norm": "edgepack.optimize.affine:FuseBatchNorm",
    "gelu": "edgepack.optimize.gelu:Gelu",
    "hard-sigmoid": "edgepack.optimize.sigmoid:HardSigmoid",
    "layer-drop": "edgepack.compress.layer_drop:LayerDrop",
    "layer-norm": "edgepack.optimize.layer_norm:LayerNorm",
    "low-rank": "edgepack.compress.low_rank:LowRank",
    "mean-to-pool": "edgepack.optimize.pool:MeanToPool",
    "pack": "edgepack.pack.pack:Pack",
    "prune": "edgepack.compress.prune:Prune",
    "prune-heads": "edgepack.compress.heads:PruneHeads",
    "prune-layers": "edgepack.compress.depth:PruneLayers",
    "prune-weights": "edgepack.compress.weights:PruneWeights",
    "qat": "edgepack.compress.qat:Qat",
    "quantize": "edgepack.quantize.quantize:Quantize",
    "recalibrate": "edgepack.compress.recalibrate:Recalibrate",
    "replace": "edgepack.compress.replace:ReplaceBlocks",
    "sanitise": "edgepack.optimize.sanitise:Sanitise",
    "share": "edgepack.compress.share:Share",
    "simplify": "edgepack.optimize.simplify:Simplify",
    "smooth": "edgepack.quantize.smooth:Smooth",
    "sparsify": "edgepack.compress.sparsify:Sparsify",
}


@cache
def pass_names() -> dict[str, str]:
    """Return every pass as name -> ``module:Class``, other packages' included.

    Raises:
        UsageError: E240 when two packages give the same name.
    """
    names = dict(PASSES)
    for point in entry_points(group="edgepack.passes"):
        if point.name in names:
            raise UsageError(
                "E240",
                f"two packages define a pass named `{point.name}`",
                where=f"{names[point.name]} and {point.value}",
                fix="uninstall one of them or rename its entry point",
            )
        names[point.name] = point.value
    return names


def load_pass(name: str, where: str = "") -> type[Pass]:
    """Return the class of a pass.

    Raises:
        UsageError: E241 for a name that nothing registers.
    """
    names = pass_names()
    if name not in names:
        raise UsageError(
            "E241", f"there is no pass named `{name}`", where=where, fix=did_you_mean(name, names)
        )
    module, _, attribute = names[name].partition(":")
    loaded = getattr(import_module(module), attribute)
    assert isinstance(loaded, type)
    assert issubclass(loaded, Pass)
    return loaded
