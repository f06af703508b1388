"""The same bits, whatever the process did before a training, or does between its runs."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from small_cases import CPU, SIDE, pictures_net, small_case, squares, trained
from sweeps import environment, lasting
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_amlnn import process_state, result, training
from pytest_amlnn.device import deterministic
from pytest_amlnn.progress import Silent
from pytest_amlnn.settings import SETTINGS, Setting, SettingError, settings_of

NAMED = {setting.name: setting for setting in settings_of(1)}
Disturbance = Callable[[], AbstractContextManager[Any]]


def bits(outcome: training.Outcome) -> object:
    """Return all of a run that must not differ."""
    answers = {name: array.tobytes() for name, array in outcome.answers.items()}
    return lasting(result.to_plain(outcome.run)), answers


class Looking(TorchFunctionMode):
    """A mode that sees every function."""

    def __torch_function__(self, function: Any, kinds: Any, given: Any, named: Any) -> Any:
        """Call it."""
        return function(*given, **(named or {}))


class LookingBelow(TorchDispatchMode):
    """A mode that sees every operation."""

    def __torch_dispatch__(self, function: Any, kinds: Any, given: Any, named: Any) -> Any:
        """Call it."""
        return function(*given, **(named or {}))


def twice(net: nn.Module, inputs: Any, outputs: Any) -> Any:
    """Double what a layer returns."""
    return outputs * 2


@contextmanager
def hooked(register: Callable[..., Any], hook: Any) -> Iterator[None]:
    """Have a hook called for every module or optimizer."""
    handle = register(hook)
    try:
        yield
    finally:
        handle.remove()


OTHER: dict[str, Any] = {
    "threads": 2,
    "threads that OpenMP may leave out": True,
    "default dtype": torch.float64,
    "float32 precision": {**process_state.FRESH_FLOAT32, "mkldnn.conv": "bf16"},
    "denormals count as zero": {"here": True, "elsewhere": False},
    "autocast cpu dtype": torch.float16,
    "autocast cuda dtype": torch.bfloat16,
    "parametrize._cache_enabled": 1,
    "deterministic": 1,
    "opt_einsum.strategy": "optimal",
    "linear algebra": torch._C._LinalgBackend.Magma,
    "cuBLAS workspace": ":16:8",
    "numpy errors": dict.fromkeys(("divide", "over", "under", "invalid"), "raise"),
    "numpy buffer": 16,
    "cublas sums in fp16": [False, False],
    "cublas sums in bf16": [False, False],
}
"""A value besides the one that is needed; of what is true or false it is the other one."""
HELD: dict[str, Disturbance] = {
    "default device": partial(torch.device, "meta"),
    "inference mode": torch.inference_mode,
}
MORE: dict[str, list[Any]] = {
    "float32 precision": [
        {**process_state.FRESH_FLOAT32, "generic.all": "tf32"},
        {**process_state.FRESH_FLOAT32, "mkldnn.matmul": "bf16", "matmul": "medium"}
        | {"cuda.matmul": "tf32"},
        {**process_state.FRESH_FLOAT32, "cuda.matmul": "tf32"},
        {**process_state.FRESH_FLOAT32, "cudnn.allow_tf32": False, "cuda.rnn": "none"}
        | {"cuda.conv": "none"},
    ],
    "default dtype": [torch.float16],
}


@contextmanager
def written(setting: Setting, value: Any) -> Iterator[None]:
    """Give a setting another value for a while."""
    before = setting.read()
    setting.write(value)
    try:
        assert setting.read() == value
        yield
    finally:
        setting.write(before)


def disturbances() -> Iterator[Any]:
    """Yield each setting that can be set, with what gives it another value."""
    for name, setting in NAMED.items():
        if name in HELD:
            yield pytest.param(setting, HELD[name], id=name)
        elif setting.write:
            other = OTHER.get(name, not setting.value)
            for i, value in enumerate([other, *MORE.get(name, [])]):
                yield pytest.param(
                    setting, partial(written, setting, value), id=f"{name} {i or ''}".strip()
                )


SEEN: list[str] = []
"""Settings that were not as they have to be while a net was built."""


def looking_net(outputs: int) -> nn.Module:
    """Build a net, and look at all settings."""
    SEEN.extend(name for name, each in NAMED.items() if each.read() != each.value)
    return pictures_net(outputs)


CASE = small_case(build=looking_net, epochs=1, flip=True, shift=1)


def computed() -> Iterator[training.Outcome]:
    """Train the case with two seeds."""
    runs = [training.initial_run(CASE, id="t", seed=s, device=CPU) for s in (0, 1)]
    return training.train(CASE, squares(), runs, device=CPU, progress=Silent())


@pytest.fixture(scope="module")
def undisturbed() -> list[object]:
    """The bits in a process where nothing was set."""
    return [*map(bits, computed())]


@pytest.mark.parametrize(("setting", "disturbed"), [*disturbances()])
def test_bits_do_not_follow_from_what_the_process_did(setting, disturbed, undisturbed):
    """Whatever is set before a training or between its runs: equal bits, and it stays set.

    That holds for every setting of the list, and while a net is built all of them are as a
    training needs them.
    """
    SEEN.clear()
    outcomes = computed()
    with disturbed():
        mine = setting.read()
        first = bits(next(outcomes))
        assert setting.read() == mine  # also while the training waits to go on
    with disturbed():
        second = bits(next(outcomes))
        assert [*outcomes] == []
        assert setting.read() == mine

    assert [first, second] == undisturbed
    assert SEEN == []


@pytest.mark.parametrize(("setting", "disturbed"), [*disturbances()])
def test_settings_come_back_after_an_error(setting, disturbed):
    """What the caller had set is set again, too, after a training that failed."""
    with disturbed():
        mine = setting.read()
        with pytest.raises(ZeroDivisionError), deterministic(CPU, 1):
            raise ZeroDivisionError
        assert setting.read() == mine


REFUSED: dict[str, tuple[Disturbance, str]] = {
    "function mode": (Looking, "torch modes: .'Looking'."),
    "dispatch mode": (LookingBelow, "torch modes: .'LookingBelow'."),
    "forward hook": (
        partial(hooked, nn.modules.module.register_module_forward_hook, twice),
        "global hooks: .'(tests.)?test_settings.twice'.",
    ),
    "forward pre-hook": (
        partial(hooked, nn.modules.module.register_module_forward_pre_hook, print),
        "global hooks: .'builtins.print'.",
    ),
    "backward hook": (
        partial(hooked, nn.modules.module.register_module_full_backward_hook, twice),
        "global hooks",
    ),
    "parameter hook": (
        partial(hooked, nn.modules.module.register_module_parameter_registration_hook, twice),
        "global hooks",
    ),
    "optimizer hook": (
        partial(hooked, register_optimizer_step_post_hook, twice),
        "global hooks",
    ),
    "saved tensors": (torch.autograd.graph.save_on_cpu, "saved-tensor hooks: True"),
}


@pytest.mark.parametrize(("disturbed", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_may_only_look_is_not_set_aside(disturbed, words):
    """What may be somebody's means to look at a net is named, and the training refused."""
    with disturbed(), pytest.raises(SettingError, match=f"^{words}.* before a case trains"):
        trained(CASE)

    assert trained(CASE).run.status == "finished"


