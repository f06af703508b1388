"""Numbers of a recipe that are searched for: on validation alone, trial by trial."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_cases import line_case, small_case, squares
from sweeps import Repository, until
from torch import nn

from amlnn_datasets import series
from pytest_amlnn import Case, Search, store, trials, tuning, variant_of
from pytest_amlnn.data import Data
from pytest_amlnn.job import Job
from pytest_amlnn.progress import Silent
from pytest_amlnn.range_test import STEPS, chosen_rate, curve_of
from pytest_amlnn.report.sweep import read
from pytest_amlnn.trials import SearchError

BENCHMARK = '''
import pytest
from small_cases import small_case, squares

from pytest_amlnn import Search, variant_of

BASE = small_case("slow", learning_rate=0.001, epochs=4)
SEARCH = Search(method="optuna", low=0.00001, high=1.0, trials=6, repeats=2)
CASES = [variant_of(BASE, "rate", search=SEARCH)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_improvement(case, train, gate):
    """Training ends within the limits."""
    verdict = gate(train(case, squares()))

    assert verdict.passed, verdict.message
'''
ASKED = ("-m", "improvement")
ID, BASE_ID = "test_improvement[rate-slow]", "test_small[slow]"
SLOW = small_case("slow", learning_rate=0.001, epochs=4)
OPTUNA = Search(method="optuna", low=0.00001, high=1.0, trials=6, repeats=2)
LINE = line_case("line", learning_rate=0.001, epochs=4)
WINDOWS = series.source("ar", points=300, longest=300, test=50, window=8)
RANGE = Search(method="range", low=0.00001, high=10.0, repeats=2)


def job_of(out: Path, search: Search, base: Case = SLOW, data: Data | None = None) -> Job:
    """Return a job whose case is searched for."""
    case = variant_of(base, "rate", search=search)
    return Job(case=case, id=ID, seeds=(0, 1), data=data or squares(), out=out, device="cpu")


def found_in(job: Job, show: Any = lambda job, seeds: Silent()) -> float:
    """Return the learning rate that is found."""
    return tuning.with_found(job, job.seeds, show).case.training.recipe.learning_rate


def lasting(searched: trials.Searched | None) -> Any:
    """Return what must not change from one search to another."""
    assert searched
    return replace(searched, trials=tuple(replace(t, seconds=0) for t in searched.trials))


# the range test's rule


def falling(begin: int, end: int, *, lowest: float = 0.1) -> list[float]:
    """Return losses that are 1 at first, fall from one step to another, and rise then."""
    losses = []
    for step in range(STEPS):
        fallen = min(max((step - begin) / (end - begin), 0.0), 1.0)
        losses.append(1 - (1 - lowest) * fallen + 0.2 * max(step - end, 0))
    return losses


RATES = [1e-5 * 10 ** (step / 20) for step in range(STEPS)]


@given(st.integers(0, 60), st.integers(10, 39), st.floats(0.01, 0.9))
def test_chosen_rate_is_one_at_which_the_loss_falls(begin, length, lowest):
    """It lies between where the fall begins and where it ends, however deep it is."""
    losses = falling(begin, begin + length, lowest=lowest)
    rate = chosen_rate(tuple(zip(RATES, losses, strict=True)))

    assert RATES[begin] < rate < RATES[begin + length]


@given(st.lists(st.floats(0.1, 10.0), min_size=2, max_size=STEPS), st.floats(0.01, 100.0))
def test_unit_of_the_loss_says_nothing(losses, factor):
    """Losses in another unit lead to the same learning rate."""
    curve = curve_of(RATES[: len(losses)], losses)
    scaled = tuple((rate, loss * factor) for rate, loss in curve)
    kept = len({loss for _, loss in curve}) == len({loss for _, loss in scaled})

    assert chosen_rate(scaled) == chosen_rate(curve) or not kept  # rounding makes some equal


@given(st.lists(st.floats(0.1, 10.0), max_size=STEPS))
def test_no_rate_is_chosen_where_no_step_lowers_the_loss(losses):
    """A loss that rises from the first step on, or a curve of nothing, says no rate."""
    rising = sorted(losses)

    assert chosen_rate(tuple(zip(RATES, rising, strict=False))) is None


@pytest.mark.parametrize("end", [math.nan, math.inf, 1e6])
def test_curve_ends_where_the_loss_explodes(end):
    """What comes after a loss that is no number, or far above the lowest, is left out."""
    losses = [*falling(10, 40)[:60], *[end] * 40]
    curve = curve_of(RATES, losses)

    assert len(curve) == 60
    assert all(math.isfinite(loss) for _, loss in curve)


# searches


@pytest.mark.parametrize("search", [OPTUNA, RANGE], ids=lambda search: search.method)
def test_better_rate_than_a_bad_one_is_found(search, tmp_path):
    """With what is found a small net learns within its budget, and with its own rate not."""
    job = job_of(tmp_path, search)
    rate = found_in(job)
    losses = {}
    for value in (rate, SLOW.training.recipe.learning_rate):
        case = tuning.with_value(job.case, "learning_rate", value)
        tried = replace(job, case=case, seeds=(0,))
        losses[value] = tuning.trial_of_value(tried, value, lambda *_: Silent()).loss

    assert search.low <= rate <= search.high
    assert losses[rate] < 0.7 * losses[SLOW.training.recipe.learning_rate]


def test_recipe_with_its_own_value_is_tried_first(tmp_path):
    """So what is found is as good as the base on the validation split, or better."""
    found_in(job_of(tmp_path, OPTUNA))
    tried = trials.trials_of(tmp_path, ID)

    assert [trial["value"] for trial in tried][0] == 0.001
    assert len({trial["value"] for trial in tried}) == len(tried) == OPTUNA.trials
    assert all(OPTUNA.low <= trial["value"] <= OPTUNA.high for trial in tried)
    assert all(trial["seeds"] == [1000, 1001] for trial in tried)


def test_fields_of_transforms_are_searched_too(tmp_path):
    """A number of the recipe's transforms is found as one of its own is."""
    search = Search(method="optuna", field="crop", low=0.2, high=1.0, trials=2, repeats=1)
    found = tuning.with_found(job_of(tmp_path, search), (0,), lambda *_: Silent())
    crop = found.case.training.recipe.transforms.crop

    assert crop in {trial["value"] for trial in trials.trials_of(tmp_path, ID)}
    assert found.case.improvement.search == search


