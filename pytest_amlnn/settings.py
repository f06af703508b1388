"""The settings of a process that numbers depend on, and what they are while a case trains.

`SETTINGS` is the one list of them. Each is set before a training and restored after it, or,
where setting it would take away what somebody else relies on, another value is refused in
words. What no running process can change is
`process_state.modes_of_process`. All of it is on record, and compared
when a run is resumed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import backends
from torch.nn.utils import parametrize
from torch.utils import deterministic as torch_deterministic

from pytest_amlnn import openmp, process_state
from pytest_amlnn.errors import UserError


class SettingError(UserError):
    """A process that cannot train as the record says; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting: how it is read, and what a training needs it to be."""

    name: str
    read: Callable[[], Any]
    value: Any
    write: Callable[[Any], object] | None = None
    """Without it, or `hold`, a process where it has another value is refused."""
    hold: Callable[[], AbstractContextManager[Any]] | None = None
    """Sets it and restores it, where there is nothing to write."""
    remedy: str = "start pytest without it"
    decides: bool = True
    """Numbers depend on it; on others only what is raised or warned of."""


OF_RECIPE = "as many as the recipe says"


def settings_of(threads: int) -> list[Setting]:
    """Return all settings of a training with so many threads, in the order they are set in."""
    return [
        replace(each, value=threads) if each.value is OF_RECIPE else each for each in SETTINGS
    ]


@contextmanager
def applied(settings: Sequence[Setting]) -> Iterator[None]:
    """Set all settings, and restore the caller's; SettingError for one that cannot be set."""
    with ExitStack() as restored:
        for setting in settings:
            if setting.hold is not None:
                restored.enter_context(setting.hold())
            found = setting.read()
            if setting.write is not None:
                restored.callback(setting.write, found)
            if setting.write is not None and found != setting.value:
                setting.write(setting.value)
                found = setting.read()
            if found != setting.value:
                raise SettingError(
                    f"{setting.name}: {found}, where a training needs {setting.value}, and it"
                    f" cannot be set from here: {setting.remedy}"
                )
        yield


def refuse_changes(settings: Sequence[Setting], cause: Exception | None = None) -> None:
    """Raise SettingError for a setting that what is trained has changed meanwhile."""
    changed = [
        f"{setting.name} is {found}, was {setting.value}"
        for setting in settings
        if setting.decides and (found := setting.read()) != setting.value
    ]
    if changed:
        raise SettingError(
            f"{'; '.join(changed)}, since the training began: its builder, net, task or data"
            " set this for the whole process, so its numbers would depend on what ran before"
            " it. Have them restore it, or name dtype, device and precision where they are used"
        ) from cause


def record_of(settings: Sequence[Setting]) -> dict[str, Any]:
    """Return what numbers follow from besides recipe, data and code, as plain data."""
    plain = {each.name: plain_value(each.value) for each in settings if each.decides}
    return plain | process_state.modes_of_process()


def plain_value(value: Any) -> Any:
    """Return a setting's value as JSON holds it."""
    if isinstance(value, dict):
        return {name: plain_value(entry) for name, entry in value.items()}
    return value if value is None or isinstance(value, bool | int | list) else str(value)


# the list


def attribute(name: str, owner: Any, value: Any) -> list[Setting]:
    """Return the setting that an attribute is; none where this version of torch lacks it."""
    field = name.rpartition(".")[2]
    if not hasattr(owner, field):
        return []
    read, write = partial(getattr, owner, field), partial(setattr, owner, field)
    return [Setting(name=name, read=read, write=write, value=value)]


def pair(name: str, owner: Any, functions: str, value: Any) -> list[Setting]:
    """Return the setting that two functions read and write; none where torch lacks them."""
    read, write = (getattr(owner, function, None) for function in functions.split())
    if read is None or write is None:
        return []
    return [Setting(name=name, read=read, write=write, value=value)]


def reduced(kind: str) -> list[Setting]:
    """Return whether cuBLAS may sum in a kind of 16 bits: a flag, or two in newer versions."""
    read = getattr(C, f"_get_cublas_allow_{kind}_reduced_precision_reduction")
    write = getattr(C, f"_set_cublas_allow_{kind}_reduced_precision_reduction")
    if not isinstance(read(), tuple):
        return [Setting(name=f"cublas sums in {kind}", read=read, write=write, value=True)]
    return [
        Setting(
            name=f"cublas sums in {kind}",
            read=lambda: [*read()],
            write=lambda values: write(*values),
            value=[True, True],
        )
    ]


def autocast(kind: str, dtype: torch.dtype) -> list[Setting]:
    """Return whether operations choose a lower precision on a kind of device, and which."""
    enabled = (
        partial(torch.is_autocast_enabled, kind),
        partial(torch.set_autocast_enabled, kind),
    )
    chosen = partial(torch.get_autocast_dtype, kind), partial(torch.set_autocast_dtype, kind)
    name = f"autocast {kind}"
    return [
        Setting(name=name, read=enabled[0], write=enabled[1], value=False),
        Setting(name=f"{name} dtype", read=chosen[0], write=chosen[1], value=dtype),
    ]


C, CUBLAS, CUDNN, SDP = torch._C, backends.cuda.matmul, backends.cudnn, backends.cuda
LEAVE = "leave it, or remove it, before a case trains: it may change what a net computes"

