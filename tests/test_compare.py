"""`amlnn compare A B`: verdicts and exit statuses, from run directories and summaries."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import small_run, sweep
from small_sweeps import ID, epoch_with, runs_with

from pytest_amlnn import report, store
from pytest_amlnn.cli import main
from pytest_amlnn.gates.bounds import typical
from pytest_amlnn.gates.measured import right_of

GOOD, BAD = typical(8, 0.7, 0.01), typical(8, 0.5, 0.01)


def sweep_of(folder: Path, accuracies, **changes):
    """Write a run directory, reports included."""
    runs = runs_with(accuracies, **changes)
    made = sweep(folder, runs, seeds=[run.seed for run in runs])
    report.write(made)
    return made


@pytest.fixture
def base(tmp_path):
    """A sweep that others are compared with."""
    return sweep_of(tmp_path / "base", GOOD)


SIDES = {
    "the same bits": (GOOD, {}, 0, "identical"),
    "another draw": (GOOD[::-1], {}, 0, "passed"),
    "worse": (BAD, {}, 1, "regressed"),
    "better": (typical(8, 0.9, 0.01), {}, 1, "suspicious"),
    "a single seed": ([0.7], {}, 0, "passed"),
    "other seeds": (GOOD, {"first": 50}, 0, "passed"),
    "other seeds, and worse": (BAD, {"first": 50}, 1, "regressed"),
    "other data": (BAD, {"data": {"digest": "1" * 64}}, 0, "not comparable"),
}


OF_BITS = {"the same bits"}
"""A summary says nothing of bits."""


@pytest.mark.parametrize(
    ("form", "kind"),
    [("folder", kind) for kind in SIDES]
    + [("summary", kind) for kind in SIDES if kind not in OF_BITS],
)
def test_exit_status_follows_from_the_verdicts(form, kind, base, tmp_path, capsys):
    """0 where nothing is worse, 1 for worse and for better than chance allows."""
    accuracies, changes, status, verdict = SIDES[kind]
    now = sweep_of(tmp_path / "now", accuracies, **changes)
    if form == "summary":
        base, now = base / "summary.json", now / "summary.json"
    found = main(["compare", str(base), str(now)])
    said = capsys.readouterr().out

    assert f" {verdict}\n" in said
    assert found == status


def test_what_is_undecided_fails_where_it_is_strict(base, tmp_path, capsys):
    """With --strict, 3 where a case is not decided, not comparable, or was not run."""
    other = sweep_of(tmp_path / "other", GOOD, data={"digest": "1" * 64})
    runs = [*runs_with(GOOD), *runs_with(GOOD, id="test_small[more]")]
    both = sweep(tmp_path / "both", runs, seeds=range(8))

    assert main(["compare", str(base), str(other)]) == 0
    assert main(["compare", "--strict", str(base), str(other)]) == 3
    assert main(["compare", "--strict", str(both), str(base)]) == 3
    assert f"only in {both}: test_small[more]" in capsys.readouterr().out
    assert main(["compare", "--strict", str(base), str(both)]) == 0


def test_pairs_that_leave_it_open_say_how_many_would_decide(tmp_path, capsys):
    """Where pairs say neither that it is worse nor that it is not, it is said how many would;
    as many of the same kind do."""

    def compared(count):
        base = [0.7 + 0.1 * (seed % 2) for seed in range(count)]
        now = [b - 0.06 + 0.02 * (-1) ** (seed // 2) for seed, b in enumerate(base)]
        before = sweep_of(tmp_path / f"before {count}", base)
        after = sweep_of(tmp_path / f"after {count}", now)
        main(["compare", str(before), str(after)])
        return capsys.readouterr().out

    (found,) = re.findall(
        r"paired by 4 seeds; (\d+) seeds on both sides would decide", compared(4)
    )
    assert "inconclusive" not in compared(int(found))


def test_likely_cause_is_told_against_another_sweep(tmp_path, capsys):
    """What the training shows of the cause is told against a sweep as against a calibration."""
    plain = epoch_with(1.0)
    base = sweep_of(tmp_path / "base", GOOD, epochs=(plain,))
    slower = replace(plain, learning_rate=plain.learning_rate / 10)
    now = sweep_of(tmp_path / "now", BAD, epochs=(slower,))

    assert main(["compare", str(base), str(now)]) == 1
    assert "likely cause: 0.1 times the learning rate in the first" in capsys.readouterr().out


def test_pairs_that_agree_by_rounding_are_no_proof(tmp_path, capsys):
    """Accuracies lie on a grid: two pairs with the same difference say nothing of how much
    pairs differ."""
    base = sweep_of(tmp_path / "base", [0.68, 0.66])
    now = sweep_of(tmp_path / "now", [0.66, 0.64])

    assert main(["compare", str(base), str(now)]) == 0
    assert "inconclusive" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["folder", "summary"])
def test_runs_are_compared_with_a_single_one(form, tmp_path, capsys):
    """A baseline of one run decides as well, once several seeds stand against it."""
    base = sweep_of(tmp_path / "base", [0.7])
    place = base if form == "folder" else base / "summary.json"
    same = sweep_of(tmp_path / "same", typical(4, 0.7, 0.02), first=1)
    worse = sweep_of(tmp_path / "worse", typical(4, 0.2, 0.02), first=1)

    assert main(["compare", str(place), str(same)]) == 0
    assert main(["compare", str(place), str(worse)]) == 1
    assert "4 runs against one" in capsys.readouterr().out


def test_case_that_did_not_finish_before_is_not_comparable(base, tmp_path, capsys):
    """What went wrong in the sweep that others are compared with is told, and counted."""
    runs = [*runs_with(GOOD[:7]), small_run(ID, 7, status="diverged", reason="too fast")]
    runs += runs_with(GOOD, id="test_small[more]")
    before = sweep(tmp_path / "before", runs, seeds=range(8))
    now = sweep_of(tmp_path / "now", GOOD)

    assert main(["compare", "--strict", str(before), str(now)]) == 3
    assert "seed 7: diverged: too fast" in capsys.readouterr().out


def test_summary_knows_its_data(tmp_path, capsys):
    """A summary.json has the digest of each run's data: other data are not comparable."""
    base = sweep_of(tmp_path / "base", GOOD) / "summary.json"
    now = sweep_of(tmp_path / "now", BAD, data={"digest": "1" * 64}) / "summary.json"

    assert main(["compare", str(base), str(now)]) == 0
    assert "not comparable" in capsys.readouterr().out