def untested(data: Data) -> Data:
    """Return data whose test split must not be looked at."""

    class Splits:
        def __init__(self, splits: Any) -> None:
            self.splits = splits

        @property
        def test(self) -> Any:
            raise AssertionError("the test split was read")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.splits, name)

    return lambda seed: Splits(data(seed))


@pytest.mark.parametrize("method", ["optuna", "range"])
@pytest.mark.parametrize(
    ("base", "data"),
    [(SLOW, squares()), (LINE, WINDOWS)],
    ids=["pictures", "series"],
)
def test_no_trial_reads_the_test_split(method, base, data, tmp_path):
    """Neither the check of the data, nor a baseline, nor a score looks at a test example."""
    search = Search(method=method, low=0.001, high=1.0, trials=2, repeats=1)

    assert found_in(job_of(tmp_path, search, base, untested(data))) > 0


def test_diverged_trials_are_the_worst(tmp_path):
    """They stand in the record without a loss, and their value is not taken."""
    search = replace(OPTUNA, low=1e-3, high=1e9, repeats=1)
    rate = found_in(job_of(tmp_path, search, LINE, WINDOWS))
    tried = trials.trials_of(tmp_path, ID)
    diverged = [trial for trial in tried if trial["loss"] is None]

    assert diverged
    assert {trial["status"] for trial in diverged} == {"diverged"}
    assert rate not in {trial["value"] for trial in diverged}