SETTINGS: tuple[Setting, ...] = (
    # what sees every call, or every module
    Setting(name="torch modes", read=process_state.active_modes, value=[], remedy=LEAVE),
    Setting(name="global hooks", read=process_state.global_hooks, value=[], remedy=LEAVE),
    Setting(
        name="saved-tensor hooks",
        read=process_state.packs_saved_tensors,
        value=False,
        remedy=LEAVE,
    ),
    Setting(
        name="default device",
        read=process_state.default_devices,
        hold=process_state.no_default_device,
        value=[],
    ),
    # threads
    *pair("threads", torch, "get_num_threads set_num_threads", OF_RECIPE),
    Setting(
        name="threads that OpenMP may leave out",
        read=openmp.is_dynamic,
        write=openmp.set_dynamic,
        value=False,
    ),
    Setting(
        name="threads that OpenMP starts",
        read=openmp.started_threads,
        value=OF_RECIPE,
        remedy="unset OMP_THREAD_LIMIT and OMP_MAX_ACTIVE_LEVELS, or give the recipe as many"
        " threads; torch would wait for the others for ever",
    ),
    # arithmetic
    *pair("default dtype", torch, "get_default_dtype set_default_dtype", torch.float32),
    Setting(
        name="float32 precision",
        read=process_state.read_float32,
        write=process_state.write_float32,
        value=dict(process_state.FRESH_FLOAT32),
    ),
    Setting(
        name="denormals count as zero",
        read=process_state.flushes_denormals,
        write=process_state.set_flushes_denormals,
        value={"here": False, "elsewhere": False},
    ),
    Setting(name="rounds to nearest", read=process_state.rounds_to_nearest, value=True),
    *autocast("cpu", torch.bfloat16),
    *autocast("cuda", torch.float16),
    *pair(
        "autocast cache", torch, "is_autocast_cache_enabled set_autocast_cache_enabled", True
    ),
    # autograd
    Setting(
        name="inference mode",
        read=torch.is_inference_mode_enabled,
        hold=partial(torch.inference_mode, False),
        value=False,
    ),
    *pair("gradients", C, "is_grad_enabled _set_grad_enabled", True),
    *pair("forward gradients", C, "_is_fwd_grad_enabled _set_fwd_grad_enabled", True),
    *pair(
        "gradient threads", C, "_is_multithreading_enabled _set_multithreading_enabled", True
    ),
    *attribute("parametrize._cache_enabled", parametrize, 0),
    *pair(
        "swap_module_params",
        torch.__future__,
        "get_swap_module_params_on_conversion set_swap_module_params_on_conversion",
        False,
    ),
    *pair(
        "overwrite_module_params",
        torch.__future__,
        "get_overwrite_module_params_on_conversion set_overwrite_module_params_on_conversion",
        False,
    ),
    # which kernels compute; 2 is "error": use_deterministic_algorithms would import torch's
    # compiler, 2 seconds
    *pair(
        "deterministic", torch, "get_deterministic_debug_mode set_deterministic_debug_mode", 2
    ),
    # torch's kernels write all that they return; filling it before takes a tenth of a step
    *attribute("deterministic.fill_uninitialized_memory", torch_deterministic, False),
    *attribute("mkldnn.enabled", backends.mkldnn, True),
    *attribute("mkldnn.deterministic", backends.mkldnn, False),
    *pair("nnpack.enabled", C, "_get_nnpack_enabled _set_nnpack_enabled", True),
    *attribute("opt_einsum.enabled", backends.opt_einsum, backends.opt_einsum.is_available()),
    *attribute(
        "opt_einsum.strategy",
        backends.opt_einsum,
        "auto" if backends.opt_einsum.is_available() else None,
    ),
    *pair("mha.fastpath", backends.mha, "get_fastpath_enabled set_fastpath_enabled", True),
    *attribute("cudnn.enabled", CUDNN, True),
    *attribute("cudnn.benchmark", CUDNN, False),
    *attribute("cudnn.deterministic", CUDNN, False),
    *attribute("cuda.matmul.allow_fp16_accumulation", CUBLAS, False),
    *reduced("fp16"),
    *reduced("bf16"),
    *pair("flash_sdp", SDP, "flash_sdp_enabled enable_flash_sdp", True),
    *pair("mem_efficient_sdp", SDP, "mem_efficient_sdp_enabled enable_mem_efficient_sdp", True),
    *pair("math_sdp", SDP, "math_sdp_enabled enable_math_sdp", True),
    *pair("cudnn_sdp", SDP, "cudnn_sdp_enabled enable_cudnn_sdp", True),
    *pair(
        "math_sdp in 16 bits",
        SDP,
        "fp16_bf16_reduction_math_sdp_allowed allow_fp16_bf16_reduction_math_sdp",
        False,
    ),
    *pair(
        "linear algebra",
        C,
        "_get_linalg_preferred_backend _set_linalg_preferred_backend",
        C._LinalgBackend.Default,
    ),
    Setting(
        name="cuBLAS workspace",
        read=partial(os.environ.get, "CUBLAS_WORKSPACE_CONFIG"),
        write=partial(process_state.set_variable, "CUBLAS_WORKSPACE_CONFIG"),
        value=":4096:8",  # read when the first handle is made, which lies ahead of any run
    ),
    # on which only warnings and errors depend
    Setting(
        name="anomaly mode",
        read=torch.is_anomaly_enabled,
        write=torch.set_anomaly_enabled,
        value=False,
        decides=False,
    ),
    Setting(
        name="numpy errors",
        read=np.geterr,
        write=lambda values: np.seterr(**values),
        value={"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"},
        decides=False,
    ),
    *pair("numpy buffer", np, "getbufsize setbufsize", 8192),
)
