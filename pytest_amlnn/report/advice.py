"""What somebody advised, and what was measured of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_amlnn.improvements import HELPS, HURTS, IDENTICAL, NOT_COMPARABLE, OPEN, Worth
from pytest_amlnn.report.improvements import in_order
from pytest_amlnn.report.words import listed
from pytest_amlnn.report.worth import (
    SMALL,
    bases_of,
    by,
    cost,
    helped_and_hurt,
    needs,
    verdict_of,
)

MOST = 4
"""Changes that a sentence names of each verdict."""
OTHERS = "Changes that nobody advised."
PREDICATES = {
    HELPS: "Helps",
    HURTS: "Hurts",
    SMALL: "Makes no difference that matters to",
    IDENTICAL: "Changes nothing of",
    OPEN: "Is not distinguishable for",
    NOT_COMPARABLE: "Cannot be compared for",
}
"""What is said of the bases of each verdict, in this order."""
WORTH_IT, NOT_WORTH_IT, UNDECIDED = "worth it for", "not worth it for", "open for"


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A piece of advice, what was measured of it, and what follows from that."""

    text: str
    """In the words of who gave it."""
    follows: str
    """For which bases it is worth it, as far as the verdicts tell."""
    measured: tuple[str, ...]
    """What that rests on, a sentence a verdict."""


def advice_of(worths: Sequence[Worth]) -> tuple[Advice, ...]:
    """Return each piece of advice with what was measured of it; the other changes last."""
    names, found = bases_of(worths), dict[str, list[Worth]]()
    for worth in in_order(worths):
        found.setdefault(worth.effect.advice, []).append(worth)
    return tuple(
        Advice(
            text=f"{text.rstrip(' .')}." if text else OTHERS,
            follows=follows(found[text], names) if text else counted(found[text]),
            measured=tuple(measured(found[text], names)),
        )
        for text in sorted(found, key=lambda text: (not text, text))
    )


def measured(worths: Sequence[Worth], names: Mapping[str, str]) -> Iterator[str]:
    """Say which bases a change helps, hurts, or does neither, with numbers."""
    for verdict, predicate in PREDICATES.items():
        mine = [worth for worth in worths if verdict_of(worth) == verdict]
        mine.sort(key=size)
        if mine:
            each = [told(worth, worths, names) for worth in mine]
            most = 1 if verdict == NOT_COMPARABLE else MOST
            yield f"{predicate} {listed(each, most)}."


def size(worth: Worth) -> float:
    """Return what changes of a verdict are sorted by: the largest first, as what matters."""
    unit = worth.effect.matters or 1.0
    return -abs(worth.difference or 0.0) / unit


def named(
    worth: Worth, worths: Sequence[Worth], names: Mapping[str, str], besides: str = ""
) -> str:
    """Return the base of a change, and which change it is where there are several."""
    several = len({other.effect.name for other in worths}) > 1
    said = ": ".join(filter(None, [worth.effect.name if several else "", besides]))
    base = names[worth.effect.base.id]
    return f"{base} ({said})" if said else base


def told(worth: Worth, worths: Sequence[Worth], names: Mapping[str, str]) -> str:
    """Return the base of a change, and the numbers behind its verdict."""
    if worth.verdict in (HELPS, HURTS) and worth.difference is not None:
        return named(worth, worths, names) + by(worth) + cost(worth)
    why = worth.why if worth.difference is None else ""
    return named(worth, worths, names, needs(worth) if worth.is_open else why)


def follows(worths: Sequence[Worth], names: Mapping[str, str]) -> str:
    """Say for which bases advice is worth it: any change of it helps as much as matters."""
    found: dict[str, list[str]] = {WORTH_IT: [], NOT_WORTH_IT: [], UNDECIDED: []}
    for base in names:
        mine = [w for w in worths if w.effect.base.id == base and w.verdict != NOT_COMPARABLE]
        best = min(
            (w for w in mine if w.verdict == HELPS and not w.small), key=size, default=None
        )
        if best:
            found[WORTH_IT].append(named(best, worths, names))
        elif mine:
            undecided = any(worth.is_open for worth in mine)
            found[UNDECIDED if undecided else NOT_WORTH_IT].append(names[base])
    text = "; ".join(f"{word} {listed(bases, MOST)}" for word, bases in found.items() if bases)
    return f"{text[:1].upper()}{text[1:]}." if text else "Nothing was measured that tells."


def counted(worths: Sequence[Worth]) -> str:
    """Say how many changes that nobody advised help, and how many hurt."""
    if len(worths) == 1:  # nothing is to be summed up
        return ""
    return f"Of {len(worths)} {helped_and_hurt(worths)}."


def title_of(found: Sequence[Advice]) -> str:
    """Return what stands above advice."""
    advised = any(one.text != OTHERS for one in found)
    return "What was advised, and measured" if advised else "What changes are worth"