@pytest.mark.parametrize("method", ["optuna", "range"])
def test_search_without_a_find_says_what_to_do(method, tmp_path):
    """Where no value lets the net learn, the words name field, range and remedy."""
    search = Search(method=method, low=1e10, high=1e20, trials=2, repeats=1)
    with pytest.raises(SearchError, match="learning_rate.*from 1e.10 to 1e.20.*lower values"):
        found_in(job_of(tmp_path, search, LINE, WINDOWS))
    with pytest.raises(SearchError):  # from the record
        found_in(job_of(tmp_path, search, LINE, WINDOWS), show=None)


class Hungry(nn.Module):
    """Asks for more memory than there is."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Raise what torch does then."""
        raise torch.OutOfMemoryError("tried to allocate much")


def hungry(outputs: int) -> nn.Module:
    """Build a net that has no room."""
    return nn.Sequential(Hungry(), nn.Linear(1, outputs))


@pytest.mark.parametrize("search", [OPTUNA, RANGE], ids=lambda search: search.method)
def test_search_without_memory_is_no_search(search, tmp_path):
    """The words say where memory ran out; the value is not to blame, and is tried again."""
    base = small_case("slow", build=hungry)
    with pytest.raises(SearchError, match="trial 1/.*: cpu has no memory left: tried to"):
        found_in(job_of(tmp_path, search, base))

    assert trials.trials_of(tmp_path, ID) is None


# the record


class CutError(Exception):
    """The search was cut here."""


def cut_after(count: int) -> Any:
    """Return what shows nothing, and ends a search as so many trainings have ended."""
    begun = []

    @contextmanager
    def show(job: Job, seeds: Any) -> Any:
        begun.append(job)
        if len(begun) > count:
            raise CutError
        yield Silent()

    return show


@pytest.mark.parametrize(
    "search", [replace(OPTUNA, trials=4, repeats=1), RANGE], ids=lambda search: search.method
)
def test_cut_search_goes_on_as_a_straight_one(search, tmp_path):
    """After each trial it may be cut: the trials are those of one that was not, to the bit."""
    straight, cut = job_of(tmp_path / "straight", search), job_of(tmp_path / "cut", search)
    found = found_in(straight)
    for _ in range(search.total - 1):
        with pytest.raises(CutError):
            found_in(cut, cut_after(2))  # what it says first, and a trial

    assert found_in(cut) == found
    assert lasting(trials.load(cut.out, ID)) == lasting(trials.load(straight.out, ID))


def test_search_that_is_over_trains_nothing(tmp_path):
    """What was found stands in the record: nothing is shown, for nothing is trained."""
    job = job_of(tmp_path, RANGE)

    assert found_in(job) == found_in(job, show=None)


def test_processes_do_not_search_the_same_at_once(tmp_path):
    """A search waits as long as another process has the case."""
    job = job_of(tmp_path, replace(RANGE, repeats=1))
    thread = threading.Thread(target=found_in, args=(job,), daemon=True)
    with store.locked(tmp_path, ID):
        thread.start()
        thread.join(0.5)

        assert trials.trials_of(tmp_path, ID) is None
    until(lambda: trials.trials_of(tmp_path, ID))
    thread.join()