def test_every_setting_is_disturbed_by_a_test():
    """No setting is on the list that these tests do not set, or see refused."""
    set_here = {param.values[0].name for param in disturbances()}
    refused = {name for name, each in NAMED.items() if not (each.write or each.hold)}

    assert set_here | refused == NAMED.keys()
    assert len(NAMED) == len(SETTINGS)


def changing(change: Callable[[], object]) -> Callable[[int], nn.Module]:
    """Return a builder that changes a setting for the whole process."""

    def build(outputs: int) -> nn.Module:
        change()
        return pictures_net(outputs)

    return build


def use_float64() -> None:
    """Have tensors made as float64 from now on."""
    torch.set_default_dtype(torch.float64)


def use_bfloat16_products() -> None:
    """Compute products less exactly from now on."""
    torch.set_float32_matmul_precision("medium")


def use_more_threads() -> None:
    """Compute with three threads from now on."""
    torch.set_num_threads(3)


def hook_all() -> None:
    """Double what every layer returns from now on."""
    HANDLES.append(nn.modules.module.register_module_forward_hook(twice))


HANDLES: list[Any] = []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (use_float64, "^default dtype is torch.float64, was torch.float32"),
        (use_bfloat16_products, "^float32 precision is .*'matmul': 'medium'"),
        (use_more_threads, "^threads is 3, was 1"),
        (hook_all, "^global hooks is .'(tests.)?test_settings.twice'., was .."),
    ],
)
def test_builder_that_changes_the_process_is_refused(change, words):
    """What a net sets for the whole process is named, refused before training, and undone.

    That also where the net cannot be trained for it: the cause is named, not what it led to.
    """
    try:
        with pytest.raises(SettingError, match=f"{words}.*builder, net, task or data set"):
            trained(small_case(build=changing(change)))
    finally:
        while HANDLES:
            HANDLES.pop().remove()

    assert torch.get_default_dtype() == torch.float32
    assert torch.get_float32_matmul_precision() == "highest"
    assert trained(CASE).run.status == "finished"


