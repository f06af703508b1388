"""The judgement whether a result keeps its limits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_amlnn.limits import Limit, wrong_metric
from pytest_amlnn.metrics import COMMON
from pytest_amlnn.result import Result

PASSED, REGRESSED, NOT_COMPARABLE = "passed", "regressed", "not comparable"
SEVERITY = (PASSED, NOT_COMPARABLE, REGRESSED)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One limit, the value that was measured, and what follows."""

    limit: Limit
    value: float | None
    verdict: str

    def __str__(self) -> str:
        text = f"{self.limit.case}: {self.verdict}: {self.needs}"
        return f"{text} ({self.limit.where})" if self.limit.where else text

    @property
    def needs(self) -> str:
        """Metric, value and bounds, in words."""
        limit = self.limit
        sides = (("at least", limit.at_least), ("at most", limit.at_most))
        needs = " and ".join(f"{side} {bound:g}" for side, bound in sides if bound is not None)
        value = "no value" if self.value is None else f"{self.value:.4g}"
        return f"{limit.metric} is {value}, needs {needs}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says of a result."""

    name: str | None
    """The worst judgement; None where the case has no limit or the gate is off."""
    judgements: tuple[Judgement, ...] = ()
    enforced: bool = True

    @property
    def passed(self) -> bool:
        """Whether the item may be green."""
        return not (self.enforced and self.name == REGRESSED)

    @property
    def message(self) -> str:
        """Each limit that was not kept, with case, metric, value and limit."""
        return "\n".join(str(j) for j in self.judgements if j.verdict != PASSED)

    @property
    def brief(self) -> str:
        """The first limit that was not kept, for pytest's line with the case's name."""
        broken = [j for j in self.judgements if j.verdict == REGRESSED]
        return broken[0].needs if broken else ""

    def __repr__(self) -> str:
        return self.message or str(self.name)


def judge(result: Result, limits: Iterable[Limit], *, enforced: bool = True) -> Verdict:
    """Hold a result against its limits."""
    judgements = tuple(judge_one(result, limit) for limit in limits if limit.case == result.id)
    names = [judgement.verdict for judgement in judgements]
    worst = max(names, key=SEVERITY.index) if names else None
    return Verdict(name=worst, judgements=judgements, enforced=enforced)


def judge_one(result: Result, limit: Limit) -> Judgement:
    """Hold one metric's mean against its bounds; times of contended runs prove nothing."""
    metric = result.known.get(limit.metric)  # None: a mistake, which `unknown` names
    value = result.metrics[metric.name].mean if metric else None
    if metric and metric.of_machine and result.contended:
        verdict = NOT_COMPARABLE
    else:
        verdict = PASSED if keeps(value, limit) else REGRESSED
    return Judgement(limit=limit, value=value, verdict=verdict)


def keeps(value: float | None, limit: Limit) -> bool:
    """Return whether a value lies within the bounds; no value does not."""
    if value is None:
        return False
    low = limit.at_least is None or value >= limit.at_least
    return low and (limit.at_most is None or value <= limit.at_most)


def unknown_metrics(limits: Iterable[Limit], result: Result) -> list[str]:
    """Return what is wrong with the metrics that limits on a result name, in words."""
    mine = [limit for limit in limits if limit.case == result.id]
    own = [metric for metric in result.known.values() if metric not in COMMON]
    return [
        words for limit in mine for words in wrong_metric(limit, own, result.training["task"])
    ]
