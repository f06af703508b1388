"""What is said of one case: each rule by cases that trigger it, and by near misses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_facts import LEVEL, facts, forecast, runs_of, said
from small_runs import small_epoch

from pytest_amlnn import store
from pytest_amlnn.gates.limits import Limit
from pytest_amlnn.gates.verdict import SUSPICIOUS, Judgement, Verdict
from pytest_amlnn.report.groups import facts_of
from pytest_amlnn.report.rules_of_cases import OF_CASE, of_case
from pytest_amlnn.result import gather


def rule(case) -> str:
    """Return the rule of what is said of a case."""
    found = of_case(case, None)
    return found.rule if found else ""


def losses(training, validation, accuracies=None) -> list[tuple[float, ...]]:
    """Return rows of a curve with these losses, and these accuracies in training."""
    rows = zip(training, validation, strict=True)
    if accuracies is None:
        return [(loss, 0.82, other, 0.7) for loss, other in rows]
    return [(t, a, v, 0.7) for (t, v), a in zip(rows, accuracies, strict=True)]


def confident(folder, confidence: float, test: float, **changes):
    """Return the facts of a case that is as sure of its answers, and as often right."""
    right = np.arange(200) < 200 * test
    labels = (np.arange(200) // 100).astype(np.int64)
    arrays = {
        "label": labels,
        "predicted": np.where(right, labels, 1 - labels),
        "confidence": np.full(200, confidence, np.float32),
    }
    (run,) = runs_of("net", [test], **changes)
    store.save_run(folder, run, arrays, [f"{n}.png" for n in range(200)])
    return facts_of(gather(store.read_runs(folder)[0]), folder)[0]


def test_nothing_is_said_of_a_sound_case():
    """A net that ends trained, and does as well on the test, gives no rule a reason."""
    assert rule(facts()) == ""
    assert rule(forecast(metrics={"autoregression_mse": 9.0})) == ""


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("diverged", "the loss of epoch 2 is not a finite number", "unfinished"),
        ("oom", "no memory left", "unfinished"),
        ("implausible", "below chance", "implausible"),
        ("finished", "the budget is used up", ""),
    ],
)
def test_runs_that_did_not_finish_come_first(status, reason, expected):
    """A run that failed is named with its reason, and how many did."""
    case = facts(status=status, reason=reason)
    found = of_case(case, None)

    assert rule(case) == expected
    assert not expected or reason in found.text
    assert not expected or found.evidence[0].startswith("3 of 3 runs")


def test_gradient_of_a_diverged_run_is_shown_where_it_is_a_number():
    """The norm before the end is evidence; one that is no number is left out."""
    shown = facts(status="diverged", reason="x", epochs=(small_epoch(gradient_norm=1e9),))
    hidden = facts(
        status="diverged", reason="x", epochs=(small_epoch(gradient_norm=float("nan")),)
    )

    assert "1e+09 in epoch 1" in of_case(shown, None).evidence[1]
    assert len(of_case(hidden, None).evidence) == 1


@pytest.mark.parametrize(
    ("test", "validation", "train", "expected"),
    [
        (0.80, 0.30, 0.85, "splits_disagree"),  # validation at chance, a third
        (0.36, 0.80, 0.85, "splits_disagree"),  # the test is
        (0.80, 0.75, 0.85, ""),  # chance makes as much
        (0.95, 0.60, 0.97, "leak"),
        (0.75, 0.60, 0.97, "too_few_examples"),  # no more than a gap
    ],
)
def test_splits_that_cannot_be_alike(test, validation, train, expected):
    """Test and validation lie apart: labels are wrong, or the test is among the training."""
    rows = [(0.1, train, 0.4, validation)] * 4
    metrics = {"train_accuracy": train, "val_accuracy": validation}
    case = facts("net", [test] * 3, rows=rows, metrics=metrics)
    for run in case.result.runs:
        run.data["counts"].update(test=400, validation=200)

    assert rule(case) == expected


def test_wrong_labels_are_those_of_the_split_at_chance():
    """It is said of which split the labels are wrong."""
    metrics = {"train_accuracy": 0.85, "val_accuracy": 0.30}
    case = facts("net", [0.8] * 3, metrics=metrics)

    assert "the validation labels are likely wrong" in of_case(case, None).text


@pytest.mark.parametrize(
    ("test", "rows", "words"),
    [
        (0.34, losses([1.1] * 4, [1.1] * 4, [0.35] * 4), "hardly falls"),
        (0.34, losses([1.1, 0.9, 0.8, 0.7], [1.1] * 4, [0.35] * 4), "its training loss falls"),
        (0.34, losses([1.1, 0.8, 0.4, 0.1], [1.1] * 4, [0.4, 0.6, 0.8, 0.9]), "(90.0 % right"),
        (0.50, losses([1.1, 0.8, 0.4, 0.1], [1.1] * 4, [0.4, 0.6, 0.8, 0.9]), ""),
    ],
)
def test_net_at_chance(test, rows, words):
    """A net that guesses is told by what its training did."""
    metrics = {"train_accuracy": 0.35, "val_accuracy": 0.35}
    case = facts("net", [test] * 3, rows=rows, metrics=metrics)

    assert (rule(case) == "at_chance") is bool(words)
    assert words in of_case(case, None).text if words else True


@pytest.mark.parametrize(
    ("error", "training", "expected"),
    [
        (4.0, [1.0, 1.0, 1.0, 1.0], "worse_than_the_last_value"),
        (4.0, [1.0, 0.5, 0.4, 0.39], "no_better_than_a_line"),  # it learns something
        (2.0, [1.0, 1.0, 1.0, 1.0], "no_better_than_a_line"),
    ],
)
def test_forecaster_that_learns_nothing(error, training, expected):
    """Repeating the last value, with an error of 3, would do better than a net at rest."""
    case = forecast(values=[error, error + 0.1, error - 0.1], rows=losses(training, training))

    assert rule(case) == expected


@pytest.mark.parametrize(
    ("train", "confidence", "changes", "expected"),
    [
        (0.70, 0.70, {}, "noisy_labels"),
        (0.88, 0.70, {}, "overconfident"),  # training examples are no harder
        (0.70, 0.88, {}, ""),  # it is as sure as it is right
        (0.70, 0.70, {"recipe": {"label_smoothing": 0.1}}, "overconfident"),
        (0.70, 0.70, {"recipe": {"transforms": {"mixup": 0.2}}}, "overconfident"),
    ],
)
def test_noisy_labels(tmp_path, train, confidence, changes, expected):
    """Training examples are harder than the test's, and nothing in the recipe makes them so."""
    rows = [(0.8, train, 0.5, 0.9)] * 4
    metrics = {"train_accuracy": train, "val_accuracy": 0.88}
    case = confident(tmp_path, confidence, 0.9, rows=rows, metrics=metrics, **changes)

    assert rule(case) == expected