@pytest.mark.parametrize(
    ("search", "base", "words"),
    [
        (replace(RANGE, low=0.001), SLOW, "search.low was 1e-05, is 0.001"),
        (OPTUNA, SLOW, "search.method was range, is optuna"),
        (RANGE, small_case("slow", learning_rate=0.01, epochs=4), "recipe.learning_rate was"),
    ],
)
def test_other_search_is_refused(search, base, words, tmp_path):
    """A search or a base that changed is not mixed with what was tried before it did."""
    found_in(job_of(tmp_path, RANGE))
    with pytest.raises(store.StoreError, match=words) as refused:
        found_in(job_of(tmp_path, search, base))

    assert f"{trials.file_of(tmp_path, ID)} is of another search" in str(refused.value)
    assert "Remove it" in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("{", "", "cannot be read"),
        ('"found": 0.', '"found": 1.', "its trials say"),
        ('"repeats": 2', '"repeats": 1', "it has 2 trials, of 1"),
        ('"high": 10.0', '"high": 0.00002', "out of reach"),
        ('"high": 10.0', '"high": 1e-9', "nothing lies between"),
        ('"status": "finished"', '"status": "lucky"', "status"),
        ("rate-slow", "rate-other", "is of another case"),
        ('"seconds"', '"minutes"', "minutes"),
    ],
)
def test_damaged_record_is_named(before, after, words, tmp_path):
    """What was changed by hand, or is no record, ends in words that name file and remedy."""
    found_in(job_of(tmp_path, RANGE))
    file = trials.file_of(tmp_path, ID)
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    with pytest.raises(store.StoreError, match=words) as refused:
        trials.trials_of(tmp_path, ID)

    assert str(file) in str(refused.value)
    assert "remove it to search afresh" in str(refused.value)


def test_trials_are_read_without_torch(tmp_path):
    """A report needs no torch for them; of a case without a search there are none."""
    found_in(job_of(tmp_path, RANGE))
    ask = (
        "import sys; from pathlib import Path; from pytest_amlnn.trials import trials_of;"
        f"out = Path({str(tmp_path)!r}); tried = trials_of(out, {ID!r});"
        "print(len(tried), len(tried[0]['curve']) > 50, trials_of(out, 'x'),"
        " 'torch' in sys.modules)"
    )

    assert subprocess.check_output([sys.executable, "-c", ask], text=True).split() == [
        "2", "True", "None", "False"
    ]  # fmt: skip


# what users give


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "grid"}, "search: method is 'grid', needs range or optuna"),
        ({"low": 0}, "search: low is 0.0, needs above 0"),
        ({"low": 2}, "search: low is 2.0, high 1.0: nothing lies between"),
        ({"field": "lr"}, "search: field is 'lr', needs one of averaging, clip_norm"),
        ({"field": "epochs"}, "search: field is 'epochs', needs one of"),
        ({"field": "momentum"}, "search: high is 1.0, needs 0 <= momentum < 1"),
        ({"method": "range", "field": "crop"}, "search: a range test finds no crop"),
        ({"trials": 0}, "search: trials is 0, needs 1 or more, at most 1000"),
        ({"repeats": 0}, "search: repeats is 0, needs 1 or more, at most 100"),
        ({"seed": -1}, "search: seed is -1, needs 0 or more"),
    ],
)
def test_bad_field_is_refused_in_words(fields, words):
    """What cannot be searched is refused as it is written down, by its field."""
    with pytest.raises(ValueError, match="^search") as refused:
        Search(**{"method": "optuna", "low": 0.001, "high": 1.0, **fields})

    assert words in str(refused.value)


def test_seeds_that_are_reported_choose_nothing(tmp_path):
    """A search with a seed among them is refused, further ones of the gate included."""
    job = job_of(tmp_path, RANGE)
    with pytest.raises(SearchError, match="seed 1001 is .* 1001 to 1003; name another"):
        tuning.with_found(job, range(1001, 1004), lambda *_: Silent())


# sweeps


@pytest.fixture
def improvements(benchmarks) -> pytest.Pytester:
    """A repository of somebody else, with a case whose learning rate is searched for."""
    benchmarks.makepyfile(test_small=BENCHMARK)
    return benchmarks


def rates(out: Path) -> dict[str, set[float]]:
    """Return the learning rates that the runs of each case were trained with."""
    runs = store.load_runs(out)
    return {
        id: {run.case["training"]["recipe"]["learning_rate"] for run in runs if run.id == id}
        for id in {run.id for run in runs}
    }


