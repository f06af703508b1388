"""What the gate says of a result, as values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pytest_amlnn.escapes import visible
from pytest_amlnn.gates.limits import Limit

IDENTICAL, PASSED, NOT_COMPARABLE = "identical", "passed", "not comparable"
INCONCLUSIVE, SUSPICIOUS, REGRESSED = "inconclusive", "suspicious", "regressed"
SEVERITY = (IDENTICAL, PASSED, NOT_COMPARABLE, INCONCLUSIVE, SUSPICIOUS, REGRESSED)
RED = (REGRESSED, SUSPICIOUS)
UNDECIDED = (INCONCLUSIVE, NOT_COMPARABLE)
"""Fail only where the gate is strict."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One limit, the value that was measured, and what follows."""

    limit: Limit
    value: float | None
    verdict: str
    reference: float | None = None
    margin: float | None = None
    low: float | None = None
    """Bounds of the difference of the value to the reference, at the family's level."""
    high: float | None = None
    needs_seeds: int | None = None
    """So many seeds in all would decide; of an inconclusive one."""
    chance: float | None = None
    """Of a false alarm as large as this, over the level that the limit has of its own; None
    where chance plays no part."""
    why: tuple[str, ...] = ()
    """What is behind the verdict, in sentences."""
    odd: bool = False
    """Whether it is to be shown even where the limit is kept: the same training, other bits."""

    def __str__(self) -> str:
        text = f"{self.limit.case}: {self.verdict}: {'; '.join((self.needs, *self.why))}"
        return visible(f"{text} ({self.limit.where})" if self.limit.where else text)

    @property
    def needs(self) -> str:
        """Metric, value and bounds, in words."""
        sides = {"at_least": "at least", "at_most": "at most", "exactly": "exactly"}
        exactly = "exactly" in self.limit.bounds
        needs = [
            f"{sides[name]} {shown(bound, exactly)}"
            for name, bound in self.limit.bounds.items()
        ]
        value = "no value" if self.value is None else shown(self.value, exactly)
        text = f"{self.limit.metric} is {value}"
        if needs:
            text += f", needs {' and '.join(needs)}"
        if self.reference is not None:
            text += f", {self.against}"
        return text

    @property
    def against(self) -> str:
        """The reference, and what is known of the difference to it, in words."""
        reference, value = self.reference or 0.0, self.value
        text = f"reference {reference:.4g}"
        if self.margin is not None:
            text += f" with a margin of {self.margin:.2g}"
        if value is not None and (self.low is not None or self.high is not None):
            ends = [
                f"{end:+.2g}" if end is not None else "unknown" for end in (self.low, self.high)
            ]
            text += f": {value - reference:+.2g} [{ends[0]}, {ends[1]}]"
        return text


def shown(value: float, exactly: bool) -> str:
    """Return a number with four digits, or with all that make a difference."""
    if not exactly:
        return f"{value:.4g}"
    return str(int(value)) if value == int(value) else repr(value)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says of a result."""

    name: str | None
    """The worst judgement; None where the case has no limit or the gate is off."""
    judgements: tuple[Judgement, ...] = ()
    enforced: bool = True
    strict: bool = False
    """Whether what is not decided fails, too."""

    @property
    def failing(self) -> tuple[Judgement, ...]:
        """Judgements that fail the item, if the gate is enforced."""
        red = (*RED, *UNDECIDED) if self.strict else RED
        return tuple(j for j in self.judgements if j.verdict in red)

    @property
    def passed(self) -> bool:
        """Whether the item may be green."""
        return not (self.enforced and self.failing)

    @property
    def message(self) -> str:
        """Each limit that was not kept, with case, metric, value and limit."""
        return "\n".join(str(j) for j in self.judgements if j.verdict not in KEPT)

    @property
    def brief(self) -> str:
        """The first limit that was not kept, for pytest's line with the case's name."""
        return self.failing[0].needs if self.failing else ""

    def __repr__(self) -> str:
        return self.message or str(self.name)


KEPT = (IDENTICAL, PASSED)


def decided(
    low: float | None, high: float | None, gain: float | None, *, margin: float, gains: float
) -> str:
    """Return the verdict that bounds of a difference give; None where nothing bounds it.

    Higher is better. `gain` is what the value is better by at least, `gains` how much of that
    is too good to be true.
    """
    if gain is not None and gain > gains:
        return SUSPICIOUS
    if low is not None and (low > -margin or low >= 0):
        return PASSED
    return REGRESSED if high is not None and high < 0 else INCONCLUSIVE


def verdict_of(
    judgements: Collection[Judgement], *, enforced: bool = True, strict: bool = False
) -> Verdict:
    """Return what judgements come to, taken together."""
    names = [judgement.verdict for judgement in judgements]
    worst = max(names, key=SEVERITY.index) if names else None
    return Verdict(name=worst, judgements=tuple(judgements), enforced=enforced, strict=strict)
