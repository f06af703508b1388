"""Fresh weights with which a net of ReLUs is linear before its first step.

In a deep net without skip connections, fresh weights leave gradients that look like noise:
they hardly say the same for two pictures that are alike ("shattered", Balduzzi et al. 2017,
arXiv:1702.08591). Here channels come in pairs of which one is the other's negative, so that
after ReLU a pair holds the positive and the negative part, and the next layer, mirrored
likewise, adds them up to what went in ("looks-linear", section 4 there). What is left is a
product of linear maps, and orthogonal ones keep all lengths, however many there are: of a
kernel only the middle is not zero (Xiao et al. 2018, arXiv:1806.05393, section 3.3). ReLUs take
part as soon as steps make partners differ.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amlnn_models.small_maps import Dense

HEAD_DEVIATION = 0.01
"""So small that all classes begin about as likely."""


def looks_linear(net: nn.Module, head: nn.Conv2d | nn.Linear) -> nn.Module:
    """Draw the weights of a net's convolutions, and of its head, anew; return the net.

    Partners are neighbours, so that pooling keeps pairs, and joining maps does. Numbers of
    channels must be even but for the first layer's: those of a picture are no pairs.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer is not head:
            layer.weight.data.copy_(mirrored_kernel(layer))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    nn.init.normal_(head.weight, std=HEAD_DEVIATION)
    assert head.bias is not None  # timm's have one
    nn.init.zeros_(head.bias)
    return net


def mirrored_kernel(layer: nn.Conv2d) -> Tensor:
    """Return a kernel (out, in, height, width) that joins pairs to pairs."""
    outputs, inputs, height, width = layer.weight.shape
    if inputs % 2:  # a picture: orthogonal over all cells, there are few channels
        half = nn.init.orthogonal_(torch.empty(outputs // 2, inputs, height, width))
        return torch.stack([half, -half], 1).flatten(0, 1)
    if isinstance(layer, Dense):  # has no middle
        half = nn.init.orthogonal_(torch.empty(outputs // 2, inputs // 2, height, width))
    else:
        half = torch.zeros(outputs // 2, inputs // 2, height, width)
        half[:, :, height // 2, width // 2] = nn.init.orthogonal_(half[:, :, 0, 0].clone())
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).view(1, 2, 1, 2, 1, 1)
    return (half[:, None, :, None] * signs).view(outputs, inputs, height, width)
