"""What makes the result of a case worth nothing: a rule each, the gravest first.

A rule gives a sentence with the numbers that it rests on, or nothing.
"""

from __future__ import annotations

import math

from pytest_amlnn.gates.verdict import SUSPICIOUS
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.sentences import Sentence, sentence
from pytest_amlnn.report.words import count, known, number, percent
from pytest_amlnn.result import FINISHED
from pytest_amlnn.statistics import UNLIKELY, chance_of_so_many

CLEAR = 0.05
"""Difference of accuracies that is worth a sentence where chance does not make it."""
FAR = 4.0
"""Standard deviations of a share of examples that chance does not make."""


def unfinished(case: Facts) -> Sentence | None:
    """Say that runs diverged, crashed or ran out of memory."""
    bad = [run for run in case.result.runs if run.status not in (FINISHED, "implausible")]
    if not bad:
        return None
    first = bad[0]
    evidence = [f"{len(bad)} of {count(len(case.result.runs), 'run')} did not finish"]
    norms = [epoch.gradient_norm for epoch in first.epochs]
    evidence += [
        f"norm of the gradient {number(norm)} in epoch {epoch}"
        for epoch, norm in [*enumerate(norms, 1)][-1:]
        if known(norm)
    ]
    text = f"{case.name} did not finish: {first.status}, {first.reason.rstrip('.')}."
    return sentence(unfinished, [case], text, *evidence)


def implausible(case: Facts) -> Sentence | None:
    """Say that no honest run gives these answers."""
    reasons = [run.reason for run in case.result.runs if run.status == "implausible"]
    if not reasons:
        return None
    return sentence(
        implausible,
        [case],
        f"The result of {case.name} cannot be true: {reasons[0].rstrip('.')}.",
        f"{len(reasons)} of {count(len(case.result.runs), 'run')} are implausible",
    )


def splits_disagree(case: Facts) -> Sentence | None:
    """Say that labels of validation or test are wrong: one is at chance, the other is not."""
    chance, found = case.mean("chance"), accuracies(case)
    if chance is None or found is None:
        return None
    test, validation, _ = found
    for name, other, low, high in (
        ("validation", "test", validation, test),
        ("test", "validation", test, validation),
    ):
        if low < chance + CLEAR < high:
            text = (
                f"{case.name} gets {percent(high)} of the {other} examples right, and"
                f" {percent(low)} of the {name} examples, where guessing gives"
                f" {percent(chance)}: the {name} labels are likely wrong, or in another order."
            )
            return sentence(splits_disagree, [case], text, *disagreement(case))
    return None


def leak(case: Facts) -> Sentence | None:
    """Say that test examples are among the training examples."""
    found = accuracies(case)
    if found is None or trained_on_noise(case):
        return None
    test, validation, train = found
    if test < validation or test - train < -0.5 * abs(train - validation):
        return None
    text = (
        f"{case.name} knows its test examples: it gets {percent(test)} of them right, and"
        f" {percent(train)} of its training examples, but {percent(validation)} of the"
        " validation examples. Test examples are likely among the training examples, so its"
        " accuracy says nothing."
    )
    return sentence(leak, [case], text, *disagreement(case))


def accuracies(case: Facts) -> tuple[float, float, float] | None:
    """Return those of test, validation and training; None unless the first two disagree."""
    test, validation, train = (case.mean(f"{n}_accuracy") for n in ("test", "val", "train"))
    if test is None or validation is None or train is None:
        return None
    if abs(test - validation) < CLEAR or abs(apart(test, validation, case)) < FAR:
        return None
    return test, validation, train


def disagreement(case: Facts) -> list[str]:
    """Return by how much validation and test disagree, and on how many examples."""
    test, validation = (case.mean(f"{name}_accuracy") or 0.0 for name in ("test", "val"))
    return [
        f"{case.counts['test']:,} test and {case.counts['validation']:,} validation examples:"
        f" {abs(apart(test, validation, case)):.1f} standard deviations apart",
    ]


