"""How large a net is: its parameters, and the operations of one example's forward pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pytest_amlnn.nets import preserved


def size_of(net: nn.Module, one: Tensor) -> dict[str, int | None]:
    """Count parameters, and the operations of one example's forward pass, where one can."""
    parameters = sum(p.numel() for p in net.parameters())
    flops = operations(lambda: on_meta(net, one), net)
    if flops is None:
        flops = operations(lambda: net(one), net)
    return {"parameters": parameters, "flops_per_sample": flops}


def on_meta(net: nn.Module, one: Tensor) -> None:
    """Compute shapes alone: there recurrent cells are not hidden in fused kernels."""
    held = [*net.named_parameters(), *net.named_buffers()]
    state = {name: value.to("meta") for name, value in held}
    torch.func.functional_call(net, state, one.to("meta"))


def operations(compute: Callable[[], object], net: nn.Module) -> int | None:
    """Return the operations of a forward pass, 2 for a multiply-add; None where it fails.

    A net that makes tensors of its own, or asks for a number, cannot be computed on `meta`.
    """
    cpu, gpu = torch.backends.mkldnn.flags, torch.backends.cudnn.flags
    with warnings.catch_warnings(), preserved(net), torch.no_grad():
        warnings.simplefilter("ignore")
        net.eval()
        try:  # without libraries, whose recurrent layers are one operation that is not counted
            with (
                cpu(enabled=False),
                gpu(enabled=False),
                FlopCounterMode(display=False) as count,
            ):
                compute()
        except Exception:  # whatever the net does: training says what is wrong with it
            return None
    return int(count.get_total_flops())
