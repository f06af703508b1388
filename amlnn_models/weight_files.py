"""Files of weights: read without running any of it, and compared with a net before it loads."""

from __future__ import annotations

import sys
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_amlnn.data import DataError
from pytest_amlnn.escapes import visible

if TYPE_CHECKING:
    from torch import Tensor, nn

SHOWN = 3
"""Tensors that a message about a wrong file names."""


def read(path: Path) -> dict[str, Tensor]:
    """Read tensors from a file; DataError where it holds anything else.

    Nothing that a file asks to be run is: pickles are read as tensors alone.
    """
    import torch

    found = _content(path)
    for name in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if (
        not isinstance(found, Mapping)
        or not all(isinstance(name, str) for name in found)
        or not all(map(torch.is_tensor, found.values()))
    ):
        raise DataError(f"{visible(path)} holds no tensors by name: it is no file of weights")
    tensors: dict[str, Tensor] = {}
    for name, tensor in found.items():
        bare = name.removeprefix("module.")
        if bare in tensors:
            raise DataError(
                f"{visible(path)} holds {visible(bare)} twice, with and without `module.` "
                "before it; remove one"
            )
        tensors[bare] = _plain(tensor, bare, path)
    if sum(tensor.nbytes for tensor in tensors.values()) > path.stat().st_size:
        raise DataError(
            f"{visible(path)} holds tensors that share or repeat their numbers; save each as "
            "its own, as tensor.contiguous().clone() is"
        )
    return tensors


def _content(path: Path) -> Any:
    """Return what a file holds; DataError where it cannot be read."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _check_members(path)
        with warnings.catch_warnings():  # of other versions of pickle, which read all the same
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every reader has its own
        words = visible(str(error).strip().partition("\n")[0]) or type(error).__name__
        # torch's own words advise to run what the file asks for
        if type(error).__name__ == "UnpicklingError" or "weights_only" in str(error):
            words = (
                "it is no file of torch, or asks for more than tensors, which nothing here "
                "runs; save the net's state_dict alone"
            )
        raise DataError(f"{visible(path)} cannot be read as weights: {words}") from error


def _check_members(path: Path) -> None:
    """Refuse a file of torch that would grow when it is read; raises ValueError."""
    if not zipfile.is_zipfile(path):  # of a version of torch before 1.6
        return
    with zipfile.ZipFile(path) as members:
        infos = members.infolist()
    stored = all(info.compress_type == zipfile.ZIP_STORED for info in infos)
    if not stored or sum(info.file_size for info in infos) > path.stat().st_size:
        raise ValueError("it is compressed, or its parts overlap")


def _plain(tensor: Tensor, name: str, path: Path) -> Tensor:
    """Return a tensor as its numbers alone; DataError where it has none of the usual kind."""
    import torch

    kinds = {
        "on the device meta, without numbers": tensor.is_meta,
        "quantised": tensor.is_quantized,
        "sparse": tensor.layout != torch.strided,
        "nested": tensor.is_nested,
    }
    if found := [kind for kind, there in kinds.items() if there]:
        raise DataError(
            f"{visible(path)}: {visible(name)} is {found[0]}; save it as a dense tensor of "
            "floats"
        )
    return tensor.detach().as_subclass(torch.Tensor)


def match_names(
    found: Mapping[str, Tensor], net: nn.Module, name: str, path: Path
) -> dict[str, Tensor]:
    """Return the tensors under the net's names; DataError where they are not the net's.

    They may have those of torchvision, or lie in the net's order under other names that end
    alike, as those that were converted from TensorFlow do.
    """
    own = net.state_dict()
    wanted = {key: tensor.shape for key, tensor in own.items()}
    renaming = getattr(sys.modules[type(net).__module__], "_filter_fn", dict)
    try:
        renamed = renaming(found)
    except Exception as error:  # it gives tensors another shape, by names it expects
        words = visible(str(error).partition("\n")[0])
        raise DataError(f"{visible(path)} is not of {name}: {words}") from error
    renamed = {key: t for key, t in renamed.items() if not key.startswith("AuxLogits.")}
    if not wanted.keys() & renamed.keys() and in_order(renamed) == in_order(own):
        renamed = dict(zip(wanted, renamed.values(), strict=True))
    # files of older versions of torch have no counts of batches
    counts = {key: own[key] for key in wanted if key.endswith("num_batches_tracked")}
    renamed = counts | renamed
    wrong = [
        *(f"{key} is missing" for key in wanted if key not in renamed),
        *(
            f"{key} is {shape_text(renamed[key].shape)}, needs {shape_text(shape)}"
            for key, shape in wanted.items()
            if key in renamed and renamed[key].shape != shape
        ),
        *(f"{key} is none of its tensors" for key in renamed if key not in wanted),
    ]
    wrong = wrong or [
        *(
            f"{key} is {type_text(renamed[key])}, needs {type_text(tensor)}: convert it first"
            for key, tensor in own.items()
            if renamed[key].dtype != tensor.dtype
        ),
        *(
            f"{key} holds a value that is {fault}"
            for key, tensor in renamed.items()
            if (fault := fault_of_values(key, tensor))
        ),
    ]
    if wrong:
        more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        shown = visible("; ".join(wrong[:SHOWN]))
        raise DataError(f"{visible(path)} is not of {name}: {shown}{more}")
    return renamed


def fault_of_values(key: str, tensor: Tensor) -> str | None:
    """Say which values no trained net has; None for a sound tensor."""
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        return "no finite number"
    # a net takes the root of it
    if key.endswith("running_var") and tensor.numel() and bool(tensor.min() < 0):
        return "a variance below zero"
    return None


def type_text(tensor: Tensor) -> str:
    """Return the type of a tensor's numbers as people write it."""
    return str(tensor.dtype).removeprefix("torch.")


def in_order(tensors: Mapping[str, Tensor]) -> list[tuple[str, Sequence[int]]]:
    """Return the last part of each name and the shape, in which two nets may agree."""
    return [(key.rpartition(".")[2], tensor.shape) for key, tensor in tensors.items()]


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as people write it."""
    return "x".join(map(str, shape)) or "a number"
