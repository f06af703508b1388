"""Nets as others build them: built from a seed, tried on two examples, counted.

What a net does in `forward` is its own business; what it must return is its task's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pytest_amlnn.case import CaseError
from pytest_amlnn.device import draw_from, is_out_of_memory
from pytest_amlnn.errors import UserError
from pytest_amlnn.steps import Batch

FEW_WEIGHTS = 1_000_000
"""Up to which a net is built a second time, to see whether its weights follow from the seed."""
TRAINED: WeakValueDictionary[int, nn.Parameter] = WeakValueDictionary()
"""Weights of all nets of this process that a run has taken, by their id."""
INSIDE = tuple(str(Path(str(module.__file__)).parent) for module in (torch, np))
INSIDE += (str(Path(__file__).parent), "<")
LIBRARY = str(Path(random.__file__).parent)
"""Where files lie that are not the user's: packages, and Python's own."""


# errors


@contextmanager
def explained(what: str, given: str = "") -> Iterator[None]:
    """Raise what goes wrong as a CaseError that says where, and what the net was given."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):  # then nothing is wrong with the net
            raise
        said = f" (given {given})" if given else ""
        (line, *_) = str(error).strip().splitlines() or ["it does not say why"]
        raise CaseError(
            f"{what} failed{place_of(error)}{said}: {type(error).__name__}: {line}"
        ) from error


def place_of(error: Exception) -> str:
    """Return the line of the user's own code that an error came from, if there is one."""
    own = [
        f", at {Path(frame.f_code.co_filename).name}:{line} in {frame.f_code.co_name}"
        for frame, line in walk_tb(error.__traceback__)
        if not is_inside(frame.f_code.co_filename)
    ]
    return own[-1] if own else ""


def is_inside(file: str) -> bool:
    """Return whether a file is of torch, numpy, this package or Python's own library."""
    own = file.startswith(LIBRARY) and "site-packages" not in file
    return own or file.startswith(INSIDE)


def described(net: nn.Module, batch: Batch) -> str:
    """Say what a net is given, and what its weights are where that is unusual."""
    inputs, targets = (f"{dtype_of(part)} {(*part.shape,)}" for part in batch)
    kinds = sorted({dtype_of(p) for p in net.parameters()} - {"float32"})
    weights = f", its weights {' and '.join(kinds)}" if kinds else ""
    return f"inputs {inputs}, targets {targets}, on {batch[0].device}{weights}"


def dtype_of(value: Tensor) -> str:
    """Return the name of a tensor's type, such as `float32`."""
    return str(value.dtype).removeprefix("torch.")


# building


def build_net(build: Callable[[], Any], seed: int, inputs: Tensor) -> nn.Module:
    """Return a new net whose weights follow from the seed; raises CaseError.

    `inputs` are two examples, from which lazy layers learn their shapes.
    """
    net = build_once(build, seed, inputs)
    taken = trainable(net)
    if sum(p.numel() for p in net.parameters()) <= FEW_WEIGHTS:
        state = torch.get_rng_state()
        again = build_once(build, seed, inputs)
        torch.set_rng_state(state)
        refuse_shared(trainable(again), taken)
        refuse_other_weights(net, again)
    refuse_shared(taken, {p: name for p, name in taken.items() if TRAINED.get(id(p)) is p})
    TRAINED.update({id(p): p for p in taken})
    return net


def build_once(build: Callable[[], Any], seed: int, inputs: Tensor) -> nn.Module:
    """Return what the builder gives, if that is a net that can be trained."""
    draw_from(seed)
    with explained("build"):
        net = build()
    if not isinstance(net, nn.Module):
        raise CaseError(f"build returned {kind_of(net)}, needs a torch.nn.Module")
    materialise(net, inputs)
    if any(value.is_meta for value in [*net.parameters(), *net.buffers()]):
        raise CaseError(f"{type(net).__name__} lies on meta, where weights have no values")
    if not trainable(net):
        raise CaseError(
            f"{type(net).__name__} has no weights to train: it needs parameters that require"
            " gradients"
        )
    return net


def trainable(net: nn.Module) -> dict[nn.Parameter, str]:
    """Return the names of the weights that are trained."""
    return {p: name for name, p in net.named_parameters() if p.requires_grad}


def materialise(net: nn.Module, inputs: Tensor) -> None:
    """Give lazy layers the shapes that two examples ask for, and weights from the seed."""
    if not lazy_in(net):
        return
    net.eval()
    with torch.no_grad(), explained("the first forward pass of a net with lazy layers"):
        net(inputs.cpu())
    net.train()
    left = lazy_in(net)
    if left:
        raise CaseError(
            f"{type(net).__name__} has lazy layers that its forward pass does not reach:"
            f" {', '.join(left)}; give them their shapes"
        )


def lazy_in(net: nn.Module) -> list[str]:
    """Return the names of parameters and buffers that have no shape yet."""
    held = [*net.named_parameters(), *net.named_buffers()]
    return [name for name, value in held if is_lazy(value)]