def apart(first: float, second: float, case: Facts) -> float:
    """Return by how many standard deviations shares of test and validation differ."""
    tests, validations = (case.counts.get(name, 0) for name in ("test", "validation"))
    if tests <= 0 or validations <= 0:
        return 0.0
    both = (first * tests + second * validations) / (tests + validations)
    error = math.sqrt(max(both * (1 - both), 1e-12) * (1 / tests + 1 / validations))
    return (first - second) / error


def trained_on_noise(case: Facts) -> bool:
    """Return whether a net is right more often than in training, and than it is sure of.

    One that still learns is, too: its training accuracy is that of a worse net, on average.
    """
    test, train = case.mean("test_accuracy"), case.end_of("accuracy")
    sure, change = case.confidence, case.change_of("accuracy")
    if test is None or train is None or sure is None or change is None or case.made_harder:
        return False
    return abs(change) < CLEAR and test - train > CLEAR and test - sure > CLEAR


def at_chance(case: Facts) -> Sentence | None:
    """Say that a net answers no better than by guessing."""
    chance, mean = case.mean("chance"), case.spread.mean
    tests = case.counts.get("test", 0)
    if chance is None or mean is None or case.metric.name != "test_accuracy":
        return None
    if tests > 0 and chance_of_so_many(tests, tests, chance) > UNLIKELY:
        return None  # so few examples tell nothing
    if tests > 0 and chance_of_so_many(round(mean * tests), tests, chance) < UNLIKELY:
        return None
    if tests <= 0 and mean > chance:
        return None
    train = case.end_of("accuracy")
    return sentence(
        at_chance,
        [case],
        f"{case.name} is at chance, {percent(mean)} where guessing gives {percent(chance)}"
        f"{why_at_chance(case, chance)}.",
        f"{tests:,} test examples",
        f"training accuracy {percent(train)} in the last epoch" if train is not None else "",
        *training_loss(case),
    )


def why_at_chance(case: Facts, chance: float) -> str:
    """Return what the training shows of a net that is at chance."""
    train = case.end_of("accuracy")
    if train is not None and train > chance + 2 * CLEAR:
        return (
            f"; it learns its training examples ({percent(train)} right in the last epoch), and"
            " nothing of that holds for others: they are too few, their labels have nothing to"
            " do with the inputs, or training and test inputs are not alike"
        )
    if case.moved:
        return "; its training loss falls, and nothing that it learns holds for other examples"
    if case.moved is None:
        return ""
    return (
        "; its training loss hardly falls: look at the learning rate, the labels and whether"
        " gradients reach the weights"
    )


def worse_than_the_last_value(case: Facts) -> Sentence | None:
    """Say that a net learns nothing of a series: its last value would be a better forecast."""
    ours, naive = case.mean("test_mse"), case.mean("last_value_mse")
    if ours is None or naive is None or ours <= naive or case.moved is not False:
        return None
    return sentence(
        worse_than_the_last_value,
        [case],
        f"{case.name} forecasts worse than by repeating the last value, MSE {number(ours)}"
        f" against {number(naive)}; its training loss hardly falls: look at the learning rate,"
        " the targets and whether gradients reach the weights.",
        *training_loss(case),
    )


def training_loss(case: Facts) -> list[str]:
    """Return what the training loss did, as evidence."""
    first, last = case.start_of("loss"), case.end_of("loss")
    if first is None or last is None:
        return []
    norm = f", norm of the gradient {number(case.gradient)}" if known(case.gradient) else ""
    return [f"training loss from {number(first)} to {number(last)}{norm}"]


FAULTS = (
    unfinished,
    implausible,
    splits_disagree,
    leak,
    at_chance,
    worse_than_the_last_value,
)
WORTHLESS = {*(rule.__name__ for rule in FAULTS), SUSPICIOUS}
"""Rules after which a case is not compared with others."""
