"""One kernel a channel and a convolution of a single place, for a full convolution.

Howard et al., MobileNets (2017, arXiv 1704.04861). Each input channel's kernels, one for each
output, become multiples of the one kernel that comes nearest: the first singular vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from edgepack.model.edits.place import misfit
from edgepack.model.matrices import CONVOLUTIONS

if TYPE_CHECKING:
    from edgepack.types import Replace


class Separable(nn.Sequential):  # type: ignore[misc]
    """A depthwise convolution and a pointwise one."""


def make(module: nn.Module, edit: Replace) -> Separable:
    """Return the pair whose product is nearest to the module's kernels.

    Raises:
        ModelError: E429 for a module that is no convolution of several places without groups.
    """
    if not isinstance(module, CONVOLUTIONS) or module.groups != 1:
        raise misfit(edit.module, f"a {type(module).__name__} is no convolution without groups")
    if module.weight[0, 0].numel() == 1:
        raise misfit(edit.module, "its kernel has a single place")
    of = type(module)
    channels, outputs = module.in_channels, module.out_channels
    kernels = of(
        channels,
        channels,
        module.kernel_size,
        module.stride,
        module.padding,
        module.dilation,
        groups=channels,
        bias=False,
        padding_mode=module.padding_mode,
    )
    mix = of(channels, outputs, 1, bias=module.bias is not None)
    # [inputs, outputs, places]: one matrix an input channel.
    matrices = module.weight.detach().double().flatten(2).transpose(0, 1)
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    root = values[:, :1].sqrt()
    made: Separable = Separable(kernels, mix).to(module.weight)
    with torch.no_grad():
        kernels.weight.copy_((right[:, 0] * root).reshape(kernels.weight.shape))
        mix.weight.copy_((left[:, :, 0] * root).T.reshape(mix.weight.shape))
        if module.bias is not None:
            mix.bias.copy_(module.bias)
    return made
