"""Checkpoints: the state of a training on disk, whole or refused.

A checkpoint is one safetensors file named by the number of finished epochs. All that is no
tensor stands in its metadata as JSON, and beside it the SHA-256 of state and tensors. The last
two checkpoints are kept. Every random choice follows from (seed, epoch), so no random state
is stored.
"""

from __future__ import annotations

import hashlib
import json
import stat
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pytest_amlnn import records
from pytest_amlnn.disk import replacing
from pytest_amlnn.record_forms import Checkpoint
from pytest_amlnn.result import SCHEMA, epoch_from_plain, epoch_to_plain, finite
from pytest_amlnn.state import State, Tensors, below, restore, slots_of, tensors_of
from pytest_amlnn.store import StoreError, refuse_unless_same

LARGE = 2**24
"""Bytes of tensors from which on a second thread pays."""
DAMAGE = (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError, StoreError)
"""What reading a checkpoint raises that is none."""
KEPT = 2
"""Checkpoints: while one is written, the one before is whole."""


class DamagedCheckpoint(UserWarning):
    """A checkpoint that does not agree with its checksum, and what is done instead."""


def save(folder: Path, state: State, *, identity: Mapping[str, Any], over: bool) -> None:
    """Add a checkpoint, and remove those that are no longer needed.

    `identity` is what the training must agree with to go on from here, as plain data; `over`
    says that no epoch is to come. Raises DiskError; earlier checkpoints then stay.
    """
    plain = {
        "schema": SCHEMA,
        "identity": identity,
        "epochs": [epoch_to_plain(epoch) for epoch in state.epochs],
        "parts": state.spent.parts,
        "peak_memory_bytes": state.peak_memory_bytes,
        "start": state.start,
    }
    text = json.dumps(finite(plain), allow_nan=False)
    tensors = storable(tensors_of(state, over=over))
    metadata = {"state": text, "sha256": digest_of(text, tensors)}
    with replacing(folder / name_of(len(state.epochs))) as part:
        try:
            save_file(tensors, part, metadata)
        except SafetensorError as error:  # what it makes of an OSError
            raise OSError(str(error)) from error
    for old in checkpoints(folder)[KEPT:]:
        old.unlink()


def load(folder: Path, state: State, *, identity: Mapping[str, Any]) -> None:
    """Bring a state to where the newest whole checkpoint was, if there is one.

    Damaged ones that are newer are removed, and warned of once all is done. Raises StoreError
    where it is of a training of another identity or of another net, and for what cannot be
    read or is no checkpoint: that is left as it is.
    """
    damaged: list[str] = []
    for file in checkpoints(folder):
        refuse_unless_readable(file)
        try:
            plain, tensors = read(file)
        except DAMAGE as error:
            remove(file)  # or newer whole ones would count as older
            damaged.append(
                f"{file} is damaged ({error}); resuming from the checkpoint before it"
            )
            continue
        then = {"schema": plain["schema"], **plain.get("identity", {})}
        refuse_unless_same(file, then, {"schema": SCHEMA, **identity})
        refuse_unless_fitting(file, state, tensors)
        restore(state, tensors)
        state.epochs += plain["epochs"]
        state.spent.add(plain["parts"])
        state.peak_memory_bytes = plain["peak_memory_bytes"]
        state.start = plain["start"]
        break
    for words in damaged:
        warnings.warn(words, DamagedCheckpoint, stacklevel=2)


def refuse_unless_readable(file: Path) -> None:
    """Raise StoreError for what lies in a checkpoint's place and is not ours to remove."""
    try:
        if not stat.S_ISREG(file.lstat().st_mode):  # a pipe would be waited for
            raise OSError("it is no regular file")
        with file.open("rb") as opened:
            while opened.read(LARGE):
                pass
    except OSError as error:
        raise StoreError(
            f"{file} cannot be read: {error.strerror or error}. It is left as it is: make it"
            f" readable, or remove {file.parent} to train the run afresh"
        ) from error


def remove(file: Path) -> None:
    """Remove a damaged checkpoint; StoreError where that is not allowed."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"{file} is damaged and cannot be removed: {error.strerror}; remove it"
        ) from error


def refuse_unless_fitting(file: Path, state: State, tensors: Tensors) -> None:
    """Raise StoreError unless tensors are those of this training: names, types and shapes.

    Its code may be the same, and what it is built from another.
    """
    average = {} if state.average is None else state.average.state_dict()
    own = {"net": state.net.state_dict(), "best": state.best, "average": average}
    stored = {part: below(part, tensors) for part in (*own, "optimizer")}
    slots = slots_of(state.optimizer)  # of those that it has yet to make, none is missing
    own["optimizer"] = {name: slots[name] for name in slots.keys() & stored["optimizer"]}
    # after the last epoch the best weights are all that there is
    needed = {"net", *(["average"] if average else [])} if stored["net"] else {"best"}
    parts = [part for part in own if stored[part] or part in needed]
    then, now = ({part: kinds_of(of[part]) for part in parts} for of in (stored, own))
    refuse_unless_same(file, {"schema": SCHEMA, **then}, {"schema": SCHEMA, **now})


def kinds_of(tensors: Tensors) -> dict[str, str]:
    """Return type and shape of each tensor, as text."""
    return {name: f"{value.dtype} {[*value.shape]}" for name, value in tensors.items()}


def storable(tensors: Tensors) -> Tensors:
    """Return the tensors as safetensors takes them: on the CPU, whole, none sharing memory."""
    whole: Tensors = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous()
        whole[name] = flat.clone() if flat.data_ptr() in seen else flat
        seen.add(flat.data_ptr())
    return whole


def name_of(epochs: int) -> str:
    """Return the name of the checkpoint after so many epochs."""
    return f"{epochs:04}.safetensors"


def checkpoints(folder: Path) -> list[Path]:
    """Return the files, newest first."""
    return sorted(folder.glob("[0-9]*.safetensors"), reverse=True)


def read(file: Path) -> tuple[dict[str, Any], Tensors]:
    """Read one checkpoint; raises where it is not what was written."""
    with safe_open(file, "pt") as opened:
        metadata, names = opened.metadata(), opened.keys()
        tensors = {name: opened.get_tensor(name) for name in names}
    if digest_of(metadata["state"], tensors) != metadata["sha256"]:
        raise ValueError("it does not agree with its checksum")
    plain: dict[str, Any] = json.loads(metadata["state"])
    # whoever wrote it can write a checksum, too
    records.refuse_unbounded(plain, "its state")
    records.refuse_unless(Checkpoint, plain, "its state")
    records.refuse_unless_scores(plain["epochs"], "its state")
    if file.name != name_of(len(plain["epochs"])):
        raise ValueError(f"it holds {len(plain['epochs'])} epochs, which is not its name")
    plain["epochs"] = [epoch_from_plain(epoch) for epoch in plain["epochs"]]
    return plain, tensors


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
