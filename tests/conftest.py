"""Fixtures for the tests, some of which run pytest themselves."""

from __future__ import annotations

import gc
import os

# before torch is loaded: threads that wait sleep, so that two trainings share two cores well
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sweeps
import torch
from forked_workers import fork_workers
from hypothesis import HealthCheck, settings
from small_cases import small_case, trained
from small_runs import small_epoch, small_run, sweep
from sweeps import Repository, Zygote

from pytest_amlnn import leases

pytest_plugins = ["pytester"]

TESTS = Path(__file__).parent

# a busy machine is slow, and says nothing of what is tested
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

BENCHMARKS = '''
import pytest
from small_cases import small_case, squares

CASES = [small_case("one"), small_case("two", batch_size=16)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_small(case, train, gate):
    """Training ends within the limits."""
    verdict = gate(train(case, squares()))

    assert verdict.passed, verdict.message
'''


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at its options
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in one process a core, unless -n says otherwise.

    They are forked, once what takes long to import is there.
    """
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    asked = config.option
    if not whole or not config.pluginmanager.hasplugin("xdist") or asked.usepdb:
        return
    if hasattr(config, "workerinput"):  # this is one of them
        return
    if asked.numprocesses is None and asked.dist == "no" and not asked.collectonly:
        asked.numprocesses, asked.dist = len(leases.machine_cores()), "worksteal"
        import timm  # noqa: F401
        import torchvision  # noqa: F401

        fork_workers(pytest.MonkeyPatch())  # for as long as this process lives


@pytest.fixture(scope="session", autouse=True)
def _own_leases(tmp_path_factory) -> Iterator[None]:
    """Tests wait for each other's cores, not for those of a training outside."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "leases"
    folder.mkdir(exist_ok=True)
    place = str(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", place)
        patch.setattr("tempfile.tempdir", place)
        yield


@pytest.fixture(scope="session", autouse=True)
def _torch_is_loaded(_own_leases, tmp_path_factory):
    """Import all that training and its reports need, once.

    pytest run inside a test forgets what it imported, and torch cannot be imported twice. Each
    such pytest collects garbage as it ends, and need not look through all that is there now.
    """
    import pytest_amlnn.gates.records  # noqa: F401  # its forms look for their module
    from pytest_amlnn import report

    torch.set_num_threads(1)  # what needs more asks for it
    trained(small_case(epochs=1))
    two = small_epoch(), small_epoch()
    runs = [small_run(seed=seed, epochs=two) for seed in range(2)]
    report.write(sweep(tmp_path_factory.mktemp("loaded"), runs))
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _away_from_home(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache, data or settings."""
    monkeypatch.setenv("AMLNN_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("AMLNN_DATA", raising=False)
    # a worker's variables would switch pytest-benchmark off in a pytest that a test starts
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        monkeypatch.delenv(name)


@pytest.fixture
def benchmarks(pytester: pytest.Pytester, monkeypatch) -> pytest.Pytester:
    """A repository of somebody else, with two small cases."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    pytester.syspathinsert(TESTS)
    pytester.makepyfile(test_small=BENCHMARKS)
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider\n")
    return pytester


@pytest.fixture(
    params=[
        (),
        pytest.param(("-n", "0"), marks=[pytest.mark.slow]),
        pytest.param(("-n", "2"), marks=[pytest.mark.slow, pytest.mark.xdist]),
    ],
    ids=["plain", "n0", "n2"],
)
def run(request, benchmarks, monkeypatch) -> Callable[..., pytest.RunResult]:
    """Run pytest in that repository: plain, with -n 0 and with -n 2."""
    if request.param == ("-n", "2"):
        fork_workers(monkeypatch)

    def run_pytest(*arguments: str) -> pytest.RunResult:
        return benchmarks.runpytest_inprocess(
            "--amlnn-out=out", "--amlnn-device=cpu", *request.param, *arguments
        )

    return run_pytest


@pytest.fixture(scope="session")
def zygote(_own_leases) -> Iterator[Zygote]:
    """A process that has torch loaded, from which sweeps are forked."""
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture
def repository(zygote, tmp_path) -> Repository:
    """A repository of somebody else, with two small cases, for sweeps that are killed."""
    (tmp_path / "test_small.py").write_text(sweeps.BENCHMARKS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return Repository(zygote=zygote, folder=tmp_path)


@pytest.fixture(scope="session")
def real_archive() -> Path:
    """The real Tiny ImageNet beside the checkout; its tests are skipped where it is not."""
    named = os.environ.get("AMLNN_TEST_ARCHIVE")
    path = Path(named or TESTS.parent.parent / "shared" / "tiny-imagenet-200.zip")
    if not path.exists() and not named:
        pytest.skip(f"{path} is not here: AMLNN_TEST_ARCHIVE names a real Tiny ImageNet")
    return path.resolve()