def test_case_that_did_not_finish_is_worse(base, tmp_path, capsys):
    """A run that diverged on the new side is worse, whatever the others say."""
    runs = [*runs_with(GOOD[:7]), small_run(ID, 7, status="diverged", reason="too fast")]
    now = sweep(tmp_path / "now", runs, seeds=range(8))

    assert main(["compare", str(base), str(now)]) == 1
    assert "seed 7: diverged: too fast" in capsys.readouterr().out


def test_first_epoch_that_differs_is_named(tmp_path, capsys):
    """Equal training, environment and seed, and other bits: some code that is not on record
    changed what is computed, and it is said since which epoch, whatever the verdict."""
    epochs = (epoch_with(1.0), epoch_with(0.9), epoch_with(0.8))
    changed = (epochs[0], epoch_with(0.91), epochs[2])
    base = sweep_of(tmp_path / "base", GOOD, epochs=epochs)
    training = sweep_of(tmp_path / "training", GOOD, epochs=changed)
    test = sweep_of(tmp_path / "test", GOOD[::-1], epochs=epochs)

    assert main(["compare", str(base), str(training)]) == 0
    assert "seed 0 has the same training and environment, and other bits from epoch 2 on" in (
        capsys.readouterr().out
    )
    main(["compare", str(base), str(test)])
    assert "other bits from the test on" in capsys.readouterr().out


