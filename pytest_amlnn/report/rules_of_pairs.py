"""What a comparison of two cases shows: what confounds it, whether it is one, and why.

A rule gives a sentence with the numbers that it rests on, or nothing. What two rows differ in
by design is said before anything else, and reasons are given only for differences that chance
does not make.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_amlnn.answers import right_of_answers
from pytest_amlnn.identity import shown
from pytest_amlnn.improvements import HELPS, HURTS, NOT_COMPARABLE, Worth
from pytest_amlnn.report.certainty import amount, certainty, interval_of, seeds_of
from pytest_amlnn.report.differences import ENOUGH, SIZES, STARTS, Difference
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.reasons import COSTS, reasons
from pytest_amlnn.report.sentences import Sentence, sentence
from pytest_amlnn.report.words import chance, count, listed, number, percent, value_of
from pytest_amlnn.report.worth import by, remark, verdict_of
from pytest_amlnn.statistics import SURE, mean_of

OWN_FIELDS = ("threads", "precision", "precision_cuda", "mean", "deviation")
"""Of a recipe, what decides nothing of learning, or belongs to a model's weights."""
SETTINGS = (
    *("learning_rate", "optimizer", "momentum", "weight_decay", "warmup", "layer_decay"),
    *("clip_norm", "standardise", "refresh_norms", "freeze_norms"),
)
"""What each net may need in its own way: with these alone, it is nets that are compared."""
MOSTLY = 0.5
"""Share of a difference that lies in two classes if they are worth naming."""


# whether it is a comparison, and a difference


def not_alike(found: Difference, worths: Sequence[Worth] = ()) -> Sentence | None:
    """Name the fields of the recipe that two rows differ in: those are compared, too.

    What a change of exactly such fields is worth, of either of the two, is cited.
    """
    fields = confounders(found)
    if not fields:
        return None
    both = f"{found.better.name} and {found.worse.name}"
    kind = {SIZES: "sizes", STARTS: "starts"}.get(found.kind, "architectures")
    names = listed([*fields], most=8)
    text = (
        f"{both} are trained in different ways ({names}), so what follows compares more than"
        f" {kind}."
    )
    if fields.keys() <= {*SETTINGS}:
        text = f"{both} are compared each with settings of its own ({names})."
    evidence = [f"{name}: {ours} and {theirs}" for name, (ours, theirs) in fields.items()]
    cited = [
        (worth, mine)
        for worth in worths
        if worth.verdict != NOT_COMPARABLE
        and (mine := measured_fields(worth, found))
        and mine <= fields.keys()
    ]
    if cited:
        known = sorted(set[str]().union(*(mine for _, mine in cited)))
        text += (
            f" What {listed(known)} {'does' if len(known) == 1 else 'do'} was measured here."
        )
    told = [told_of(worth, found) for worth, _ in cited]
    return sentence(not_alike, [found.better, found.worse], text, *evidence, *told)


def measured_fields(worth: Worth, found: Difference) -> set[str]:
    """Return the fields of the recipe that an improvement changed and nothing else, if it is
    one of two cases; nothing where it is none of theirs, or changed more."""
    if worth.effect.base.id not in (found.better.id, found.worse.id):
        return set()
    names = [name.split(".") for name in worth.effect.changed]
    return {name[-1] for name in names} if all(n[0] == "recipe" for n in names) else set()


def told_of(worth: Worth, found: Difference) -> str:
    """Say what a change of one of two cases is worth."""
    effect = worth.effect
    base = found.better if effect.base.id == found.better.id else found.worse
    values = listed(
        [
            f"{name.rpartition('.')[2]} from {text_of(was)} to {text_of(now)}"
            for name, (was, now) in effect.changed.items()
        ]
    )
    verdict, rest = verdict_of(worth), remark(worth)
    said = by(worth) if verdict in (HELPS, HURTS) else f": {rest}" if rest else ""
    return f"measured of {base.name}, {values}: {verdict}{said}"


def confounders(found: Difference) -> dict[str, tuple[str, str]]:
    """Return what two rows differ in besides what they are compared by, settings last."""
    ours, theirs = found.better, found.worse
    recipes = [dict(fields_of(case.recipe)) for case in (ours, theirs)]
    fields = {
        name: (text_of(recipes[0].get(name)), text_of(recipes[1].get(name)))
        for name in sorted(
            {*recipes[0], *recipes[1]}, key=lambda name: (name in SETTINGS, name)
        )
        if json.dumps(recipes[0].get(name)) != json.dumps(recipes[1].get(name))
        if name not in OWN_FIELDS
    }
    precisions = (ours.result.runs[0].precision, theirs.result.runs[0].precision)
    if len({*precisions}) > 1:
        fields["precision"] = precisions
    digests = [[*dict.fromkeys(map(digest_of, case.result.runs))] for case in (ours, theirs)]
    same_seeds = ours.result.seeds == theirs.result.seeds  # each seed may have data of its own
    if found.kind != SIZES and same_seeds and digests[0] != digests[1]:
        fields["data"] = (digests[0][0], digests[1][0])
    return fields


