"""A training's state after its last epochs, so that it can go on after anything.

A generation is two files named by the number of finished epochs:

    0003.safetensors   the tensors, and all else as JSON in the metadata
    0003.json          the SHA-256 of that file: where both agree, the generation counts

The last two generations are kept. Every random choice follows from (seed, epoch), so no
random state is stored.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pytest_amlnn.clock import Stopwatch
from pytest_amlnn.disk import replacing, write
from pytest_amlnn.result import SCHEMA, Epoch, finite
from pytest_amlnn.resume import check
from pytest_amlnn.stopping import best_epoch

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
    watch: Stopwatch
    epochs: list[Epoch] = field(default_factory=list)
    peak_memory_bytes: int | None = None


# tensors


def tensors_of(state: State, *, over: bool) -> Tensors:
    """Return what has to be stored to go on: as little as that takes.

    With `over` there is no epoch to come: the best weights are all that is asked for.
    """
    best = {f"best.{name}": tensor for name, tensor in state.best.items()}
    if over:
        return best
    found = {f"net.{name}": tensor for name, tensor in state.net.state_dict().items()}
    for number, slots in state.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{number}.{name}": value for name, value in slots.items()}
    return found if best_epoch(state.epochs) == len(state.epochs) else found | best


def restore(state: State, tensors: Tensors) -> None:
    """Put stored tensors back into net, optimizer and best weights."""
    newest, best = below("net", tensors), below("best", tensors)
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    for name, value in below("optimizer", tensors).items():
        number, _, slot = name.partition(".")
        parameter = parameters[int(number)]
        state.optimizer.state[parameter][slot] = like(parameter, value)
    state.net.load_state_dict(newest or best)
    state.best = {name: like(old, (best or newest)[name]) for name, old in state.best.items()}


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
    file = folder / f"{len(state.epochs):04}.safetensors"
    plain = {
        "schema": SCHEMA,
        "about": about,
        "epochs": [asdict(epoch) for epoch in state.epochs],
        "parts": state.watch.parts,
        "peak_memory_bytes": state.peak_memory_bytes,
    }
    metadata = {"state": json.dumps(finite(plain), allow_nan=False)}
    with replacing(file) as part:
        try:
            save_file(storable(tensors_of(state, over=over)), part, metadata)
        except SafetensorError as error:  # what it makes of an OSError
            raise OSError(str(error)) from error
        digest = digest_of(part)
    write(file.with_suffix(".json"), json.dumps({"sha256": digest}).encode())
    for old in generations(folder)[KEPT:]:
        old.unlink(missing_ok=True)
        old.with_suffix(".json").unlink(missing_ok=True)


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
            continue
        check(file, {"schema": plain["schema"], **plain["about"]}, {"schema": SCHEMA, **about})
        restore(state, tensors)
        state.epochs += [Epoch(**epoch) for epoch in plain["epochs"]]
        state.watch.add(plain["parts"])
        state.peak_memory_bytes = plain["peak_memory_bytes"]
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
    """Return the files of tensors, newest first, although one may have lost its other half."""
    files = {file.with_suffix(".safetensors") for file in folder.glob("[0-9]*.*")}
    return sorted(files, reverse=True)


def read(file: Path) -> tuple[dict[str, Any], Tensors]:
    """Read one generation; raises where it is not what was written."""
    noted = json.loads(file.with_suffix(".json").read_bytes())["sha256"]
    if digest_of(file) != noted:
        raise ValueError("it does not agree with its checksum")
    with safe_open(file, "pt") as opened:
        plain = json.loads(opened.metadata()["state"])
        names = opened.keys()
        return plain, {name: opened.get_tensor(name) for name in names}


def digest_of(file: Path) -> str:
    """Return a file's SHA-256."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
