"""Those settings of a process that take more than one call to read or to set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import product
from threading import get_ident
from typing import Any

import torch
from torch import overrides
from torch.nn.modules import module as modules
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from torch.utils import _device
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from pytest_amlnn import openmp

# modes and hooks


def function_modes() -> list[Any]:
    """Return the modes that torch hands every function to, the lowest one first."""
    return [*overrides._get_current_function_mode_stack()]  # type: ignore[no-untyped-call]


def default_devices() -> list[str]:
    """Return the devices on which tensors are made where none is named, but for torch's own."""
    stack = function_modes()
    return [str(mode.device) for mode in stack if isinstance(mode, _device.DeviceContext)]


@contextmanager
def no_default_device() -> Iterator[None]:
    """Set default devices aside, and put them back; no other mode is active."""
    stack = clear_function_modes()
    chosen = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    current = _device.CURRENT_DEVICE
    torch._GLOBAL_DEVICE_CONTEXT.device_context = _device.CURRENT_DEVICE = None
    try:
        yield
    finally:
        clear_function_modes()
        for mode in stack:
            torch._C._push_on_torch_function_stack(mode)
        torch._GLOBAL_DEVICE_CONTEXT.device_context = chosen
        _device.CURRENT_DEVICE = current


def clear_function_modes() -> list[Any]:
    """Take all modes off the stack, and return them, the lowest one first."""
    stack = function_modes()
    for _ in stack:
        torch._C._pop_torch_function_stack()
    return stack


def active_modes() -> list[str]:
    """Return the modes that see every call of torch, but for default devices."""
    stacks = [*function_modes(), *_get_current_dispatch_mode_stack()]
    found = [mode for mode in stacks if not isinstance(mode, _device.DeviceContext)]
    return [type(mode).__qualname__ for mode in found]


def global_hooks() -> list[str]:
    """Return the hooks that torch calls for every module or every optimizer."""
    tables = [v for name, v in vars(modules).items() if name.startswith("_global_")]
    tables += [_global_optimizer_pre_hooks, _global_optimizer_post_hooks]
    hooks = [hook for table in tables if isinstance(table, dict) for hook in table.values()]
    return sorted({name_of(hook) for hook in hooks if callable(hook)})


def name_of(hook: Any) -> str:
    """Return where a hook was written."""
    known = hook if hasattr(hook, "__qualname__") else type(hook)
    return f"{known.__module__}.{known.__qualname__}"


def packs_saved_tensors() -> bool:
    """Return whether hooks of somebody else see what backward passes keep."""
    return torch._C._autograd._top_saved_tensors_default_hooks(False) is not None


# arithmetic

FLOAT32 = [("generic", "all"), ("cuda", "all"), ("mkldnn", "all")]
FLOAT32 += [*product(("cuda", "mkldnn"), ("matmul", "conv", "rnn"))]
"""Where float32 has a precision, those first that others follow where they have none."""
FRESH_FLOAT32: Mapping[str, Any] = {
    **{f"{backend}.{operation}": "none" for backend, operation in FLOAT32},
    **{"cuda.conv": "tf32", "cuda.rnn": "tf32"},
    **{"matmul": "highest", "cudnn.allow_tf32": True},
}
"""What a process begins with."""


def read_float32() -> dict[str, Any]:
    """Return how exactly products of float32 are computed, in torch's newer and older words.

    Each is read while the ones that it follows say nothing, and the older words while the
    newer ones agree with them, for torch refuses to read them otherwise.
    """
    found: dict[str, Any] = {}
    for backend, operation in FLOAT32:
        name = f"{backend}.{operation}"
        found[name] = torch._C._get_fp32_precision_getter(backend, operation)
        if operation == "all":
            write_newer({name: "none"})
    older: dict[str, Any] = {}
    for cublas, onednn in (("none", "none"), ("tf32", "tf32"), ("tf32", "bf16")):
        write_newer({"cuda.matmul": cublas, "mkldnn.matmul": onednn})
        write_newer({"cuda.conv": cublas, "cuda.rnn": cublas})
        for name, read in OLDER.items():
            try:
                older.setdefault(name, read())
            except RuntimeError:
                continue
    write_newer(found)
    return found | older


OLDER: dict[str, Callable[[], Any]] = {
    "matmul": torch.get_float32_matmul_precision,
    "cudnn.allow_tf32": lambda: torch.backends.cudnn.allow_tf32,
}


def write_float32(values: Mapping[str, Any]) -> None:
    """Set what `read_float32` returned; the older words come first, for they set newer ones."""
    torch.set_float32_matmul_precision(values["matmul"])
    torch.backends.cudnn.allow_tf32 = values["cudnn.allow_tf32"]
    write_newer({name: value for name, value in values.items() if name not in OLDER})


def write_newer(values: Mapping[str, Any]) -> None:
    """Set precisions by backend and operation."""
    for name, value in values.items():
        backend, operation = name.split(".")
        torch._C._set_fp32_precision_setter(backend, operation, value)


def flushes_denormals() -> dict[str, bool]:
    """Return whether numbers next to zero count as zero, here and in torch's other threads."""
    tiny = torch.ones(1, dtype=torch.int32).view(torch.float32)  # the smallest above zero

    def here() -> tuple[int, bool]:
        return get_ident(), not (tiny * 1).view(torch.int32).item()

    found = dict(openmp.in_every_thread(here))
    return {"here": found.pop(get_ident()), "elsewhere": any(found.values())}


def set_flushes_denormals(values: Mapping[str, bool]) -> None:
    """Set what `flushes_denormals` returned: threads inherit it, and then keep it."""
    openmp.in_every_thread(partial(torch.set_flush_denormal, values["elsewhere"]))
    torch.set_flush_denormal(values["here"])


def rounds_to_nearest() -> bool:
    """Return whether sums of floats are rounded as they are by default."""
    one, little = 1.0, 2.0**-54
    return one + 2 * little == one and one - little == one and -one - 2 * little == -one


def set_variable(name: str, value: str | None) -> None:
    """Set a variable of the environment, or remove it."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


# what no running process can change

VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_CPU_ISA_HINTS"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "OPENBLAS_CORETYPE"),
    *("NPY_DISABLE_CPU_FEATURES", "KMP_DETERMINISTIC_REDUCTION"),
    *("NVIDIA_TF32_OVERRIDE", "PYTORCH_TUNABLEOP_ENABLED", "TORCH_CUDNN_V8_API_DISABLED"),
)
"""Read by the libraries that torch and numpy compute with, when they are loaded."""
AT_START = {name: os.environ.get(name) for name in VARIABLES}
INSTRUCTIONS = ("avx", "amx", "fma", "f16c", "sve", "neon", "asimd", "bf16", "i8mm")
"""Of the features of a processor, those that kernels are chosen by; by how they begin."""


def modes_of_process() -> dict[str, Any]:
    """Return what numbers follow from that is the same as long as a process lives."""
    features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    chosen = [name for name in sorted(features) if features[name] is True]
    return {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "instructions": " ".join(name for name in chosen if name.startswith(INSTRUCTIONS)),
        **{name: value for name, value in AT_START.items() if value is not None},
    }
