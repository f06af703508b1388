"""Why one of two cases is better: a rule each, asked where it is more than chance.

A rule gives a sentence with the numbers that it rests on, or nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pytest_amlnn.answers import right_of_answers
from pytest_amlnn.report.differences import MODELS, SIZES, STARTS, Difference
from pytest_amlnn.report.facts import difference
from pytest_amlnn.report.rules_of_cases import CLEAR
from pytest_amlnn.report.sentences import Sentence, sentence
from pytest_amlnn.report.words import count, listed, number, percent, points
from pytest_amlnn.statistics import mean_of

FITS = 0.9
"""Ratio of training losses from which one net fits its examples better."""
COSTS = 1.5
"""Ratio of costs that is worth a sentence."""
MOSTLY = 0.5
"""Share of a difference that lies in two classes if they are worth naming."""


def trained_weights(found: Difference) -> Sentence | None:
    """Say what weights knew before training."""
    start, after = (found.better.mean(f"{when}_accuracy") for when in ("start", "val"))
    if found.kind != STARTS or start is None:
        return None
    return sentence(
        trained_weights,
        [found.better, found.worse],
        f"{found.better.name} starts from weights that get {percent(start)} of the validation"
        f" examples right before the first step, and {percent(after)} after the last.",
        f"accuracy before training {percent(start)}, after it {percent(after)}; from random"
        f" weights {percent(found.worse.mean('val_accuracy'))}",
    )


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How two nets fit their own training examples."""

    better: bool
    """Whether the one that is better on the test also fits them better, clearly."""
    worse: bool
    words: str
    """Both values."""


def fit(found: Difference) -> Fit | None:
    """Return how two nets fit their training examples: by accuracy, or by loss."""
    ours, theirs = (case.mean("train_accuracy") for case in (found.better, found.worse))
    if ours is not None and theirs is not None:
        return Fit(
            better=ours - theirs > CLEAR,
            worse=theirs - ours > CLEAR,
            words=f"training accuracy {percent(ours)} against {percent(theirs)}",
        )
    ours, theirs = (case.best_loss() for case in (found.better, found.worse))
    if ours is None or theirs is None or min(ours, theirs) <= 0:
        return None
    return Fit(
        better=ours / theirs < FITS,
        worse=theirs / ours < FITS,
        words=f"training loss {number(ours)} against {number(theirs)}",
    )


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
        f" {found.worse.name} and fits its training examples better: {fits.words}.",
        f"parameters {ours:,.0f} and {theirs:,.0f}; {fits.words}",
    )


def learns_more(found: Difference) -> Sentence | None:
    """Say that a net that is not larger fits its training examples better."""
    fits = fit(found)
    if found.kind != MODELS or not fits or not fits.better:
        return None
    ours, theirs = (case.mean("parameters") or 0 for case in (found.better, found.worse))
    epochs = [f"{case.epochs or 0:.0f}" for case in (found.better, found.worse)]
    spent = epochs[0] if len({*epochs}) == 1 else f"{epochs[0]} against {epochs[1]}"
    return sentence(
        learns_more,
        [found.better, found.worse],
        f"In {spent} epochs {found.better.model} fits its training examples better than"
        f" {found.worse.model}: {fits.words}. Size is not the reason: it has {ours:,.0f}"
        f" parameters against {theirs:,.0f}.",
        f"{fits.words}; norm of the gradient {number(found.better.gradient)} and"
        f" {number(found.worse.gradient)}",
    )


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
        f"{found.better.name} loses less between training and test than {found.worse.name}:"
        f" {points(ours)} against {points(theirs)}.",
        fits.words,
    )


