"""Which cases are compared, and how a difference is told from chance."""

from __future__ import annotations

import math

import pytest
from scipy.stats import ttest_rel
from small_facts import facts, forecast, pair, runs_of, with_answers

from pytest_amlnn.report.differences import compared, drawn, with_holm
from pytest_amlnn.report.groups import facts_of
from pytest_amlnn.result import gather


def test_equal_seeds_are_paired():
    """What seeds have in common drops out: Student's t of the differences of pairs."""
    ours, theirs = (0.60, 0.70, 0.80, 0.91), (0.58, 0.67, 0.78, 0.88)
    first, second = facts("a", ours), facts("b", theirs)
    found, test = pair(first, second), ttest_rel(ours, theirs)

    assert (found.better, found.worse) == (first, second)
    assert found.away == pytest.approx(0.025)
    assert found.chance == pytest.approx(test.pvalue)
    assert (found.low, found.high) == pytest.approx(test.confidence_interval())
    assert found.how == "paired by 4 seeds"


def test_other_seeds_are_two_samples():
    """Cases without common seeds are compared by Welch's t."""
    found = pair(facts("a", (0.70, 0.72, 0.74)), facts("b", (0.60, 0.66, 0.63), first=10))
    error = math.sqrt((0.02**2 + 0.03**2) / 3)

    assert found.away == pytest.approx(0.09)
    assert found.high - found.away == pytest.approx(3.1824 * error, rel=1e-4)  # 3.5 -> 3 or 4
    assert found.how == "3 seeds against 3"


def test_two_seeds_tell_nothing():
    """How much seeds differ is not known from two: there is no interval, and it is not sure."""
    found = pair(facts("a", (0.9, 0.9)), facts("b", (0.1, 0.1)))

    assert (found.low, found.high, found.chance, found.sure) == (None, None, 1.0, False)
    assert "2 and 2 seeds" in found.how


def test_one_seed_is_compared_by_its_examples(tmp_path):
    """One run each: McNemar's counts, and a spread between seeds that is taken for granted."""
    many, few = [True] * 90 + [False] * 10, [True] * 30 + [False] * 70
    far = pair(*with_answers(tmp_path / "far", {"a": [many], "b": [few]}))
    near = pair(
        *with_answers(tmp_path / "near", {"a": [many], "b": [[True] * 80 + [False] * 20]})
    )

    assert far.sure
    assert far.away == pytest.approx(0.6)
    between = (60 + 1) / 100**2
    assert far.high - far.away == pytest.approx(
        1.96 * math.sqrt(between + 2 * 0.05**2), rel=1e-3
    )
    assert not near.sure


def test_one_seed_without_answers_tells_nothing():
    """A single run whose answers are gone, or of a forecast, has nothing to be compared by."""
    assert pair(facts("a", [0.9]), facts("b", [0.1])).chance == 1
    assert pair(forecast("a", [1.0]), forecast("b", [2.0])).chance == 1


@pytest.mark.parametrize(
    ("values", "sure"), [((0.8, 0.8, 0.8), True), ((0.702, 0.702, 0.702), False)]
)
def test_equal_differences_are_no_proof(values, sure):
    """Accuracies are rounded to examples: no spread means one of less than an example."""
    assert pair(facts("a", values), facts("b", (0.7, 0.7, 0.7))).sure is sure


def test_equal_cases_differ_by_nothing():
    """Two rows with the same numbers are not distinguishable, whatever their metric."""
    for make in (facts, forecast):
        found = pair(make("a"), make("b"))

        assert (found.away, found.sure) == (0.0, False)
        assert found.chance == pytest.approx(1.0)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_case_with_a_missing_value_is_not_compared(value):
    """No run is dropped: a case of which one run lacks the metric has no mean to compare."""
    assert drawn([facts("a", (0.7, value, 0.8)), facts("b")]) == []


def test_unfinished_case_is_not_compared():
    """A case with a diverged run is named elsewhere, and stands in no comparison."""
    assert drawn([facts("a", status="diverged", reason="no number"), facts("b")]) == []


def test_lower_is_better_where_the_metric_says_so():
    """Of accuracies the higher one is better; a loss that is judged by has it the other way."""
    runs = runs_of("a", (1.0, 1.1, 1.2)) + runs_of("b", (2.0, 2.1, 2.3))
    for run in runs:
        for metric in run.task["metrics"]:
            metric["essential"] = metric["name"] == "test_loss"
        run.metrics["test_loss"] = run.metrics["test_accuracy"]
    first, second = facts_of(gather(runs), None)

    assert pair(first, second).better is first


def test_all_pairs_count():
    """The best was chosen by its numbers: of four models six pairs could have been drawn."""
    cases = [
        facts(name, (v, v + 0.01, v - 0.01))
        for name, v in zip("abcd", (0.9, 0.7, 0.5, 0.3), strict=True)
    ]
    found = drawn(cases)
    alone = compared("models", cases[0], cases[1])

    assert [(d.better.name, d.worse.name) for d in found] == [
        ("a", "b"),
        ("a", "c"),
        ("a", "d"),
    ]
    assert {d.among for d in found} == {6}
    assert all(d.adjusted >= d.chance for d in found)
    assert alone.among == 1


def test_holm_steps_down():
    """The smallest chance counts for all comparisons, the next for one less, in order."""
    made = [
        pair(facts("a", (0.7 + away, 0.72 + away, 0.74)), facts("b", (0.69, 0.70, 0.72)))
        for away in (0.1, 0.0, 0.05)
    ]
    found = with_holm(made)
    ordered = sorted(found, key=lambda d: d.chance)

    assert ordered[0].adjusted == pytest.approx(3 * ordered[0].chance)
    assert ordered[1].adjusted >= ordered[0].adjusted
    assert [d.chance for d in found] == [d.chance for d in made]


def test_sizes_and_starts_are_compared_within_a_model():
    """A model on two sizes, and from two starts, is compared with itself; data never are."""
    sizes = [facts(f"net-{size}", model="net", size=size) for size in (100, 200, 400)]
    found = drawn(sizes)

    assert [(d.kind, {d.better.size, d.worse.size}) for d in found] == [
        ("sizes", {100, 200}),
        ("sizes", {200, 400}),
    ]
    assert drawn([facts("a", dataset="one"), facts("b", dataset="other")]) == []
    assert drawn([facts("a", size=1), facts("b", size=2)]) == []


@pytest.mark.parametrize(
    ("values", "seed"),
    [
        ((0.70, 0.90, 0.71), 1),
        ((0.72, 0.73, 0.74), None),  # all are better
        ((0.74, 0.90, 0.64), 1),
        ((0.76, 0.77, 0.60), None),  # two are better, no one stands out
        ((0.70, 0.90), None),  # too few
    ],
)
def test_lucky_seed_is_named(values, seed):
    """A difference rests on a seed that stands out, and without which little is left."""
    base = (0.70, 0.71, 0.70)[: len(values)]

    assert pair(facts("a", values), facts("b", base)).rests_on == seed
