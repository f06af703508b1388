"""Why one of two cases is better: a rule each, asked where it is more than chance.

A rule gives a sentence with the numbers that it rests on, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from pytest_amlnn.comparison import compare
from pytest_amlnn.report.differences import ENOUGH, MODELS, SIZES, STARTS, Difference
from pytest_amlnn.report.facts import Facts, difference
from pytest_amlnn.report.rules_of_faults import CLEAR
from pytest_amlnn.report.sentences import Sentence, sentence
from pytest_amlnn.report.words import number, percent, points

FITS, FITS_SURELY = 1.1, 1.02
"""Ratios of training losses from which one net fits its examples better: of few seeds, and of
as many as tell it from chance."""
COSTS = 1.5
"""Ratio of costs that is worth a sentence."""


def trained_weights(found: Difference) -> Sentence | None:
    """Say what weights knew before training."""
    start, after = (found.better.mean(f"{when}_accuracy") for when in ("start", "val"))
    if found.kind != STARTS or start is None or after is None:
        return None
    random = found.worse.mean("val_accuracy")
    return sentence(
        trained_weights,
        [found.better, found.worse],
        f"{found.better.name} starts from weights that get {percent(start)} of the validation"
        f" examples right before the first step, and {percent(after)} after the last.",
        f"{found.worse.name} ends with {percent(random)}" if random is not None else "",
    )


# how they fit their training examples


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How two nets fit their own training examples."""

    better: bool
    """Whether the one that is better on the test also fits them better, clearly."""
    worse: bool
    words: str
    """Both values."""


def fit(found: Difference) -> Fit | None:
    """Return how two nets fit their training examples: by accuracy, or by loss.

    Nothing where one of them has the harder examples, as by augmentation.
    """
    if found.better.made_harder != found.worse.made_harder:
        return None
    ours, theirs = (case.mean("train_accuracy") for case in (found.better, found.worse))
    if ours is not None and theirs is not None:
        return Fit(
            better=ours - theirs > CLEAR,
            worse=theirs - ours > CLEAR,
            words=f"training accuracy {percent(ours)} against {percent(theirs)}",
        )
    return fit_by_loss(found.better, found.worse)


def fit_by_loss(first: Facts, second: Facts) -> Fit | None:
    """Return how two nets fit their training examples, by the losses of the tested epochs."""
    ours, theirs = first.best_loss(), second.best_loss()
    if ours is None or theirs is None or min(ours, theirs) <= 0:
        return None
    least, paired = FITS, first.result.seeds == second.result.seeds
    if paired and len(first.result.seeds) >= ENOUGH:
        losses = (first.best_losses(), second.best_losses())
        least = FITS_SURELY if compare(*losses, by="ratio").word in ("better", "worse") else inf
    return Fit(
        better=theirs / ours > least,
        worse=ours / theirs > least,
        words=f"training loss {number(ours)} against {number(theirs)}",
    )


def against(found: Difference, name: str) -> str:
    """Return a fact of both cases, `1,000 against 2,000`; nothing where either lacks it."""
    ours, theirs = (case.mean(name) for case in (found.better, found.worse))
    return "" if ours is None or theirs is None else f"{ours:,.0f} against {theirs:,.0f}"


def spent(found: Difference) -> str:
    """Return what was spent on both, and how steep their losses were."""
    parts = []
    steps = [case.steps for case in (found.better, found.worse)]
    if steps[0] is not None and steps[1] is not None:
        parts.append(f"{steps[0]:,.0f} steps of training against {steps[1]:,.0f}")
    norms = [case.gradient for case in (found.better, found.worse)]
    if norms[0] is not None and norms[1] is not None:
        parts.append(f"norm of the gradient {number(norms[0])} against {number(norms[1])}")
    return "; ".join(parts)


def examples_of(case: Facts) -> str:
    """Return what a case learns from, in words."""
    return "training windows" if case.forecasts else "training examples"


def larger_net(found: Difference) -> Sentence | None:
    """Say that a net with more parameters fits its training examples better."""
    ours, theirs = (case.mean("parameters") for case in (found.better, found.worse))
    fits = fit(found)
    if found.kind != MODELS or not ours or not theirs or not fits or not fits.better:
        return None
    if ours < 2 * theirs:
        return None
    return sentence(
        larger_net,
        [found.better, found.worse],
        f"{found.better.name} has {ours / theirs:.1f} times the parameters of"
        f" {found.worse.name} and fits its {examples_of(found.better)} better: {fits.words}.",
        f"parameters {against(found, 'parameters')}",
        spent(found),
    )