def overfits_less(found: Difference) -> Sentence | None:
    """Say that a net fits its training examples worse, and other examples better."""
    fits = fit(found)
    if found.kind != MODELS or found.better.gap is not None or not fits or not fits.worse:
        return None
    losses = [number(case.best_loss(validation=True)) for case in (found.better, found.worse)]
    return sentence(
        overfits_less,
        [found.better, found.worse],
        f"{found.better.name} fits its training examples less closely than {found.worse.name},"
        f" and forecasts others better: {fits.words}.",
        f"{fits.words}; validation loss {losses[0]} against {losses[1]}",
    )


def data_closes_the_gap(found: Difference) -> Sentence | None:
    """Say what more data do to the gap between training and test."""
    gaps = difference(found.worse.gap, found.better.gap)
    large, small = found.better, found.worse
    if found.kind != SIZES or gaps is None or large.size < small.size or gaps < CLEAR:
        return None
    return sentence(
        data_closes_the_gap,
        [large, small],
        f"With {large.size:,} instead of {small.size:,} examples {large.model} loses"
        f" {points(large.gap)} instead of {points(small.gap)} between training and test.",
        f"gap {points(small.gap)} at {small.size:,}, {points(large.gap)} at {large.size:,};"
        f" {number(large.steps)} steps of training instead of {number(small.steps)}",
    )


# what it looks like


def answers_that_differ(found: Difference) -> Sentence | None:
    """Say which test examples one gets right and the other does not, and of which classes."""
    if found.kind == SIZES or not (found.better.classified and found.worse.classified):
        return None
    pairs = [*zip(found.better.answers, found.worse.answers, strict=False)]
    if any(list(ours["names"]) != list(theirs["names"]) for ours, theirs in pairs):
        return None
    gained = [right_of_answers(ours) & ~right_of_answers(theirs) for ours, theirs in pairs]
    lost = [right_of_answers(theirs) & ~right_of_answers(ours) for ours, theirs in pairs]
    labels = pairs[0][0]["label"]
    net: Counter[int] = Counter()
    for more, less in zip(gained, lost, strict=True):
        net.update(labels[more].tolist())
        net.subtract(labels[less].tolist())
    total, first = sum(net.values()), net.most_common(2)
    names = found.better.classes
    if total <= 0 or len(names) <= max(net):
        return None
    each = [f"{names[label]} {gain / len(pairs):+.1f}" for label, gain in net.most_common()]
    most = sum(gain for _, gain in first) / total
    where = "It is spread over the classes"
    if most > MOSTLY and len(net) > 2:
        where = f"{percent(min(most, 1))} of that lies in {listed(each[:2])}"
    return sentence(
        answers_that_differ,
        [found.better, found.worse],
        f"Of {len(labels):,} test examples {found.better.model} gets"
        f" {mean_of([int(g.sum()) for g in gained]):.0f} right that {found.worse.model} does"
        f" not, and {found.worse.model} {mean_of([int(x.sum()) for x in lost]):.0f} that"
        f" {found.better.model} does not. {where}.",
        f"mean of {count(len(pairs), 'pair')} of runs; by class {listed(each, 6)}",
    )


def costs_more(found: Difference) -> Sentence | None:
    """Say that what is better also takes longer, or that it does not."""
    ours, theirs = (case.mean("train_seconds") for case in (found.better, found.worse))
    if found.kind == SIZES or not ours or not theirs:
        return None
    if found.better.result.contended or found.worse.result.contended:
        return None
    more = ours / theirs
    if 1 / COSTS < more < COSTS:
        return None
    flops = [case.mean("flops_per_sample") for case in (found.better, found.worse)]
    words = f"{more:.1f} times as long" if more > 1 else f"{1 / more:.1f} times less time"
    return sentence(
        costs_more,
        [found.better, found.worse],
        f"{found.better.model} takes {words}: {number(ours)} s of training against"
        f" {number(theirs)} s.",
        f"operations of a forward pass {number(flops[0])} and {number(flops[1])}",
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
    """Return what explains a difference that is sure, and what it looks like."""
    first = next((one for rule in REASONS if (one := rule(found))), None)
    return [*filter(None, [first, answers_that_differ(found), costs_more(found)])]
