"""What a comparison of two cases shows: what confounds it, whether it is one, and why.

A rule gives a sentence with the numbers that it rests on, or nothing. What two rows differ in
by design is said before anything else, and reasons are given only for differences that chance
does not make.
"""

from __future__ import annotations

from pytest_amlnn.identity import differences as fields_that_differ
from pytest_amlnn.report.differences import (
    ENOUGH,
    SIZES,
    STARTS,
    Difference,
    amount,
    certainty,
    interval_of,
    seeds_of,
)
from pytest_amlnn.report.reasons import reasons
from pytest_amlnn.report.sentences import Sentence, sentence
from pytest_amlnn.report.words import listed, value_of

OWN_FIELDS = ("threads", "precision", "transforms.mean", "transforms.deviation")
"""Of a recipe, what decides nothing of learning, or belongs to a model's weights."""


# whether it is a comparison, and a difference


def not_alike(found: Difference) -> Sentence | None:
    """Name the fields of the recipe that two rows differ in: those are compared, too."""
    fields = confounders(found)
    if not fields:
        return None
    names = listed([field.partition(":")[0].rpartition(".")[2] for field in fields])
    alone = {SIZES: "sizes", STARTS: "starts"}.get(found.kind, "architectures")
    return sentence(
        not_alike,
        [found.better, found.worse],
        f"{found.better.name} and {found.worse.name} are trained in different ways ({names}),"
        f" so what follows compares more than {alone}.",
        *fields,
    )


def confounders(found: Difference) -> list[str]:
    """Return what two rows differ in besides what they are compared by, a line each."""
    ours, theirs = found.better, found.worse
    fields = [
        line.replace(" was ", ": ").replace(", is ", " and ")
        for line in fields_that_differ(ours.recipe, theirs.recipe)
        if not line.startswith(OWN_FIELDS)
    ]
    precisions = [case.result.runs[0].precision for case in (ours, theirs)]
    if len({*precisions}) > 1:
        fields.append(f"precision: {precisions[0]} and {precisions[1]}")
    digests = [{run.data.get("digest") for run in case.result.runs} for case in (ours, theirs)]
    same_seeds = ours.result.seeds == theirs.result.seeds  # each seed may have data of its own
    if found.kind != SIZES and same_seeds and digests[0] != digests[1]:
        fields.append("data: their digests differ")
    return fields


def indistinct(found: Difference) -> Sentence | None:
    """Say that chance alone makes such a difference."""
    if found.sure:
        return None
    text = (
        f"{found.better.name} and {found.worse.name} are not distinguishable:"
        f" {amount(found)} {found.better.metric.name} between them, {found.how}."
    )
    if found.rests_on is not None:
        text += f" What there is of it rests on seed {found.rests_on} alone."
    elif min(len(case.result.runs) for case in (found.better, found.worse)) < ENOUGH:
        text += f" {ENOUGH} seeds or more of each would tell more."
    return sentence(
        indistinct,
        [found.better, found.worse],
        text,
        certainty(found),
        *seeds_of(found),
    )


def distinct(found: Difference) -> Sentence | None:
    """Say that chance does not make a difference, and how large it is."""
    if not found.sure:
        return None
    ours, theirs = found.better, found.worse
    by = f"by {amount(found)} {ours.metric.name} {interval_of(found)}, {found.how}."
    text = f"{ours.name} is better than {theirs.name}: {by}"
    if found.kind == SIZES and ours.size > theirs.size:
        text = (
            f"{ours.model} gains from {ours.size:,} instead of {theirs.size:,} examples: {by}"
        )
    elif found.kind == SIZES:
        sizes = f"{theirs.size:,} instead of {ours.size:,}"
        text = f"{theirs.model} is worse with more data, {sizes}: {by}"
    both = f"{value_of(ours.metric, ours.spread.mean)} against"
    return sentence(
        distinct,
        [ours, theirs],
        text,
        f"{both} {value_of(theirs.metric, theirs.spread.mean)}; {certainty(found)}",
    )


def of_pair(found: Difference) -> list[Sentence]:
    """Return what is to be said of a comparison, confounders first."""
    said = [not_alike(found), indistinct(found), distinct(found)]
    return [*filter(None, said), *(reasons(found) if found.sure else [])]
