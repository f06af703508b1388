"""What the original report claimed, answered by name from what a sweep measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pytest_amlnn.report.certainty import amount, interval_of
from pytest_amlnn.report.claims import CONTRADICTED, SUPPORTED, UNDECIDED, UNTESTED, Claim
from pytest_amlnn.report.differences import (
    MODELS,
    SIZES,
    Difference,
    comparable,
    compared,
    with_holm,
)
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.rules_of_pairs import SETTINGS, confounders
from pytest_amlnn.report.words import count, listed, points

DEEPER = {"vgg19": "vgg11", "resnetv2_50": "resnetv2_18", "inception_v4": "inception_v3"}
"""Deeper nets, and the shallower one of the same family."""
RECURRENT = ("lstm", "gru", "birnn", "deep_rnn")


def claims(cases: Sequence[Facts], found: Sequence[Difference]) -> tuple[Claim, ...]:
    """Return the answers to all claims; none where no model of the report was trained."""
    mine = {*DEEPER, *DEEPER.values(), *RECURRENT}
    known = [case for case in cases if comparable(case) and case.model in mine]
    if not known:
        return ()
    among = max((pair.among for pair in found), default=0)
    return depth_overfits(known, among), future_helps(known, among), data_help(found)


def depth_overfits(cases: Sequence[Facts], among: int) -> Claim:
    """Answer whether more layers overfit."""
    text = "More layers overfit: the deeper net of a family is worse for it."
    pairs = pairs_of(cases, lambda first, second: DEEPER.get(first.model) == second.model)
    if not pairs:
        return Claim(text=text, verdict=UNTESTED, why="no net stands beside a deeper one")
    judged = with_holm([compared(MODELS, *pair) for pair in pairs], max(among - len(pairs), 0))
    alike = [not unlike(found) for found in judged]
    deeper = [deep for deep, _ in pairs]
    better = sum(
        found.sure and same and found.better is deep
        for found, same, deep in zip(judged, alike, deeper, strict=True)
    )
    worse = sum(
        found.sure and same and found.worse is deep and (deep.gap or 0) > (shallow.gap or 0)
        for found, same, (deep, shallow) in zip(judged, alike, pairs, strict=True)
    )
    verdict = UNDECIDED
    if bool(worse) != bool(better):
        verdict = SUPPORTED if worse else CONTRADICTED
    summed = (
        f"of {count(sum(alike), 'pair')} trained alike the deeper net is surely better in"
        f" {better}, and surely worse with a larger gap in {worse}"
    )
    told = [told_of_depth(*each) for each in zip(judged, pairs, strict=True)]
    return Claim(text=text, verdict=verdict, why="; ".join([summed, *told]))


def unlike(found: Difference) -> list[str]:
    """Return what makes two trainings none that compare nets."""
    return [field for field in confounders(found) if field not in SETTINGS]


def told_of_depth(found: Difference, pair: tuple[Facts, Facts]) -> str:
    """Return what a deeper net and a shallower one reached."""
    deep, shallow = pair
    fields = unlike(found)
    return (
        f"{deep.name} against {shallow.name}: {amount(found)} {deep.metric.name}"
        f" {interval_of(found) or '(no interval)'} in favour of {found.better.model}, gap"
        f" between training and test {points(deep.gap)} and {points(shallow.gap)}"
        + (f" (not trained alike: {listed(fields)})" if fields else "")
    )


def future_helps(cases: Sequence[Facts], among: int) -> Claim:
    """Answer whether bidirectional nets forecast better because they use the future."""
    text = "Bidirectional nets forecast better, for they use the future."
    pairs = pairs_of(
        cases, lambda first, second: first.model == "birnn" and second.model in RECURRENT
    )
    if not pairs:
        why = "no bidirectional net stands beside another"
        return Claim(text=text, verdict=UNTESTED, why=why)
    judged = with_holm([compared(MODELS, *pair) for pair in pairs], max(among - len(pairs), 0))
    won = sum(d.sure and d.better.model == "birnn" for d in judged)
    lost = sum(d.sure and d.worse.model == "birnn" for d in judged)
    each = "; ".join(
        f"{amount(d)} {d.better.metric.name} {interval_of(d) or '(no interval)'} in favour of"
        f" {d.better.name} against {d.worse.name}"
        for d in judged
    )
    why = (
        "the window ends before the value to forecast, so no future is in it: both directions"
        f" read the past; against the other nets it is surely better in {won} of {len(judged)},"
        f" surely worse in {lost}: {each}"
    )
    return Claim(text=text, verdict=UNDECIDED if won > lost == 0 else CONTRADICTED, why=why)


def data_help(found: Sequence[Difference]) -> Claim:
    """Answer whether more data help."""
    text = "More data help."
    sizes = [pair for pair in found if pair.kind == SIZES]
    if not sizes:
        return Claim(text=text, verdict=UNTESTED, why="no net was trained on two sizes")
    helped = sum(pair.sure and pair.better.size > pair.worse.size for pair in sizes)
    hurt = sum(pair.sure and pair.better.size < pair.worse.size for pair in sizes)
    verdict = UNDECIDED
    if bool(helped) != bool(hurt):
        verdict = SUPPORTED if helped else CONTRADICTED
    longer = sum(
        (max(pair.better, pair.worse, key=size).steps or 0)
        > (min(pair.better, pair.worse, key=size).steps or 0)
        for pair in sizes
    )
    why = (
        f"of {count(len(sizes), 'step')} to the next larger size {helped} surely help, {hurt}"
        f" surely hurt, and {len(sizes) - helped - hurt} may be chance; in {longer} of them the"
        " larger size was also trained for more steps"
    )
    return Claim(text=text, verdict=verdict, why=why)


def pairs_of(
    cases: Iterable[Facts], wanted: Callable[[Facts, Facts], bool]
) -> list[tuple[Facts, Facts]]:
    """Return pairs of cases that were trained on the same data, from the same start."""
    known = [*cases]
    return [
        (first, second)
        for first in known
        for second in known
        if wanted(first, second) and first is not second and kind(first) == kind(second)
    ]


def size(case: Facts) -> int:
    """Return how many examples a case was trained on."""
    return case.size


def kind(case: Facts) -> tuple[object, ...]:
    """Return what two cases must have in common."""
    training = case.result.training
    return training["dataset"], case.size, training["start"], case.result.case["variant"]
