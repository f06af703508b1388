"""Which cases a report compares, and whether their difference can be told from chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pytest_amlnn.answers import right_of_answers
from pytest_amlnn.gates.pairs import SEEDS_DIFFER
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.words import points
from pytest_amlnn.result import FINISHED
from pytest_amlnn.statistics import (
    NORMAL,
    SURE,
    deviation,
    holm,
    mean_of,
    t_quantile,
    two_sided,
)

LARGEST = 1e50
"""Of values that are squared twice."""
ENOUGH = 3
"""Seeds from which their spread is estimated."""
MODELS, SIZES, STARTS = "models", "sizes", "starts"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How the better one of two cases stands against the other."""

    kind: str
    """What is compared: `models`, `sizes` of the data, or `starts`."""
    better: Facts
    worse: Facts
    away: float
    """By how much it is better, never below 0."""
    low: float | None
    high: float | None
    """95 % interval of the difference; None where too few runs tell."""
    chance: float
    """Of a difference so large either way, if there were none; 1 where nothing tells."""
    adjusted: float = 1.0
    """The same, for as many comparisons as could have been drawn (Holm)."""
    among: int = 1
    """So many comparisons could have been drawn."""
    how: str
    """How it was compared, in words."""

    @property
    def sure(self) -> bool:
        """Whether it can be told from chance."""
        return self.adjusted < SURE

    @property
    def rests_on(self) -> int | None:
        """The seed without which little is left of it: one lucky run, or one bad one.

        It stands out: every other seed's difference is less than half as large.
        """
        ours, theirs = self.better, self.worse
        common = [seed for seed in ours.result.seeds if seed in theirs.result.seeds]
        if len(common) < 3 or len(common) != len(ours.result.seeds):
            return None
        each = {seed: sign(ours) * (value(ours, seed) - value(theirs, seed)) for seed in common}
        seed, most = max(each.items(), key=lambda pair: pair[1])
        rest = [away for other, away in each.items() if other != seed]
        stands_out = max(map(abs, rest)) < 0.5 * most
        return seed if stands_out and math.fsum(rest) <= 0.25 * most else None


def sign(facts: Facts) -> float:
    """Return 1 where a higher value is better, -1 where a lower one is."""
    return -1.0 if facts.metric.better == "lower" else 1.0


def value(facts: Facts, seed: int) -> float:
    """Return the value of the metric for a seed."""
    found = facts.spread.runs[facts.result.seeds.index(seed)]
    return math.nan if found is None else found


# which are compared


def drawn(cases: Iterable[Facts]) -> list[Difference]:
    """Return all comparisons that a report draws, in order of the tables.

    The best model of a dataset and size against each of the others, the same model on the next
    larger size, and the same model from random and from trained weights.
    """
    known = [case for case in cases if comparable(case)]
    pairs: list[tuple[str, Facts, Facts]] = []
    hidden = 0
    for group in grouped(known, models_of):
        best, *others = ranked(group)
        pairs += [(MODELS, best, case) for case in others]
        # the best one was chosen by these numbers: all pairs could have been drawn
        hidden += math.comb(len(others), 2)
    for group in grouped(known, sizes_of):
        ordered = sorted(group, key=lambda case: case.size)
        pairs += [
            (SIZES, large, small)
            for small, large in pairwise(ordered)
            if small.size < large.size
        ]
    for group in grouped(known, starts_of):
        pairs += [
            (STARTS, first, second)
            for first, second in pairwise(group)
            if first.result.training["start"] != second.result.training["start"]
        ]
    return with_holm([compared(kind, *pair) for kind, *pair in pairs], hidden)


def with_holm(found: Sequence[Difference], hidden: int = 0) -> list[Difference]:
    """Return differences with their chances adjusted for how many they are.

    `hidden` counts those that could have been drawn as well.
    """
    among = len(found) + hidden
    chances = holm([difference.chance for difference in found], among)
    return [
        replace(d, adjusted=chance, among=among)
        for d, chance in zip(found, chances, strict=True)
    ]


def comparable(case: Facts) -> bool:
    """Return whether all runs of a case finished, so that it has a mean."""
    values = case.spread.runs
    known = all(value is not None and abs(value) <= LARGEST for value in values)
    return case.result.status == FINISHED and known


def line_of(case: Facts) -> tuple[object, ...]:
    """Return what rows have in common that differ in model and size alone."""
    training = case.result.training
    start, variant = str(training["start"]), case.result.case["variant"]
    return (*same(case), training["dataset"], start, variant)


def models_of(case: Facts) -> tuple[object, ...]:
    """Return what rows have in common whose models are compared."""
    return (*line_of(case), case.size)


def sizes_of(case: Facts) -> tuple[object, ...]:
    """Return what rows have in common whose sizes are compared."""
    return (*line_of(case), case.model)