def test_net_that_still_learns_is_no_proof_of_noise(tmp_path):
    """A training accuracy that rises is that of a worse net, on average over the epoch."""
    rows = losses([1.4, 1.2, 1.0, 0.8], [1.2, 1.0, 0.8, 0.6], [0.3, 0.4, 0.55, 0.7])
    metrics = {"train_accuracy": 0.7, "val_accuracy": 0.88}

    assert rule(confident(tmp_path, 0.7, 0.9, rows=rows, metrics=metrics)) == "too_few_epochs"


def test_unstable_training():
    """A training loss that leaps up is told with epoch, seed and norm; a small rise is none."""
    leaps = facts(rows=losses([1.0, 2.0, 0.9, 0.5], [1.0, 1.5, 1.0, 0.9]))
    rises = facts(rows=losses([1.0, 1.4, 0.9, 0.86], [1.0, 1.5, 1.0, 0.99]))

    assert (
        "in epoch 2 of seed 0 its training loss rose from 1 to 2" in of_case(leaps, None).text
    )
    assert rule(rises) == ""


FALLING = losses([1.4, 1.2, 1.0, 0.8], [1.5, 1.3, 1.2, 1.1])


@pytest.mark.parametrize(
    ("rows", "changes", "expected"),
    [
        (FALLING, {}, "too_few_epochs"),
        (losses([1.4, 1.2, 1.0, 0.95], [1.5, 1.3, 1.2, 1.1]), {}, ""),  # learns hardly more
        (losses([1.4, 1.2, 1.0, 0.8], [1.5, 1.3, 1.2, 1.19]), {}, ""),  # nor of what holds
        (losses([1.4, 1.2, 1.0, 0.8], [1.5, 1.3, 1.2, 1.25]), {}, ""),  # not best at the end
        (FALLING, {"recipe": {"epochs": 9}}, ""),  # patience ended it
        (FALLING, {"metrics": {"train_accuracy": 0.97}}, "too_few_examples"),
    ],
)
def test_too_few_epochs(rows, changes, expected):
    """Both losses still fall when the budget is used up, and there is something to learn."""
    assert rule(facts(rows=rows, **changes)) == expected


