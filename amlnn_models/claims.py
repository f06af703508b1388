"""What the original report claimed, answered by name from what a sweep measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pytest_amlnn.comparison import compare
from pytest_amlnn.report.certainty import amount, interval_of
from pytest_amlnn.report.claims import CONTRADICTED, SUPPORTED, UNDECIDED, UNTESTED, Claim
from pytest_amlnn.report.differences import (
    MODELS,
    SIZES,
    Difference,
    comparable,
    compared,
    sign,
    value,
    with_holm,
)
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.rules_of_pairs import SETTINGS, confounders
from pytest_amlnn.report.words import count, listed, number, points
from pytest_amlnn.statistics import mean_of

DEEPER = {"vgg19": "vgg11", "resnetv2_50": "resnetv2_18", "inception_v4": "inception_v3"}
"""Deeper nets, and the shallower one of the same family."""
RECURRENT = ("lstm", "gru", "birnn", "deep_rnn")
TRANSFORMER = "transformer"


def claims(cases: Sequence[Facts], found: Sequence[Difference]) -> tuple[Claim, ...]:
    """Return the answers to all claims; none where no model of the report was trained."""
    mine = {*DEEPER, *DEEPER.values(), *RECURRENT, TRANSFORMER}
    known = [case for case in cases if comparable(case) and case.model in mine]
    if not known:
        return ()
    among = max((pair.among for pair in found), default=0)
    return (
        depth_overfits(known, among),
        future_helps(known, among),
        data_help(found),
        transformers_help(known, among),
    )


def depth_overfits(cases: Sequence[Facts], among: int) -> Claim:
    """Answer whether more layers overfit."""
    text = "More layers overfit: the deeper net of a family is worse for it."
    pairs = pairs_of(cases, lambda first, second: DEEPER.get(first.model) == second.model)
    if not pairs:
        return Claim(text=text, verdict=UNTESTED, why="no net stands beside a deeper one")
    judged = judged_among(pairs, among)
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
    summed = (
        f"of {count(sum(alike), 'pair')} trained alike the deeper net is surely better in"
        f" {better}, and surely worse with a larger gap in {worse}"
    )
    told = [told_of_depth(*each) for each in zip(judged, pairs, strict=True)]
    return Claim(text=text, verdict=decided(worse, better), why="; ".join([summed, *told]))


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
    judged = judged_among(pairs, among)
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
    return Claim(text=text, verdict=decided(helped, hurt), why=why)


def transformers_help(cases: Sequence[Facts], among: int) -> Claim:
    """Answer whether a Transformer forecasts better than the LSTM, which is as large, and
    whether more data bring it nearer."""
    text = "More advanced architectures such as Transformers forecast better."
    pairs = pairs_of(
        cases, lambda first, second: (first.model, second.model) == (TRANSFORMER, "lstm")
    )
    if not pairs:
        return Claim(text=text, verdict=UNTESTED, why="no Transformer stands beside an LSTM")
    pairs.sort(key=lambda pair: size(pair[0]))
    judged = judged_among(pairs, among)
    won = sum(d.sure and d.better.model == TRANSFORMER for d in judged)
    lost = sum(d.sure and d.worse.model == TRANSFORMER for d in judged)
    each = "; ".join(
        f"{d.better.name} is ahead of {d.worse.name} by {amount(d)} {d.better.metric.name}"
        f" {interval_of(d) or '(no interval)'}"
        for d in judged
    )
    why = (
        f"of {count(len(pairs), 'comparison')} it is surely better in {won} and surely worse in"
        f" {lost}: {each}; {gaps_over_sizes(pairs)}"
    )
    return Claim(text=text, verdict=decided(won, lost), why=why)


def gaps_over_sizes(pairs: Sequence[tuple[Facts, Facts]]) -> str:
    """Say for each series whether more data change how far the first of two nets is ahead;
    pairs come from the smallest size to the largest."""
    found: dict[tuple[object, ...], list[tuple[Facts, Facts]]] = {}
    for pair in pairs:
        found.setdefault(series(pair[0]), []).append(pair)
    told = [gap_over_sizes(each[0], each[-1]) for each in found.values()]
    if len(told) == 1:
        return told[0]
    names = [" ".join(filter(None, map(str, each))) for each in found]
    return "; ".join(f"on {name} {words}" for name, words in zip(names, told, strict=True))


def gap_over_sizes(least: tuple[Facts, Facts], most: tuple[Facts, Facts]) -> str:
    """Say whether more data change how far the first of two nets is ahead of the second; the
    same seeds draw the same noise at both sizes, so it is judged seed by seed."""
    seeds = least[0].result.seeds
    if size(least[0]) == size(most[0]) or any(
        side.result.seeds != seeds for side in (*least, *most)
    ):
        return "whether more data closes the gap was not tested"
    before, after = (
        [sign(first) * (value(first, seed) - value(second, seed)) for seed in seeds]
        for first, second in (least, most)
    )
    found = compare(after, before, by="difference")
    spread = found.spread
    if not found.word or spread.low is None or spread.high is None:
        return f"whether more data closes the gap {count(len(seeds), 'seed')} do not tell"
    ahead, model = (mean_of(before), mean_of(after)), least[1].model
    numbers = (
        f"its {least[0].metric.name} less the {model}'s is {number(ahead[0])} at"
        f" {size(least[0]):,} and {number(ahead[1])} at {size(most[0]):,}, a change of"
        f" {number(spread.mean)} [{number(spread.low)}, {number(spread.high)}]"
    )
    return f"{change_of_gap(found.word, *ahead)}: {numbers}"


def change_of_gap(word: str, before: float, after: float) -> str:
    """Say what more data did to how far one net is ahead; below 0 it is behind."""
    if word not in ("better", "worse"):
        return "whether more data closes the gap is not distinguishable from chance"
    if before * after < 0:
        turned = "its gap into a lead" if after > 0 else "its lead into a gap"
        return f"more data surely turns {turned}"
    what, grows = ("lead", word == "better") if after > 0 else ("gap", word == "worse")
    return f"more data surely {'widens' if grows else 'narrows'} its {what}"


def judged_among(pairs: Sequence[tuple[Facts, Facts]], among: int) -> list[Difference]:
    """Compare pairs of cases, as some of so many comparisons."""
    return with_holm([compared(MODELS, *pair) for pair in pairs], max(among - len(pairs), 0))


def decided(supporting: int, contradicting: int) -> str:
    """Return the verdict that so many sure differences either way give."""
    if bool(supporting) == bool(contradicting):
        return UNDECIDED
    return SUPPORTED if supporting else CONTRADICTED


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


def series(case: Facts) -> tuple[object, ...]:
    """Return on which data a case was trained, whatever the size."""
    return case.result.training["dataset"], case.result.case["variant"]


def kind(case: Facts) -> tuple[object, ...]:
    """Return what two cases must have in common."""
    training = case.result.training
    return training["dataset"], case.size, training["start"], case.result.case["variant"]