USAGE = {
    "nothing there": (lambda f: f / "nowhere", "there is no such run directory or summary"),
    "another profile": (
        lambda f: altered(f, lambda s: s | {"profile": "full"}),
        "is of the profile full",
    ),
    "another schema": (
        lambda f: altered(f, lambda s: s | {"schema": 9}),
        "was written by another version",
    ),
    "no summary": (lambda f: altered(f, lambda s: {"a": 1}), "is no record of pytest-amlnn"),
    "values that are missing": (
        lambda f: altered(f, lambda s: cut(s)),
        "values of 8 seeds",
    ),
    "empty": (lambda f: altered(f, lambda s: s | {"cases": []}), "no case of it has finished"),
    "answers gone": (lambda f: without_answers(f), "is gone"),
}


def altered(folder, change):
    file = folder / "summary.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    return file


def cut(plain):
    plain["cases"][0]["metrics"]["test_accuracy"]["runs"].pop()
    return plain


def without_answers(folder):
    run = store.load_run(store.run_file(folder, ID, 0))
    store.save_run(folder, run, {"label": np.zeros(3)}, ["a", "b", "c"])
    store.run_file(folder, ID, 0).with_suffix(".safetensors").unlink()
    return folder


@pytest.mark.parametrize("kind", USAGE)
def test_what_cannot_be_compared_is_a_usage_error(kind, base, tmp_path, capsys):
    """2, and words, for a side that is not there, damaged, empty, or of another profile."""
    make, words = USAGE[kind]
    now = sweep_of(tmp_path / "now", GOOD)

    assert main(["compare", str(make(base)), str(now)]) == 2
    assert words in capsys.readouterr().err


def test_summary_of_the_first_schema_is_read(base, tmp_path):
    """A summary.json that an earlier version wrote is compared as far as it says."""

    def older(plain):
        for case in plain["cases"]:
            del case["judged_by"]
        plain["environment"] = {}
        return plain | {"schema": 1}

    now = sweep_of(tmp_path / "now", BAD)

    assert main(["compare", str(altered(base, older)), str(now)]) == 1


# one run on each side


def with_answers(folder: Path, right: np.ndarray) -> Path:
    """Write a run directory of one run, whose answers are right where `right` is."""
    run = runs_with([float(right.mean())])[0]
    made = sweep(folder, [])
    labels = np.zeros(len(right), dtype=np.int64)
    answers = {"label": labels, "predicted": (~right).astype(np.int64)}
    store.save_run(made, run, answers, [str(i) for i in range(len(right))])
    return made


def test_one_run_on_each_side_is_compared_example_by_example(tmp_path, capsys):
    """Nets of one seed each are told apart by their answers, with room for what another seed
    would have changed."""
    rng = np.random.default_rng(0)
    before = rng.random(500) < 0.7
    slightly = before ^ (rng.random(500) < 0.05)
    broken = rng.random(500) < 0.1
    base = with_answers(tmp_path / "base", before)

    assert main(["compare", str(base), str(with_answers(tmp_path / "a", slightly))]) == 0
    assert " inconclusive\n" in capsys.readouterr().out
    assert main(["compare", str(base), str(with_answers(tmp_path / "b", broken))]) == 1
    assert "test examples were right and are wrong" in capsys.readouterr().out


def test_right_answers_are_kept_as_bits(tmp_path):
    """What was right of each test example survives its way through the record."""
    from pytest_amlnn.gates.baseline import read

    right = np.random.default_rng(1).random(37) < 0.5
    (found,) = read(with_answers(tmp_path / "a", right)).values()

    assert right_of(found.right) == right.tolist()


def test_changed_fields_are_named(base, tmp_path, capsys):
    """A verdict on a changed recipe names what changed."""
    runs = runs_with(BAD)
    recipe = {**runs[0].case["training"]["recipe"], "epochs": 1}
    training = {**runs[0].case["training"], "recipe": recipe}
    runs = [replace(run, case={**run.case, "training": training}) for run in runs]
    now = sweep(tmp_path / "now", runs, seeds=range(8))

    assert main(["compare", str(base), str(now)]) == 1
    assert "changed: recipe.epochs was 3, is 1" in capsys.readouterr().out