def fields_of(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a recipe, those of its transforms among them."""
    for name, value in recipe.items():
        if isinstance(value, Mapping):
            yield from fields_of(value)
        else:
            yield name, value


def text_of(value: Any) -> str:
    """Return the value of a field as text."""
    return "none" if value is None else shown(value)


def digest_of(run: Any) -> str:
    """Return the beginning of the digest of a run's data."""
    return f"digest {str(run.data.get('digest'))[:12]}"


def indistinct(found: Difference) -> Sentence | None:
    """Say that chance alone makes such a difference."""
    if found.sure:
        return None
    text = (
        f"{found.better.name} and {found.worse.name} are not distinguishable:"
        f" {amount(found)} {found.better.metric.name} between them, {found.how}."
    )
    if found.chance < SURE:
        text += (
            f" Alone it would pass for one (chance {chance(found.chance)}), but not among"
            f" {found.among} comparisons."
        )
    elif found.rests_on is not None:
        text += f" What there is of it rests on seed {found.rests_on} alone."
    elif min(len(case.result.runs) for case in (found.better, found.worse)) < ENOUGH:
        text += f" {ENOUGH} seeds or more of each would tell more."
    evidence = (certainty(found), *seeds_of(found))
    return sentence(indistinct, [found.better, found.worse], text, *evidence)


def distinct(found: Difference) -> Sentence | None:
    """Say that chance does not make a difference, and how large it is."""
    if not found.sure:
        return None
    ours, theirs = found.better, found.worse
    by = f"by {amount(found)} {ours.metric.name} {interval_of(found)}, {found.how}."
    text = f"{ours.name} is better than {theirs.name}: {by}"
    unit = "points" if ours.forecasts else "examples"
    if found.kind == SIZES and ours.size > theirs.size:
        text = f"{ours.model} gains from {ours.size:,} instead of {theirs.size:,} {unit}: {by}"
    elif found.kind == SIZES:
        sizes = f"{theirs.size:,} instead of {ours.size:,} {unit}"
        text = f"{theirs.model} is worse with more data, {sizes}: {by}"
    both = (
        f"{value_of(ours.metric, ours.spread.mean)} against"
        f" {value_of(theirs.metric, theirs.spread.mean)}"
    )
    return sentence(distinct, [ours, theirs], text, both, certainty(found), slope(found))


def slope(found: Difference) -> str:
    """Return what a doubling of the data does to the error, as far as two sizes tell."""
    large, small = found.better, found.worse
    less, more = error_of(large), error_of(small)
    if found.kind != SIZES or not 0 < small.size < large.size or not less or not more:
        return ""
    if less > more:
        return ""
    each = (less / more) ** (math.log(2) / math.log(large.size / small.size))
    return f"between these sizes each doubling lowers the error by {percent(1 - each)}"


def error_of(case: Facts) -> float | None:
    """Return what is wrong: the share of examples, or the mean squared error."""
    if case.metric.share and case.metric.better == "higher":
        return None if case.spread.mean is None else 1 - case.spread.mean
    return case.mean("test_mse")


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
    net: Counter[int] = Counter()
    for (ours, _), more, less in zip(pairs, gained, lost, strict=True):
        net.update(ours["label"][more].tolist())
        net.subtract(ours["label"][less].tolist())
    total, first = sum(net.values()), net.most_common(2)
    names = found.better.classes
    if total <= 0 or min(net) < 0 or len(names) <= max(net):
        return None
    each = [f"{names[label]} {gain / len(pairs):+.3g}" for label, gain in net.most_common()]
    most = sum(gain for _, gain in first) / total
    where = "The difference is spread over the classes"
    if most > MOSTLY and len(net) > 2:
        share = "All" if most >= 1 else f"{100 * most:.0f} %"
        where = f"{share} of the difference lies in {listed([names[n] for n, _ in first])}"
    first_name, other = found.better.model, found.worse.model
    if first_name == other:
        first_name, other = found.better.name, found.worse.name
    return sentence(
        answers_that_differ,
        [found.better, found.worse],
        f"Of {mean_of([len(g) for g in gained]):,.0f} test examples {first_name} gets"
        f" {mean_of([int(g.sum()) for g in gained]):.0f} right that {other} does not, and"
        f" {other} {mean_of([int(x.sum()) for x in lost]):.0f} that {first_name} does not."
        f" {where}.",
        f"net gain by class: {listed(each, 6)}"
        + (f"; mean of {count(len(pairs), 'pair')} of runs" if len(pairs) > 1 else ""),
    )


def costs_more(found: Difference) -> Sentence | None:
    """Say that what is better also takes longer, or that it does not."""
    ours, theirs = (case.mean("train_seconds") for case in (found.better, found.worse))
    if found.kind == SIZES or not ours or not theirs:
        return None
    if not (found.better.steady and found.worse.steady):
        return None
    more = ours / theirs
    if 1 / COSTS < more < COSTS:
        return None
    words = f"{more:.1f} times as long" if more > 1 else f"only {percent(more)} of the time"
    flops = [case.mean("flops_per_sample") for case in (found.better, found.worse)]
    return sentence(
        costs_more,
        [found.better, found.worse],
        f"{found.better.name} takes {words}: {number(ours)} s of training against"
        f" {number(theirs)} s.",
        f"operations of a forward pass {number(flops[0])} against {number(flops[1])}"
        if None not in flops
        else "",
    )


def of_pair(found: Difference, worths: Sequence[Worth] = ()) -> list[Sentence]:
    """Return what is to be said of a comparison, confounders first."""
    said = [not_alike(found, worths), indistinct(found), distinct(found)]
    if found.sure:
        said += [*reasons(found), answers_that_differ(found), costs_more(found)]
    return [*filter(None, said)]
