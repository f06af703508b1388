"""Tables below the comparison: differences one by one, time to a target, classes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_amlnn.answers import right_of_answers
from pytest_amlnn.report import scaling
from pytest_amlnn.report.certainty import interval_of
from pytest_amlnn.report.differences import Difference
from pytest_amlnn.report.facts import Facts, score_of
from pytest_amlnn.report.groups import by_dataset, groups
from pytest_amlnn.report.rules_of_pairs import confounders
from pytest_amlnn.report.values import Cell, Table, words
from pytest_amlnn.report.words import chance, listed, number, percent, points
from pytest_amlnn.result import Epoch, Run
from pytest_amlnn.statistics import Spread, spread

# differences

DIFFERENCES = (
    "Differences are paired by seed where seeds are the same. p is the chance of so large a"
    " difference between equals, adjusted (Holm) for all pairs that could have been compared:"
    " below 0.05 a difference is more than chance."
)


def differences(found: Sequence[Difference]) -> Table | None:
    """Return all comparisons that a report draws, a row each; None where there are none."""
    if not found:
        return None
    heads = ("better", "worse", "metric", "by", "95 %", "p", "verdict", "recipes differ in")
    return Table(
        title="Comparisons", heads=heads, rows=tuple(map(row_of, found)), note=DIFFERENCES
    )


def row_of(found: Difference) -> tuple[Cell, ...]:
    """Return the row of a comparison."""
    fields = [field.partition(":")[0].rpartition(".")[2] for field in confounders(found)]
    share = found.better.metric.share
    by = spread([found.away])
    return (
        words(found.better.name),
        words(found.worse.name),
        words(found.better.metric.name),
        Cell(spread=by, scale=100.0 if share else 1.0, format="{:.1f}" if share else "{:.3g}"),
        words(interval_of(found)),
        words(chance(found.adjusted), found.adjusted),
        words("better" if found.sure else "not distinguishable"),
        words(listed(fields, 6)),
    )


# time to a target

TARGETS = (
    "The target is what half of the models of a size reach on validation with every seed."
    " Seconds are of training, from the start to the end of the first epoch that reaches it."
)


def targets(cases: Sequence[Facts]) -> Table | None:
    """Return how long each case trains to reach what half of its rivals reach (AlgoPerf)."""
    rows = [row for group in groups(cases).values() for row in targets_of(group)]
    if not rows:
        return None
    heads = ("model", "case", "target", "seconds", "epochs", "reached by")
    return Table(title="Time to a target", heads=heads, rows=tuple(rows), note=TARGETS)


def targets_of(group: Sequence[Facts]) -> Iterator[tuple[Cell, ...]]:
    """Give the rows of the cases of a size."""
    known = [case for case in group if all(run.epochs for run in case.result.runs)]
    if len(known) < 2:
        return
    score = "accuracy" if "accuracy" in known[0].result.runs[0].epochs[0].validation else "loss"
    sign = -1.0 if score == "loss" else 1.0
    worst = sorted(min(best_of(run, score, sign) for run in c.result.runs) for c in known)
    target = sign * worst[len(worst) // 2]
    if not math.isfinite(target):
        return
    shown = percent(target) if score == "accuracy" else number(target)
    for case in known:
        times = [reached(run, score, sign, sign * target) for run in case.result.runs]
        done = [pair for pair in times if pair is not None]
        seconds = (
            spread([pair[0] for pair in done], low=0.0) if len(done) == len(times) else None
        )
        epochs = " ".join(str(pair[1]) for pair in done)
        yield (
            words(case.model),
            words(case.name),
            words(f"{score} {shown}"),
            Cell(spread=seconds or UNKNOWN, format="{:.2f}", interval=True),
            words(epochs),
            words(f"{len(done)} of {len(times)} seeds"),
        )


UNKNOWN = Spread(mean=None, sd=None, low=None, high=None, runs=())


def best_of(run: Run, score: str, sign: float) -> float:
    """Return the best validation score of a run, turned so that more is better."""
    return max(worth(epoch, score, sign) for epoch in run.epochs)


def worth(epoch: Epoch, score: str, sign: float) -> float:
    """Return a validation score, turned so that more is better; -inf where there is none."""
    value = score_of(epoch, score, True)
    return -math.inf if value is None else sign * value


def reached(run: Run, score: str, sign: float, target: float) -> tuple[float, int] | None:
    """Return seconds of training and epochs until a run reached a target; None if never."""
    seconds = 0.0
    for count, epoch in enumerate(run.epochs, 1):
        seconds += epoch.seconds.get("train", 0.0)
        if worth(epoch, score, sign) >= target:
            return seconds, count
    return None


# scaling

POWERS = (
    "Error and training time as powers of the size of the data, fitted seed by seed by least"
    " squares on logarithms; intervals are Student's t over the seeds. The error is what a"
    " share lacks of 1, or the metric itself where less is better. Through two sizes a power"
    " law always passes: it takes three to see whether it is one."
)


def powers(cases: Sequence[Facts]) -> Table | None:
    """Return the exponents of each model that was trained on several sizes."""
    known = [case for case in cases if case.spread.mean is not None]
    rows = [
        (
            words(model),
            words(f"{family} on {dataset}"),
            words(", ".join(f"{case.size:,}" for case in line)),
            words(scaling.error_label(line[0])),
            Cell(spread=scaling.exponent(line, scaling.errors), format="{:.2f}", interval=True),
            Cell(
                spread=scaling.exponent(line, scaling.seconds), format="{:.2f}", interval=True
            ),
        )
        for (family, dataset), group in by_dataset(known).items()
        for model, line in scaling.lines_of(group).items()
    ]
    if not rows:
        return None
    heads = ("model", "data", "sizes", "error", "exponent of error", "exponent of time")
    return Table(title="Exponents", heads=heads, rows=tuple(rows), note=POWERS)


# classes

SAID = (
    "Shares of the test examples of a class that are got right, over all seeds. Confused: what"
    " examples of a class were called instead, and how often. ECE is the expected calibration"
    " error."
)
NAMED = 3


def classes(cases: Sequence[Facts], environment: Mapping[str, Any]) -> Table | None:
    """Return the best and worst classes of each case, and what is confused; None of no case."""
    known = [case for case in cases if case.classified and case.classes]
    rows = [row for case in known if (row := classes_of(case, environment))]
    if not rows:
        return None
    heads = ("model", "case", "best classes", "worst classes", "confused", "ECE")
    return Table(title="Classes", heads=heads, rows=tuple(rows), note=SAID)


def classes_of(case: Facts, environment: Mapping[str, Any]) -> tuple[Cell, ...] | None:
    """Return the row of a case; None where labels are no classes."""
    named = names_of_classes(case, environment)
    seen: Counter[int] = Counter()
    right: Counter[int] = Counter()
    confused: Counter[tuple[int, int]] = Counter()
    for said in case.answers:
        hits = right_of_answers(said)
        seen.update(said["label"].tolist())
        right.update(said["label"][hits].tolist())
        pairs = zip(
            said["label"][~hits].tolist(), said["predicted"][~hits].tolist(), strict=True
        )
        confused.update(pairs)
    if not seen or not set(named) >= {*seen, *(label for pair in confused for label in pair)}:
        return None
    ranked = sorted(seen, key=lambda label: (-right[label] / seen[label], label))
    shown = min(NAMED, len(ranked) // 2 or 1)
    shares = [f"{named[label]} {100 * right[label] / seen[label]:.0f} %" for label in ranked]
    wrong = [f"{named[a]} as {named[b]} ({n})" for (a, b), n in confused.most_common(NAMED)]
    return (
        words(case.model),
        words(case.name),
        words(", ".join(shares[:shown])),
        words(", ".join(reversed(shares[-shown:]))),
        words(", ".join(wrong)),
        words(points(case.calibration_error)),
    )


def names_of_classes(case: Facts, environment: Mapping[str, Any]) -> dict[int, str]:
    """Return the classes of a case in words, as far as its dataset has any."""
    datasets = environment.get("datasets")
    said = datasets.get(case.result.training["dataset"]) if isinstance(datasets, dict) else None
    found = said.get("words") if isinstance(said, dict) else None
    known = found if isinstance(found, dict) else {}
    return {
        label: str(known.get(name, name)).partition(",")[0]
        for label, name in enumerate(case.classes)
    }
