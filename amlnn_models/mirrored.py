"""Fresh weights with which a deep net of ReLUs is all but linear before its first step.

Where fresh layers have no skip connections around them, the deeper they are the less are the
gradients of two similar pictures correlated ("shattered", Balduzzi et al. 2017,
arXiv:1702.08591). Here channels come in pairs of which one is the other's negative, so that
after ReLU a pair holds the positive and the negative part, and the next layer, mirrored
likewise, adds them up to what went in: the looks-linear initialisation of that paper. What is
left is a product of linear maps, drawn delta-orthogonal (Xiao et al. 2018, arXiv:1806.05393):
of a kernel only the middle is not zero, and it is isometric where channels do not get fewer.
ReLUs take part as soon as steps make the two of a pair differ. Max pooling does from the start:
it keeps pairs after a ReLU, and breaks them before one, as in the stem of ResNet-V2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from amlnn_models.small_maps import Dense

HEAD_DEVIATION = 0.01
"""So small that all classes begin about as likely."""
LARGEST_LOCAL = 3
"""Height of a kernel above which it covers the whole map, if there is no padding."""


def looks_linear(net: Any) -> nn.Module:
    """Draw the weights of a timm net's convolutions, and of its head, anew; return the net.

    The two of a pair are neighbours, so that concatenated maps keep their pairs. Raises
    ValueError for a layer whose channels cannot be paired: an odd number of them, or groups.
    """
    head = net.get_classifier()
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d) and layer is not head:
            if layer.groups > 1 or layer.out_channels % 2:
                raise ValueError(f"{name} is {layer}: its channels cannot be paired")
            layer.weight.data.copy_(mirrored_kernel(layer))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    nn.init.normal_(head.weight, std=HEAD_DEVIATION)
    nn.init.zeros_(head.bias)
    drawn: nn.Module = net
    return drawn


def mirrored_kernel(layer: nn.Conv2d) -> Tensor:
    """Return a kernel (out, in, height, width) that joins pairs to pairs.

    An odd number of inputs, as of pictures, are no pairs.
    """
    outputs, inputs, height, width = layer.weight.shape
    if inputs % 2:  # orthogonal over all cells, since there are few channels
        half = nn.init.orthogonal_(torch.empty(outputs // 2, inputs, height, width))
        return torch.stack([half, -half], 1).flatten(0, 1)
    if covers_map(layer):
        half = nn.init.orthogonal_(torch.empty(outputs // 2, inputs // 2, height, width))
    else:
        half = torch.zeros(outputs // 2, inputs // 2, height, width)
        half[:, :, height // 2, width // 2] = nn.init.orthogonal_(half[:, :, 0, 0].clone())
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).view(1, 2, 1, 2, 1, 1)
    return (half[:, None, :, None] * signs).view(outputs, inputs, height, width)


def covers_map(layer: nn.Conv2d) -> bool:
    """Return whether a layer is a fully connected one in the form of a convolution."""
    unpadded = layer.padding == (0, 0)
    return isinstance(layer, Dense) or (unpadded and layer.kernel_size[0] > LARGEST_LOCAL)