def learns_more(found: Difference) -> Sentence | None:
    """Say that a net that is not much larger fits its training examples better."""
    fits = fit(found)
    if found.kind != MODELS or not fits or not fits.better:
        return None
    ours, theirs = (case.mean("parameters") for case in (found.better, found.worse))
    smaller = ours is not None and theirs is not None and ours <= theirs
    size = f", though it is no larger ({against(found, 'parameters')} parameters)"
    return sentence(
        learns_more,
        [found.better, found.worse],
        f"{found.better.name} fits its {examples_of(found.better)} better than"
        f" {found.worse.name}{size if smaller else ''}: {fits.words}.",
        f"parameters {both}" if (both := against(found, "parameters")) and not smaller else "",
        spent(found) or fits.words,
    )


# what they make of it


def generalises_better(found: Difference) -> Sentence | None:
    """Say that a net loses less between training and test."""
    ours, theirs, fits = found.better.gap, found.worse.gap, fit(found)
    if ours is None or theirs is None or not fits or found.kind == SIZES:
        return None
    if theirs - ours < CLEAR:
        return None
    return sentence(
        generalises_better,
        [found.better, found.worse],
        f"{found.better.name} generalises better than {found.worse.name}: the gap between"
        f" training and test accuracy is {points(ours)} against {points(theirs)}.",
        fits.words,
    )


def overfits_less(found: Difference) -> Sentence | None:
    """Say that a net fits its training examples worse, and other examples better."""
    fits = fit(found)
    if found.kind != MODELS or found.better.gap is not None or not fits or not fits.worse:
        return None
    losses = [case.best_loss(validation=True) for case in (found.better, found.worse)]
    return sentence(
        overfits_less,
        [found.better, found.worse],
        f"{found.better.name} fits its {examples_of(found.better)} less closely than"
        f" {found.worse.name}, and is better on others: {fits.words}.",
        f"validation loss {number(losses[0])} against {number(losses[1])}",
    )


def data_closes_the_gap(found: Difference) -> Sentence | None:
    """Say what more data do to the gap between training and test."""
    gaps = difference(found.worse.gap, found.better.gap)
    large, small = found.better, found.worse
    if found.kind != SIZES or gaps is None or large.size < small.size or gaps < CLEAR:
        return None
    accuracies = [percent(case.mean("train_accuracy")) for case in (large, small)]
    return sentence(
        data_closes_the_gap,
        [large, small],
        f"With {large.size:,} instead of {small.size:,} examples the gap between training and"
        f" test accuracy of {large.model} falls from {points(small.gap)} to"
        f" {points(large.gap)}.",
        f"training accuracy {accuracies[0]} against {accuracies[1]}",
    )


def more_steps(found: Difference) -> Sentence | None:
    """Say that more data were also more steps of training."""
    small, large = sorted((found.better, found.worse), key=lambda case: case.size)
    ours, theirs = large.steps, small.steps
    if found.kind != SIZES or not ours or not theirs or ours < COSTS * theirs:
        return None
    return sentence(
        more_steps,
        [found.better, found.worse],
        f"More data also meant more training: {ours:,.0f} steps instead of {theirs:,.0f}. How"
        " much of the difference either makes is not tested here.",
        f"{number(large.epochs)} epochs against {number(small.epochs)}",
    )


def unexplained(found: Difference) -> Sentence:
    """Say that none of the facts above tells the two cases apart."""
    fits = fit(found)
    gaps = [case.gap for case in (found.better, found.worse)]
    facts = [
        fits.words if fits else "",
        f"parameters {both}" if (both := against(found, "parameters")) else "",
        f"gap {points(gaps[0])} against {points(gaps[1])}" if None not in gaps else "",
        spent(found),
    ]
    known = [*filter(None, facts)]
    return sentence(
        unexplained,
        [found.better, found.worse],
        f"What was measured does not explain the difference of {found.better.name} and"
        f" {found.worse.name}.",
        *(known or ["0 facts of both are known"]),
    )


OfPair = Callable[[Difference], Sentence | None]
REASONS: tuple[OfPair, ...] = (
    trained_weights,
    larger_net,
    learns_more,
    generalises_better,
    overfits_less,
    data_closes_the_gap,
)
"""Of a difference that is sure, the first that holds is said."""


def reasons(found: Difference) -> list[Sentence]:
    """Return what explains a difference that is sure."""
    first = next((one for rule in REASONS if (one := rule(found))), None)
    steps = more_steps(found)
    return [*filter(None, [first, steps])] or [unexplained(found)]
