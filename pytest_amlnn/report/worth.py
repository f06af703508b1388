"""What a change is worth, as sentences, tables and figures say it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from pytest_amlnn.gates.bounds import MOST_SEEDS
from pytest_amlnn.improvements import HELPS, HURTS, IDENTICAL, NOT_COMPARABLE, OPEN, Worth
from pytest_amlnn.report.words import number, verb

SMALL = "too small to matter"
"""Of a change that is not distinguishable, and whose bounds are within what matters."""
MARKS = {HELPS: "good", HURTS: "bad", OPEN: "open", NOT_COMPARABLE: "open"}
"""How verdicts are shown; the others are decided, and nothing to act on."""
SIGNS = {HELPS: "▲", HURTS: "▼", OPEN: "○", SMALL: "◆", IDENTICAL: "□"}
"""What stands for a verdict in a forest plot."""
LEGEND = ", ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items())
ALIKE = 0.1
"""By how much a cost may differ that is not worth a word."""


def bases_of(worths: Sequence[Worth]) -> dict[str, str]:
    """Return what each base is called: the text between the brackets where that tells it."""
    labels = {worth.effect.base.id: str(worth.effect.base.case["label"]) for worth in worths}
    counts = Counter(labels.values())
    return {id: label if counts[label] == 1 else id for id, label in labels.items()}


def verdict_of(worth: Worth) -> str:
    """Return a verdict as a reader sees it."""
    return SMALL if worth.verdict == OPEN and worth.small else worth.verdict


def shown(worth: Worth, value: float) -> str:
    """Return a difference, or a bound of it, in as many digits as its bounds tell."""
    if worth.effect.metric.share:
        return f"{100 * value:.1f}"
    half = ((worth.high or 0.0) - (worth.low or 0.0)) / 2
    places = 1 - math.floor(math.log10(half)) if half > 0 else -1
    return f"{value:.{places}f}" if 0 < places < 7 and abs(value) < 1000 else number(value)


def amount(worth: Worth) -> str:
    """Return how large a difference is."""
    metric, value = worth.effect.metric, abs(worth.difference or 0.0)
    return f"{shown(worth, value)} {'points' if metric.share else f'of {metric.name}'}"


def bounds(worth: Worth, *, turned: bool = False) -> str:
    """Return the bounds of a difference, `turned` as of a loss; nothing without any."""
    if worth.low is None or worth.high is None or worth.verdict == IDENTICAL:
        return ""
    low, high = (-worth.high, -worth.low) if turned else (worth.low, worth.high)
    return f"[{shown(worth, low)}, {shown(worth, high)}]"


def signed(worth: Worth) -> str:
    """Return a difference with its bounds: `+4.1 [2.0, 6.2]`, of a share in points."""
    if worth.difference is None:
        return "-"
    plus = "+" if worth.difference > 0 else ""
    return f"{plus}{shown(worth, worth.difference)} {bounds(worth)}".strip()


def by(worth: Worth) -> str:
    """Say by how much a change helps or hurts; nothing where no value tells."""
    if worth.difference is None:
        return f" ({worth.why})"
    turned = worth.verdict == HURTS
    said = f" by {amount(worth)} {bounds(worth, turned=turned)}".rstrip()
    if worth.low is None:
        return f"{said} ({worth.why})"
    return f"{said}, less than matters," if worth.small else said


def cost(worth: Worth) -> str:
    """Say what else a change takes: training time, or operations where times tell nothing."""
    for ratio, noun in (
        (worth.effect.seconds, "training time"),
        (worth.effect.operations, "number of operations"),
    ):
        if ratio is not None:
            many = f"{ratio:.1f}" if 1 <= ratio < 1000 else times(ratio)
            return "" if abs(ratio - 1) <= ALIKE else f" at {many} times the {noun}"
    return ""


def times(ratio: float | None) -> str:
    """Return a ratio of costs."""
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if 0.01 <= ratio < 1000 else number(ratio)


def remark(worth: Worth) -> str:
    """Return what a reader has to know besides the verdict."""
    if worth.verdict in (HELPS, HURTS) and worth.low is not None:
        return "less than matters" if worth.small else ""
    if worth.verdict == OPEN:
        return needs(worth) if worth.is_open else ""
    return "" if worth.verdict == IDENTICAL else short(worth)


def short(worth: Worth) -> str:
    """Return what is behind a verdict, without details."""
    return worth.why.partition(": ")[0]


def needs(worth: Worth) -> str:
    """Say how many seeds would decide what is open."""
    if worth.chance is None:
        return short(worth)
    if worth.needs_seeds is None:
        return f"{MOST_SEEDS} seeds would not decide"
    return f"{worth.needs_seeds} seeds would decide"


def helped_and_hurt(worths: Sequence[Worth]) -> str:
    """Say how many changes help, and how many hurt."""
    helps, hurts = (sum(w.verdict == verdict for w in worths) for verdict in (HELPS, HURTS))
    return f"{helps or 'none'} {verb('help', helps)}, {hurts or 'none'} {verb('hurt', hurts)}"