class Changing(nn.Module):
    """A net that computes less exactly from its first batch on."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.net = pictures_net(outputs)

    def forward(self, pictures: Tensor) -> Tensor:
        """Change a setting, and compute the net."""
        if pictures.device.type != "meta":
            torch.backends.mkldnn.deterministic = True
        outputs: Tensor = self.net(pictures)
        return outputs


def test_net_that_changes_the_process_is_refused():
    """A net that sets something at a batch leaves no run: the next one would differ."""
    with pytest.raises(SettingError, match="^mkldnn.deterministic is True, was False"):
        trained(small_case(build=Changing))

    assert torch.backends.mkldnn.deterministic is False


class Drawing(nn.Module):
    """A net that draws from every generator: when it is built, trained and evaluated."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, outputs))
        self.scale = drawn()

    def forward(self, pictures: Tensor) -> Tensor:
        """Disturb what the net computes."""
        outputs: Tensor = self.net(pictures) * self.scale * drawn()
        return outputs


def drawn() -> float:
    """Draw from torch's, numpy's and Python's generator."""
    return 1 + torch.rand(()).item() * np.random.random() * random.random() / 10  # noqa: NPY002


def drawn_squares(seed: int) -> Any:
    """Return pictures of which each bit may depend on a draw."""
    splits = squares()(seed)
    pictures = splits.train.inputs + np.uint8(10 * (drawn() - 1) * 10)
    return dataclasses.replace(splits, train=dataclasses.replace(splits.train, inputs=pictures))


def test_draws_follow_from_the_seed():
    """A net, and data, that draw from a global generator have equal bits in every process.

    The caller's generators stand where they stood.
    """

    def states() -> list[object]:
        place = np.random.get_state()[1].tobytes()  # noqa: NPY002
        return [torch.get_rng_state().tolist(), place, random.getstate()]

    case = small_case(build=Drawing, epochs=2)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        before = states()
        found.append(bits(trained(case, drawn_squares)))
        assert states() == before

    assert found[0] == found[1]


LIMITED = """
import sys
sys.path.insert(0, "tests")
from small_cases import pictures_net, small_case, trained
from pytest_amlnn.settings import SettingError
try:
    print(trained(small_case(build=pictures_net, threads=2)).run.status)
except SettingError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OMP_THREAD_LIMIT": "1"}, "threads that OpenMP starts: 1, where a training needs 2"),
        ({"OMP_MAX_ACTIVE_LEVELS": "0"}, "threads that OpenMP starts: 1, where a"),
        ({"OMP_DYNAMIC": "true", "OMP_NUM_THREADS": "1"}, "finished"),
    ],
    ids=["limit", "levels", "fewer by default"],
)
def test_threads_that_do_not_come_are_not_waited_for(variables, words):
    """A process that may not start a recipe's threads is refused in words; it does not hang."""
    said = subprocess.check_output(
        [sys.executable, "-c", LIMITED],
        env={**environment(), **variables},
        text=True,
        timeout=60,
    )

    assert said.startswith(words)


DISTURBING = """
import torch

def test_that_has_nothing_to_do_with_training():
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.set_flush_denormal(True)
    torch.backends.mkldnn.enabled = False
    torch.set_autocast_enabled("cpu", True)
    torch.manual_seed(7)
"""
HOOKING = """
import torch

def test_that_leaves_a_hook_behind():
    torch.nn.modules.module.register_module_forward_hook(lambda net, given, out: out * 2)
"""


@pytest.mark.slow
def test_other_tests_change_no_bits(repository):
    """Whatever a test set before a case in the same process, the case has the same bits."""
    assert repository.run("--amlnn-repeats=2")[0] == 0
    (repository.folder / "test_first.py").write_text(DISTURBING)
    status, text = repository.run("--amlnn-repeats=2", "--amlnn-out=disturbed")

    assert status == 0, text
    assert repository.numbers("disturbed") == repository.numbers()


def test_hook_of_another_test_is_named(repository):
    """A case that cannot be computed as it has to be fails with words, not a traceback."""
    (repository.folder / "test_first.py").write_text(HOOKING)
    status, text = repository.run("--amlnn-repeats=1", "-k", "one or hook")

    assert status == 1
    assert "test_small[one]: global hooks: ['test_first.test_that_leaves_a_hook_behind." in text
    assert "Traceback" not in text
    assert "settings.py" not in text