def starts_of(case: Facts) -> tuple[object, ...]:
    """Return what rows have in common whose starts are compared."""
    training = case.result.training
    variant = case.result.case["variant"]
    return (*same(case), training["model"], training["dataset"], case.size, variant)


def same(case: Facts) -> tuple[object, ...]:
    """Return what all rows have in common that are compared at all."""
    return (case.result.case["family"], case.result.training["task"], case.metric.name)


Key = Callable[[Facts], Hashable]


def grouped(cases: Sequence[Facts], key: Key) -> list[list[Facts]]:
    """Return cases by what they have in common, in their order; no single ones."""
    found: dict[Hashable, list[Facts]] = {}
    for case in cases:
        found.setdefault(key(case), []).append(case)
    return [group for group in found.values() if len(group) > 1]


def ranked(group: Sequence[Facts]) -> list[Facts]:
    """Return cases from best to worst."""
    return sorted(group, key=lambda case: -sign(case) * (case.spread.mean or 0.0))


# how they differ


def compared(kind: str, first: Facts, second: Facts) -> Difference:
    """Compare two cases: by seeds that both have, as two samples, or example by example.

    Two seeds tell too little of how much seeds differ: it takes three.
    """
    runs = (known(first), known(second))
    fewest = min(map(len, runs))
    away = mean_of(runs[0]) - mean_of(runs[1])
    error: float | None
    if fewest >= ENOUGH and first.result.seeds == second.result.seeds:
        away, error, freedom, how = paired(first, second, first.result.seeds)
    elif fewest >= ENOUGH:
        error, freedom, how = two_samples(*runs)
    else:
        error, freedom, how = one_run(first, second)
    away *= sign(first)
    better, worse = (first, second) if away >= 0 else (second, first)
    found = Difference(
        kind=kind,
        better=better,
        worse=worse,
        away=abs(away),
        low=None,
        high=None,
        chance=1.0,
        how=how,
    )
    if error is None:
        return found
    half = t_quantile(max(1, min(round(freedom), NORMAL))) * error
    p = two_sided(abs(away), error, freedom)
    return replace(found, low=abs(away) - half, high=abs(away) + half, chance=p)


def known(case: Facts) -> list[float]:
    """Return the values of the metric, one a run."""
    return [value for value in case.spread.runs if value is not None]


def paired(
    first: Facts, second: Facts, seeds: Sequence[int]
) -> tuple[float, float, float, str]:
    """Return the mean over pairs with the same seed, and its standard error."""
    pairs = [value(first, seed) - value(second, seed) for seed in seeds]
    count = len(pairs)
    error = max(deviation(pairs), one_example(first)) / math.sqrt(count)
    return mean_of(pairs), error, count - 1, f"paired by {count} seeds"


def one_example(case: Facts) -> float:
    """Return what one test example is of a share: three equal differences are no proof."""
    metric, tests = case.metric, case.result.tests
    return 1 / tests if metric.share and metric.of_examples and tests else 0.0


def two_samples(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, str]:
    """Return the standard error of a difference of means, and Welch's degrees of freedom."""
    parts = [deviation(values) ** 2 / len(values) for values in (ours, theirs)]
    total = math.fsum(parts)
    below = math.fsum(p**2 / (len(v) - 1) for p, v in zip(parts, (ours, theirs), strict=True))
    freedom = total**2 / below if below else 1.0
    return math.sqrt(total), freedom, f"{len(ours)} seeds against {len(theirs)}"


def one_run(first: Facts, second: Facts) -> tuple[float | None, float, str]:
    """Return the standard error of one run against one, example by example (McNemar 1947).

    Two trainings that differ by chance alone give nets that differ, too: for that a variance
    between seeds is added.
    """
    counts = [len(case.result.runs) for case in (first, second)]
    alone = max(counts) == 1 and first.metric.name == "test_accuracy"
    if not (alone and first.classified and second.classified):
        few = "one seed each" if max(counts) == 1 else " and ".join(map(str, counts)) + " seeds"
        return None, NORMAL, f"{few}: how much seeds differ is not known"
    ours, theirs = (right_of_answers(case.answers[0]) for case in (first, second))
    count = len(ours)
    if list(first.answers[0]["names"]) != list(second.answers[0]["names"]):
        return None, NORMAL, "their test examples differ"
    gained, lost = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    between = (gained + lost + 1) / count**2  # of equals; and of few examples never nothing
    error = math.sqrt(between + 2 * SEEDS_DIFFER**2)
    how = (
        f"one seed each on {count:,} test examples, with an assumed standard"
        f" deviation of {points(SEEDS_DIFFER)} between seeds"
    )
    return error, NORMAL, how