def test_found_rate_is_that_of_the_variant(run, improvements, capfd):
    """However pytest runs: the base keeps its rate, the variant has what was found, and the
    record says how. Optuna itself is silent."""
    out = improvements.path / "out"
    result = run(*ASKED)
    searched = trials.load(out, ID)
    records = [run.case for run in store.load_runs(out) if run.id == ID]
    said = "".join(capfd.readouterr())  # of workers, too

    result.assert_outcomes(passed=1)
    assert searched.found == searched.best.value != 0.001
    assert rates(out) == {BASE_ID: {0.001}, ID: {searched.found}}
    assert [record["improvement"]["search"]["high"] for record in records] == [1.0, 1.0]
    assert "searching learning_rate from 1e-05 to 1: 6 trials" in said
    assert f"found learning_rate {searched.found:.4g}" in said
    assert "study" not in said
    assert "Trial" not in said


def test_summary_has_the_trials_and_a_damaged_search_is_named(improvements):
    """Other programs find what was tried beside the verdict; what cannot be read is said."""
    out = improvements.path / "out"
    assert improvements.runpytest_inprocess("--amlnn-out=out", *ASKED).ret == 0
    (said,) = json.loads((out / "summary.json").read_text())["improvements"]
    (file,) = out.glob("searches/*.json")
    file.write_text("{")

    assert len(said["trials"]) == OPTUNA.trials
    (damaged,) = read(out).unreadable
    assert str(file.name) in damaged


@pytest.mark.slow
def test_killed_search_goes_on_as_a_straight_one(repository: Repository):
    """Killed between trials and resumed, trials and runs are those of a straight sweep."""
    (repository.folder / "test_small.py").write_text(
        BENCHMARK.replace("repeats=2", "repeats=1").replace("epochs=4", "epochs=20")
    )
    repository.run("--amlnn-out=straight", *ASKED)
    straight = trials.load(repository.folder / "straight", ID)
    out = repository.folder / "out"
    sweep = repository.start(*ASKED)
    until(lambda: len(trials.trials_of(out, ID) or ()) > 1)
    sweep.kill()
    sweep.wait()
    left = len(trials.trials_of(out, ID))
    status, text = repository.run("--amlnn-resume", *ASKED)

    assert 1 < left < straight.search.total
    assert status == 0, text
    assert lasting(trials.load(out, ID)) == lasting(straight)
    assert repository.numbers() == repository.numbers("straight")


def test_improvement_is_skipped_without_optuna(improvements, monkeypatch):
    """The reason names the command that installs it; its base is not trained for nothing."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = improvements.runpytest_inprocess("--amlnn-out=out", "-rs", *ASKED)
    plan = json.loads((improvements.path / "out" / "plan.json").read_text())

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(['*is not installed: pip install "pytest-amlnn[[]tune]"*'])
    assert [case["id"] for case in plan["cases"]] == [ID]
    assert not (improvements.path / "out" / "runs").exists()


def test_failing_search_fails_its_item_in_words(improvements):
    """Nothing but the words is shown: of a damaged record, and of seeds that are reported."""
    out = improvements.path / "out"
    file = trials.file_of(out, ID)
    file.parent.mkdir(parents=True)
    file.write_text("{")
    asked = ("--amlnn-out=out", "--amlnn-device=cpu", *ASKED)
    damaged = improvements.runpytest_inprocess(*asked)
    reported = improvements.runpytest_inprocess(*asked, "--amlnn-resume", "--amlnn-seed=1000")

    damaged.stdout.fnmatch_lines([f"{ID.replace('[', '[[]')}: {file} cannot be read*"])
    reported.stdout.fnmatch_lines(["*seed 1000 is among those that are reported, 1000 to*"])
    damaged.assert_outcomes(failed=1)
    damaged.stdout.no_fnmatch_line("*Traceback*")
