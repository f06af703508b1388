"""What is wrong with limits, once it is known which cases there are; and what they cover."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from pytest_amlnn.fields import nearest
from pytest_amlnn.gates.limits import Limit, outside_share
from pytest_amlnn.metrics import COMMON, Metric

if TYPE_CHECKING:
    from pytest_amlnn.case import Case


def unknown(
    limits: Iterable[Limit],
    known: Mapping[str, Mapping[str, Case | None]],
    *,
    elsewhere: Collection[str] = (),
) -> list[str]:
    """Return what is wrong with limits on cases and metrics that do not exist, in words.

    `known` has by test function all cases that it has in this profile, None for one that only
    the test's body knows. `elsewhere` are functions that may have other cases, where nothing
    was collected: two classes, or two files, may each have a function that is called alike.
    """
    found: list[str] = []
    for limit in limits:
        function = limit.case.partition("[")[0]
        cases = known.get(function, {})
        if limit.case in cases:
            case = cases[limit.case]
            task = case.training.task if case else None
            found += wrong_metric(limit, task.metrics, task.name) if task else []
        elif function in elsewhere:
            continue
        elif not cases:
            near = hint(function, sorted(known))
            found.append(f"{limit.where}: no test function '{function}' trains a case{near}")
        elif not any(extends(id, limit.case) for id in cases):
            near = hint(limit.case, sorted(cases))
            found.append(f"{limit.where}: no case '{limit.case}' in this profile{near}")
    return found


def extends(id: str, plain: str) -> bool:
    """Return whether an id is another with more parameters: `test_x[a-1]` is of `test_x[a]`.

    Plugins that repeat tests lengthen ids so.
    """
    _, _, inner = plain.rstrip("]").partition("[")
    _, _, whole = id.rstrip("]").partition("[")
    return re.search(rf"(^|-){re.escape(inner)}(-|$)", whole) is not None


def wrong_metric(limit: Limit, own: Iterable[Metric], task: str) -> list[str]:
    """Say that a limit's metric is unknown, or a share that cannot meet it; `own` are those of
    the task."""
    metrics = {metric.name: metric for metric in (*own, *COMMON)}
    if limit.metric not in metrics:
        remedy = hint(limit.metric, sorted(metrics))
        return [
            f"{limit.where}: unknown metric '{limit.metric}': it is no metric of a {task} case"
            f"{remedy}"
        ]
    if limit.reference is not None and metrics[limit.metric].better == "neither":
        return [
            f"{limit.where}: {limit.metric} is neither better nor worse, so it has no"
            " reference: use at_least, at_most or exactly"
        ]
    return outside_share(limit, share=metrics[limit.metric].share)


def coverage(limits: Iterable[Limit], ids: Iterable[str], file: str | None) -> list[str]:
    """Say how many cases have limits, from which file, and which limits no case bears."""
    limited, planned = {limit.case for limit in limits}, {*ids}
    if not limited:
        return [f"limits: none for this profile in {file}" if file else "limits: none"]
    with_limits = len(limited & planned)
    rest = len(planned) - with_limits
    lines = [f"limits: {file}, for {with_limits} of {len(planned)} cases"]
    if rest:
        lines[0] += f"; {rest} {'has' if rest == 1 else 'have'} none"
    strange = Counter(case.partition("[")[0] for case in sorted(limited - planned))
    if strange:
        names = ", ".join(f"{name} ({count})" for name, count in strange.items())
        lines.append(f"limits not checked, since no case of this run bears them: {names}")
    return lines


def hint(name: str, known: list[str]) -> str:
    """Return the known name that comes nearest, as a question; all where none is near."""
    return nearest(name, known) or f"; known: {', '.join(known)}"
