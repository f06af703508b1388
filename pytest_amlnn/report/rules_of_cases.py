"""What one case shows of how it learned: a rule each, the gravest first.

A rule gives a sentence with the numbers that it rests on, or nothing. Only the first that holds
is said of a case.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pytest_amlnn.comparison import compare
from pytest_amlnn.gates.verdict import SUSPICIOUS, Verdict
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.sentences import Sentence, sentence
from pytest_amlnn.report.words import count, number, percent, points
from pytest_amlnn.result import FINISHED

CLEAR = 0.05
"""Difference of accuracies that is worth a sentence where chance does not make it."""
SATURATED = 0.95
"""Training accuracy above which there is little left to learn from the training examples."""
FALLING = 0.03
"""Share of its validation loss that a net still loses at the end if more epochs would help."""
RISEN = 0.1
"""Share by which the validation loss ends above its lowest if training went on for too long."""
FAR = 4.0
"""Standard deviations of a share of examples that chance does not make."""
UNSURE = 0.1
"""Calibration error from which confidences are not to be taken for chances."""


def unfinished(case: Facts) -> Sentence | None:
    """Say that runs diverged, crashed or ran out of memory."""
    bad = [run for run in case.result.runs if run.status not in (FINISHED, "implausible")]
    if not bad:
        return None
    first, last = bad[0], bad[0].epochs[-1] if bad[0].epochs else None
    return sentence(
        unfinished,
        [case],
        f"{case.name} did not finish: {first.status}, {first.reason}.",
        f"{len(bad)} of {count(len(case.result.runs), 'run')} did not finish",
        last
        and f"norm of the gradient in the last epoch {number(last.gradient_norm)},"
        f" learning rate {number(last.learning_rate)}"
        or "",
    )


def implausible(case: Facts) -> Sentence | None:
    """Say that no honest run gives these answers."""
    reasons = [run.reason for run in case.result.runs if run.status == "implausible"]
    if not reasons:
        return None
    return sentence(
        implausible,
        [case],
        f"{case.name} cannot be true: {reasons[0]}.",
        f"{len(reasons)} of {count(len(case.result.runs), 'run')} are implausible",
    )


def splits_disagree(case: Facts) -> Sentence | None:
    """Say that validation and test cannot be examples of the same kind."""
    test, val, train = (case.mean(f"{n}_accuracy") for n in ("test", "val", "train"))
    if test is None or val is None or train is None:
        return None
    away = apart(test, val, case)
    if abs(away) < FAR or abs(test - val) < CLEAR:
        return None
    evidence = (
        f"test {percent(test)}, training {percent(train)}, validation {percent(val)}: test and"
        f" validation are {abs(away):.1f} standard deviations apart"
    )
    chance = case.mean("chance") or 0.0
    for name, low, high in (("validation", val, test), ("test", test, val)):
        if low < chance + CLEAR < high:
            text = (
                f"{case.name} gets {percent(high)} of the other examples right and"
                f" {percent(low)} of those of {name}, where guessing gives {percent(chance)}:"
                f" the labels of {name} are likely wrong, or in another order."
            )
            return sentence(splits_disagree, [case], text, evidence)
    if test < val or test - train < -0.5 * abs(train - val):
        return None
    text = (
        f"{case.name} knows its test examples: it gets {percent(test)} of them right, as many"
        f" as of its training examples, and {percent(val)} of validation. Test examples are"
        " likely among the training examples, so its accuracy says nothing."
    )
    return sentence("leak", [case], text, evidence)


def at_chance(case: Facts) -> Sentence | None:
    """Say that a net answers no better than by guessing."""
    chance, mean = case.mean("chance"), case.spread.mean
    tests = case.counts.get("test", 0)
    if chance is None or mean is None or case.metric.name != "test_accuracy":
        return None
    if mean > chance + (2 * math.sqrt(chance * (1 - chance) / tests) if tests else 0.0):
        return None
    train = case.mean("train_accuracy") or 0.0
    if train > chance + 2 * CLEAR:
        why = (
            f"it learns its training examples ({percent(train)}), so their labels have nothing"
            " to do with what can be seen"
        )
    elif case.moved:
        why = "its training loss falls, and nothing that it learns holds for other examples"
    else:
        why = (
            "its training loss hardly falls: look at the learning rate, the labels and whether"
            " gradients reach the weights"
        )
    return sentence(
        at_chance,
        [case],
        f"{case.name} is at chance, {percent(mean)} where guessing gives {percent(chance)};"
        f" {why}.",
        f"test {percent(mean)} of {tests:,} examples, training {percent(train)}",
        f"training loss at the end {number(case.end_of('loss'))}, norm of the gradient"
        f" {number(case.gradient)}",
    )


def noisy_labels(case: Facts) -> Sentence | None:
    """Say that training labels are harder to get right than test labels for no other reason."""
    test, train = case.mean("test_accuracy"), case.mean("train_accuracy")
    confidence = case.confidence
    if test is None or train is None or confidence is None or case.made_harder:
        return None
    settled = abs(case.change_of("accuracy") or 0.0) < CLEAR
    if not (settled and test - train > CLEAR and test - confidence > CLEAR):
        return None
    return sentence(
        noisy_labels,
        [case],
        f"{case.name} gets more of the test examples right than of its training examples, and"
        " is less sure than it is right: a part of the training labels is likely wrong.",
        f"test {percent(test)}, training {percent(train)}, mean confidence"
        f" {percent(confidence)}",
    )


def too_few_epochs(case: Facts) -> Sentence | None:
    """Say that the budget ended while the net still learned."""
    falling, train = case.still_falling, case.mean("train_accuracy") or 0.0
    if case.used_up < 0.5 or case.best_is_last < 0.5 or falling is None:
        return None
    if falling < FALLING or train > SATURATED:
        return None
    return sentence(
        too_few_epochs,
        [case],
        f"{case.name} was still learning when its budget of {case.epochs or 0:.0f} epochs was"
        " used up: more epochs are likely to help.",
        f"validation loss fell by {percent(falling)} over the last quarter;"
        f" {percent(case.best_is_last)} of its runs were best in their last epoch",
        train and f"training accuracy {percent(train)}" or "",
    )


def too_few_examples(case: Facts) -> Sentence | None:
    """Say that a net knows its training examples, and not what they have in common."""
    train, test, gap = case.mean("train_accuracy"), case.mean("test_accuracy"), case.gap
    if train is None or gap is None or gap < 3 * CLEAR or train < 0.8:
        return None
    examples = case.counts.get("train", case.size)
    return sentence(
        too_few_examples,
        [case],
        f"{case.name} overfits: it gets {percent(train)} of its {examples:,} training examples"
        f" right, and {percent(test)} of new ones. More data, augmentation or regularisation"
        " are likely to help; more epochs are not.",
        f"gap between training and test accuracy {points(gap)}",
        rise_of(case),
    )


def trained_too_long(case: Facts) -> Sentence | None:
    """Say that the validation loss rose again."""
    risen = case.risen
    if risen is None or risen < RISEN or case.best_is_last > 0.5:
        return None
    best = sorted({run.best_epoch for run in case.result.runs if run.best_epoch})
    return sentence(
        trained_too_long,
        [case],
        f"{case.name} overfits: its validation loss rose again after epoch"
        f" {' or '.join(map(str, best[:3]))}, whose weights were tested.",
        rise_of(case),
    )


def too_small(case: Facts) -> Sentence | None:
    """Say that a net cannot even fit its training examples, and no longer gets better."""
    train, gap, change = case.mean("train_accuracy"), case.gap, case.change_of("accuracy")
    if train is None or gap is None or change is None or case.made_harder:
        return None
    low = (case.mean("chance") or 0.0) + CLEAR
    if not (low < train < 0.8 and gap < 2 * CLEAR and abs(change) < 0.6 * CLEAR):
        return None
    return sentence(
        too_small,
        [case],
        f"{case.name} underfits: with {case.mean('parameters') or 0:,.0f} parameters it gets"
        f" {percent(train)} of its own training examples right, and no longer improves.",
        f"training accuracy {percent(train)}, by {points(change)} more than a quarter before;"
        f" gap to the test {points(gap)}",
    )


def no_better_than_a_line(case: Facts) -> Sentence | None:
    """Say that a linear autoregression forecasts as well."""
    ours, theirs = (
        [run.value(name) for run in case.result.runs]
        for name in ("test_mse", "autoregression_mse")
    )
    found = compare(ours, theirs, by="ratio", better="lower")
    spread = found.spread
    if spread.mean is None or spread.low is None or spread.low > 1:
        return None
    floor = case.mean("efficiency")
    against = "is worse than" if found.word == "worse" else "cannot be told from"
    return sentence(
        no_better_than_a_line,
        [case],
        f"{case.name} {against} a linear autoregression by least squares on the same windows:"
        f" {number(spread.mean)} [{number(spread.low)}, {number(spread.high)}] times as good.",
        f"MSE {number(case.mean('test_mse'))} and {number(case.mean('autoregression_mse'))},"
        f" paired by {count(len(ours), 'seed')}",
        floor is not None and f"efficiency {floor:.3f} of the oracle's 1" or "",
    )


def overconfident(case: Facts) -> Sentence | None:
    """Say that the confidences of a net are not chances of being right."""
    error, confidence, test = (
        case.calibration_error,
        case.confidence,
        case.mean("test_accuracy"),
    )
    if error is None or confidence is None or test is None or error < UNSURE:
        return None
    side = "overconfident" if confidence > test else "underconfident"
    return sentence(
        overconfident,
        [case],
        f"{case.name} is {side}: it gives its answers a chance of {percent(confidence)} on"
        f" average, and {percent(test)} of them are right.",
        f"expected calibration error {points(error)}",
    )


OfCase = Callable[[Facts], Sentence | None]
OF_CASE: tuple[OfCase, ...] = (
    unfinished,
    implausible,
    splits_disagree,
    at_chance,
    noisy_labels,
    too_few_epochs,
    too_few_examples,
    trained_too_long,
    too_small,
    no_better_than_a_line,
    overconfident,
)
WORTHLESS = {
    *("unfinished", "implausible", "splits_disagree", "leak", "at_chance"),
    SUSPICIOUS,
}
"""Rules after which a case is not compared with others."""


def of_case(case: Facts, verdict: Verdict | None) -> Sentence | None:
    """Return what is to be said of a case; what the gate finds too good comes first."""
    too_good = [j for j in verdict.judgements if j.verdict == SUSPICIOUS] if verdict else []
    if too_good and case.result.status == FINISHED:
        text = f"{case.name} is suspicious: {too_good[0].needs}."
        return sentence(SUSPICIOUS, [case], text, *too_good[0].why)
    return next((found for rule in OF_CASE if (found := rule(case))), None)


def apart(first: float, second: float, case: Facts) -> float:
    """Return by how many standard deviations shares of test and validation differ."""
    tests, validations = (case.counts.get(name, 0) for name in ("test", "validation"))
    if not tests or not validations:
        return 0.0
    both = (first * tests + second * validations) / (tests + validations)
    error = math.sqrt(max(both * (1 - both), 1e-12) * (1 / tests + 1 / validations))
    return (first - second) / error


def rise_of(case: Facts) -> str:
    """Return by how much the validation loss rose, if it did."""
    return f"validation loss ends {percent(case.risen)} above its lowest" if case.risen else ""