def test_end_of_a_short_training_is_its_last_epoch():
    """What fell when is said in epochs: a quarter of three epochs is one."""
    short = of_case(facts(rows=FALLING[1:]), None).text
    long = of_case(
        facts(rows=losses([8 - 0.5 * n for n in range(8)], [8 - 0.5 * n for n in range(8)])),
        None,
    )

    assert "over the last epoch its training loss" in short
    assert "over the last 2 epochs its training loss" in long.text


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (0.95, 0.70, True),
        (0.95, 0.85, False),
        (0.70, 0.55, False),
        (0.72, 0.41, True),
        (0.70, 0.41, False),
    ],
)
def test_too_few_examples(train, test, expected):
    """A net overfits that knows its own examples far better: a wide gap, or one over all."""
    metrics = {"train_accuracy": train, "val_accuracy": test}
    case = facts("net", [test] * 3, metrics=metrics)

    assert (rule(case) == "too_few_examples") is expected


@pytest.mark.parametrize(
    ("end", "before", "test", "expected"),
    [
        (0.60, 0.59, 0.60, "too_small"),
        (0.90, 0.89, 0.90, ""),  # it fits
        (0.60, 0.50, 0.60, ""),  # it still gets better
        (0.60, 0.59, 0.45, ""),  # it overfits
    ],
)
def test_net_too_small(end, before, test, expected):
    """A net that does not fit its own examples, and no longer gets better, is too small."""
    rows = losses([0.9] * 4, [0.9] * 4, [0.5, 0.55, before, end])
    metrics = {"train_accuracy": end, "val_accuracy": test}

    assert rule(facts("net", [test] * 3, rows=rows, metrics=metrics)) == expected


@pytest.mark.parametrize(
    ("training", "validation", "expected"),
    [
        ([1.0, 0.8, 0.7, 0.6], [1.0, 0.8, 1.0, 1.1], "trained_too_long"),
        ([1.0, 0.8, 0.7, 0.6], [1.0, 0.8, 0.82, 0.83], ""),  # hardly rose
        ([1.0, 0.8, 0.8, 0.8], [1.0, 0.8, 1.0, 1.1], ""),  # it did not go on to learn
    ],
)
def test_trained_too_long(training, validation, expected):
    """The validation loss rises again while the training loss falls on."""
    case = facts(rows=losses(training, validation))

    assert rule(case) == expected
    assert not expected or "after epoch 2" in of_case(case, None).text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((1.4, 1.5, 1.3), "cannot be told from"),
        ((2.4, 2.5, 2.3), "is worse than"),
        ((0.7, 0.8, 0.7), ""),
        ((1.4,), ""),  # one seed tells of no spread
    ],
)
def test_no_better_than_a_line(values, words):
    """A net is measured by the linear autoregression, whose error is 1.4, pair by pair."""
    found = of_case(forecast(values=values), None)

    assert words in found.text if words else found is None


def test_confidence_that_is_no_chance(tmp_path):
    """A net that is surer than right is overconfident, one that is less, underconfident."""
    metrics = {"train_accuracy": 0.7, "val_accuracy": 0.7}
    over = confident(tmp_path / "over", 0.9, 0.7, metrics=metrics, rows=[LEVEL] * 4)
    near = confident(tmp_path / "near", 0.75, 0.7, metrics=metrics, rows=[LEVEL] * 4)

    assert "is overconfident" in of_case(over, None).text
    assert rule(near) == ""


def test_what_the_gate_finds_too_good_comes_first():
    """A suspicious verdict is said before any rule, with what the gate says."""
    judgement = Judgement(
        limit=Limit(case="", metric="test_accuracy"),
        value=0.9,
        reference=0.5,
        verdict=SUSPICIOUS,
        margin=0.1,
        why=("40 points above",),
    )
    found = of_case(facts(rows=FALLING), Verdict(name=SUSPICIOUS, judgements=(judgement,)))

    assert found.rule == SUSPICIOUS


def test_worthless_case_stands_in_no_comparison():
    """A net at chance is named first; nothing is compared with it."""
    bad = facts("bad", [0.33] * 3, metrics={"train_accuracy": 0.35, "val_accuracy": 0.33})
    found = said(bad, facts("good"), facts("other"))

    assert found[0].rule == "at_chance"
    assert all("bad" not in one.text for one in found[1:])


def test_every_rule_of_cases_is_tried():
    """No rule is added without a test here that names it."""
    text = Path(__file__).read_text(encoding="utf-8")

    assert [one.__name__ for one in OF_CASE if one.__name__ not in text] == []
