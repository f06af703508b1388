"""A training's state after its last epochs, so that it can go on after anything.

A generation is one safetensors file named by the number of finished epochs. All that is no
tensor stands in its metadata as JSON, and beside it the SHA-256 of state and tensors. The last
two generations are kept. Every random choice follows from (seed, epoch), so no random state
is stored.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pytest_amlnn.clock import Spent
from pytest_amlnn.disk import replacing
from pytest_amlnn.graphs import Forward
from pytest_amlnn.result import SCHEMA, Epoch, finite
from pytest_amlnn.resume import check
from pytest_amlnn.stopping import best_epoch

LARGE = 2**24
"""Bytes of tensors from which on a second thread pays."""
KEPT = 2
"""Generations: while one is written, the one before is whole."""

Tensors = dict[str, Tensor]


class DamagedCheckpoint(UserWarning):
    """A checkpoint that does not agree with its checksum, and what is done instead."""


@dataclass(kw_only=True)
class State:
    """A training under way: all that changes from one epoch to the next."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    best: Tensors
    """The weights of the best epoch."""
    average: AveragedModel | None = None
    """Of the weights of all steps."""
    spent: Spent = field(default_factory=Spent)
    epochs: list[Epoch] = field(default_factory=list)
    peak_memory_bytes: int | None = None
    forward: Forward | None = None
    """Computes the net in training, where that was captured."""
    start: dict[str, float | None] = field(default_factory=dict)
    """What the validation split said of trained weights before the first step."""

    @property
    def judged(self) -> nn.Module:
        """The net whose answers count."""
        return self.net if self.average is None else self.average.module


# tensors


def tensors_of(state: State, *, over: bool) -> Tensors:
    """Return what has to be stored to go on: as little as that takes.

    With `over` there is no epoch to come: the best weights are all that is asked for.
    """
    best = {f"best.{name}": tensor for name, tensor in state.best.items()}
    if over:
        return best
    found = {f"net.{name}": tensor for name, tensor in state.net.state_dict().items()}
    if state.average is not None:
        averaged = state.average.state_dict()
        found |= {f"average.{name}": tensor for name, tensor in averaged.items()}
    for number, slots in state.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{number}.{name}": value for name, value in slots.items()}
    return found if best_epoch(state.epochs) == len(state.epochs) else found | best


def restore(state: State, tensors: Tensors) -> None:
    """Put stored tensors back into net, optimizer and best weights."""
    newest, averaged = below("net", tensors), below("average", tensors)
    best = below("best", tensors) or below("module", averaged) or newest
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    for name, value in below("optimizer", tensors).items():
        number, _, slot = name.partition(".")
        parameter = parameters[int(number)]
        state.optimizer.state[parameter][slot] = like(parameter, value)
    state.net.load_state_dict(newest or best)
    if state.average is not None and averaged:
        state.average.load_state_dict(averaged)
    state.best = {name: like(old, best[name]) for name, old in state.best.items()}


def below(prefix: str, tensors: Tensors) -> Tensors:
    """Return the tensors whose names begin so, without that beginning."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): value
        for name, value in tensors.items()
        if name.startswith(start)
    }


def like(model: Tensor, value: Tensor) -> Tensor:
    """Return a copy of the value that lies in memory as the model does.

    Fused optimizers walk through parameters and their state side by side.
    """
    if value.shape != model.shape:
        return value.to(model.device)
    return torch.empty_like(model, dtype=value.dtype).copy_(value).detach()


# files


def save(folder: Path, state: State, *, about: Mapping[str, Any], over: bool) -> None:
    """Add a generation, and remove those that are no longer needed.

    `about` is what the training must agree with to go on from here, as plain data; `over`
    says that no epoch is to come. Raises DiskError; earlier generations then stay.
    """
    plain = {
        "schema": SCHEMA,
        "about": about,
        "epochs": [asdict(epoch) for epoch in state.epochs],
        "parts": state.spent.parts,
        "peak_memory_bytes": state.peak_memory_bytes,
        "start": state.start,
    }
    text = json.dumps(finite(plain), allow_nan=False)
    tensors = storable(tensors_of(state, over=over))
    metadata = {"state": text, "sha256": digest_of(text, tensors)}
    with replacing(folder / f"{len(state.epochs):04}.safetensors") as part:
        try:
            save_file(tensors, part, metadata)
        except SafetensorError as error:  # what it makes of an OSError
            raise OSError(str(error)) from error
    for old in generations(folder)[KEPT:]:
        old.unlink()


def load(folder: Path, state: State, *, about: Mapping[str, Any]) -> None:
    """Bring a state to where the newest whole generation was, if there is one.

    Warns of every newer one that is damaged. Raises StoreError where it is of another
    training than `about`.
    """
    for file in generations(folder):
        try:
            plain, tensors = read(file)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            warnings.warn(
                f"{file} is damaged ({error}); going on from the checkpoint before it",
                DamagedCheckpoint,
                stacklevel=2,
            )
            file.unlink(missing_ok=True)  # or newer whole ones would count as older
            continue
        check(file, {"schema": plain["schema"], **plain["about"]}, {"schema": SCHEMA, **about})
        restore(state, tensors)
        state.epochs += [Epoch(**epoch) for epoch in plain["epochs"]]
        state.spent.add(plain["parts"])
        state.peak_memory_bytes = plain["peak_memory_bytes"]
        state.start = plain["start"]
        return


def storable(tensors: Tensors) -> Tensors:
    """Return the tensors as safetensors takes them: on the CPU, whole, none sharing memory."""
    whole: Tensors = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous()
        whole[name] = flat.clone() if flat.data_ptr() in seen else flat
        seen.add(flat.data_ptr())
    return whole


def generations(folder: Path) -> list[Path]:
    """Return the files, newest first."""
    return sorted(folder.glob("[0-9]*.safetensors"), reverse=True)


def read(file: Path) -> tuple[dict[str, Any], Tensors]:
    """Read one generation; raises where it is not what was written."""
    with safe_open(file, "pt") as opened:
        metadata, names = opened.metadata(), opened.keys()
        tensors = {name: opened.get_tensor(name) for name in names}
    if digest_of(metadata["state"], tensors) != metadata["sha256"]:
        raise ValueError("it does not agree with its checksum")
    return json.loads(metadata["state"]), tensors


def digest_of(text: str, tensors: Tensors) -> str:
    """Return a SHA-256 of a state and its tensors: names, kinds, shapes and bytes.

    It is that of the text and of each tensor's SHA-256. Two threads find those of large nets;
    for small ones handing over takes longer than the work.
    """

    def line(name: str) -> str:
        tensor = tensors[name]
        content = hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy().data)
        return f"\n{name} {tensor.dtype} {[*tensor.shape]} {content.hexdigest()}"

    if sum(tensor.nbytes for tensor in tensors.values()) < LARGE:
        lines = [line(name) for name in sorted(tensors)]
    else:
        with ThreadPoolExecutor(2) as pool:
            lines = [*pool.map(line, sorted(tensors))]
    return hashlib.sha256("".join((text, *lines)).encode()).hexdigest()