def refuse_shared(
    taken: Mapping[nn.Parameter, str], others: Mapping[nn.Parameter, str]
) -> None:
    """Refuse weights that another run trains: its seed would start where that one ended."""
    shared = [name for parameter, name in taken.items() if parameter in others]
    if shared:
        raise CaseError(
            f"build returned weights that it has returned before ({shared[0]}): build a new net"
            " at each call, or a seed starts from what another one has trained"
        )


def refuse_other_weights(net: nn.Module, again: nn.Module) -> None:
    """Refuse a net that is another one each time it is built from the same seed."""
    first, second = net.state_dict(), again.state_dict()
    other = [name for name, value in first.items() if not same(value, second.get(name))]
    odd = ", ".join([*other, *(second.keys() - first.keys())][:1])
    if odd:
        raise CaseError(
            f"build returned another net when it was called again with the same seed: {odd} is"
            " another; have it draw from torch, numpy or `random`, and not from a generator of"
            " its own"
        )


def same(one: Any, other: Any) -> bool:
    """Return whether two values of a state are equal, to the last bit."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return type(one) is type(other)
    alike = (one.dtype, one.shape) == (other.dtype, other.shape)
    return alike and bool(((one == other) | ((one != one) & (other != other))).all())


# trying


@contextmanager
def preserved(net: nn.Module) -> Iterator[None]:
    """Put back what a forward pass changes of a net: its mode, buffers and attributes."""
    kept = []
    for module in net.modules():
        attributes = dict(vars(module))
        inside = {name: dict(held) for name, held in attributes.items() if type(held) is dict}
        kept.append((module, attributes, inside))
    values = [(buffer, buffer.clone()) for buffer in net.buffers()]
    try:
        yield
    finally:
        for module, attributes, inside in kept:
            vars(module).clear()
            vars(module).update(attributes)
            for name, held in inside.items():  # such as parameters, buffers and hooks
                attributes[name].clear()
                attributes[name].update(held)
        with torch.no_grad():
            for buffer, value in values:
                buffer.copy_(value)


def try_training(
    net: nn.Module,
    batch: Batch,
    shape: tuple[int, ...] | None,
    loss_of: Callable[[Tensor, Tensor], object],
) -> None:
    """Refuse a net that a training step would fail with; raises CaseError.

    It is called with the first examples, in training and in evaluation, and left as it was.
    `shape` is that of the outputs for one example; None takes any.
    """
    inputs, targets = batch
    names = {*net.state_dict()}
    odd = [name for name, value in net.state_dict().items() if not isinstance(value, Tensor)]
    if odd:
        raise CaseError(
            f"{type(net).__name__} has {odd[0]} in its state, which is no tensor, and"
            " checkpoints hold tensors alone: have get_extra_state return one, or use a buffer"
        )
    with preserved(net), explained("the first forward pass", described(net, batch)):
        net.train()
        outputs = net(inputs)
        made = {*net.state_dict()} - names
        if made:
            raise CaseError(
                f"{type(net).__name__} makes {', '.join(sorted(made))} in forward, which no"
                " optimizer and no checkpoint knows: make them in __init__, or use a lazy layer"
            )
        check_outputs(type(net).__name__, "training", outputs, len(inputs), shape)
        if not outputs.requires_grad:
            raise CaseError(
                f"{type(net).__name__} returned a tensor that does not follow from its weights:"
                " forward must not detach it, as .item(), .numpy(), .argmax() and"
                " torch.no_grad() do"
            )
        loss_of(outputs, targets)
        net.eval()
        with torch.no_grad():
            outputs = net(inputs)
        check_outputs(type(net).__name__, "evaluation", outputs, len(inputs), shape)


def check_outputs(
    name: str, when: str, outputs: Any, count: int, shape: tuple[int, ...] | None
) -> None:
    """Refuse outputs that are not one tensor of this shape for each example."""
    wanted = "" if shape is None else f" of floats ({', '.join(['n', *map(str, shape)])})"
    if not isinstance(outputs, Tensor):
        raise CaseError(
            f"{name} returned {kind_of(outputs)} in {when}; needs one tensor{wanted}:"
            " return nothing else"
        )
    if shape is not None and (
        outputs.shape != (count, *shape) or not outputs.is_floating_point()
    ):
        found = f"{dtype_of(outputs)} {(*outputs.shape,)}"
        raise CaseError(
            f"{name} returned {found} in {when} for {count} examples; needs"
            f" a tensor{wanted}{remedy_for(outputs, count, shape)}"
        )


def kind_of(value: Any) -> str:
    """Say what is there in place of a tensor or net."""
    kind = type(value).__name__
    if value is None:
        return "None"
    if isinstance(value, Mapping):
        return f"a {kind} with {', '.join(map(str, value))}"
    if isinstance(value, tuple | list):
        return f"a {kind} of {len(value)}"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {kind}"


def remedy_for(outputs: Tensor, count: int, shape: tuple[int, ...]) -> str:
    """Say how outputs of another shape become what is needed, where it is plain."""
    if outputs.numel() == count * shape[0] and outputs.shape[:1] == (count,):
        return f": outputs.reshape(-1, {shape[0]})"
    wide = outputs.shape[:1] == (count,) and outputs.ndim == 2
    return "; the builder is called with that number" if wide else ""
