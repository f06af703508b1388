"""What a report says of a sweep as a whole: its sentences, its answer, the claims of others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hostile_texts import WHOLE
from small_facts import facts, forecast, runs_of, said
from small_runs import METRICS, sweep

from amlnn_models.claims import claims
from pytest_amlnn import Run
from pytest_amlnn.gates.verdict import Verdict
from pytest_amlnn.report.answer import answer
from pytest_amlnn.report.claims import CONTRADICTED, SUPPORTED, UNDECIDED, UNTESTED
from pytest_amlnn.report.differences import drawn
from pytest_amlnn.report.findings import Findings, find
from pytest_amlnn.result import gather

GOOD, BAD = (0.80, 0.81, 0.82), (0.60, 0.61, 0.63)


def found(runs: list[Run], folder: Path = Path("nowhere")) -> Findings:
    """Return what is found of runs."""
    return find(gather(runs), {}, folder, missing=0)


# claims


def verdicts(*cases) -> list[str]:
    """Return how the claims of the original report are answered."""
    return [claim.verdict for claim in claims(cases, drawn(cases))]


@pytest.mark.parametrize(
    ("deep", "shallow", "gap", "expected"),
    [
        (BAD, GOOD, 0.95, SUPPORTED),  # worse, with the larger gap
        (GOOD, BAD, 0.95, CONTRADICTED),
        (GOOD, GOOD, 0.95, UNDECIDED),
    ],
)
def test_claim_that_depth_overfits(deep, shallow, gap, expected):
    """Pairs of a family tell: the deeper net is surely worse with a larger gap, or better."""
    cases = (
        facts("deep", deep, model="vgg19", metrics={"train_accuracy": gap}),
        facts("shallow", shallow, model="vgg11", metrics={"train_accuracy": 0.85}),
    )

    assert verdicts(*cases)[0] == expected


def test_nets_that_were_not_trained_alike_decide_no_claim():
    """A deeper net with other epochs is named, and says nothing of depth."""
    deep = facts("deep", GOOD, model="vgg19", recipe={"epochs": 9})
    cases = (deep, facts("shallow", BAD, model="vgg11"))
    claim, *_ = claims(cases, drawn(cases))

    assert claim.verdict == UNDECIDED
    assert "(not trained alike: epochs)" in claim.why


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [(GOOD, BAD, UNDECIDED), (BAD, GOOD, CONTRADICTED), (GOOD, GOOD, CONTRADICTED)],
)
def test_claim_that_the_future_helps(ours, theirs, expected):
    """No window holds the future: where the net is better, it is so for another reason."""
    values = {"name": "efficiency"}
    cases = (
        forecast("birnn", ours, model="birnn", **values),
        forecast("gru", theirs, model="gru", **values),
    )
    claim = claims(cases, drawn(cases))[1]

    assert claim.verdict == expected
    assert "no future is in it" in claim.why


@pytest.mark.parametrize(
    ("small", "large", "expected"),
    [(BAD, GOOD, SUPPORTED), (GOOD, BAD, CONTRADICTED), (GOOD, GOOD, UNDECIDED)],
)
def test_claim_that_data_help(small, large, expected):
    """A model on two sizes tells whether more data help."""
    cases = [
        facts(f"vgg11-{size}", values, model="vgg11", size=size)
        for size, values in ((200, small), (600, large))
    ]

    assert verdicts(*cases)[2] == expected


NEAR, FAR, ABOVE = (0.94, 0.95, 0.96), (0.70, 0.71, 0.72), (0.98, 0.991, 1.0)


@pytest.mark.parametrize(
    ("small", "large", "expected", "words"),
    [
        (FAR, (0.93, 0.94, 0.95), CONTRADICTED, "more data surely narrows its gap"),
        (FAR, FAR, CONTRADICTED, "is not distinguishable from chance"),
        ((0.935, 0.946, 0.955), FAR, CONTRADICTED, "more data surely widens its gap"),
        (ABOVE, FAR, UNDECIDED, "more data surely turns its lead into a gap"),
        (FAR, ABOVE, UNDECIDED, "more data surely turns its gap into a lead"),
        (ABOVE, (0.95, 0.961, 0.97), SUPPORTED, "more data surely narrows its lead"),
        ((0.95, 0.961, 0.97), ABOVE, SUPPORTED, "more data surely widens its lead"),
        (ABOVE, ABOVE, SUPPORTED, "not distinguishable"),
        (NEAR, NEAR, UNDECIDED, "not distinguishable"),
    ],
)
def test_claim_that_transformers_help(small, large, expected, words):
    """The difference to the LSTM is judged at each size, and its change from size to size."""
    cases = [
        forecast(f"{model}-{size}", values, model=model, size=size, name="efficiency")
        for size, reached in ((1000, small), (9000, large))
        for model, values in (("transformer", reached), ("lstm", (0.94, 0.951, 0.96)))
    ]
    claim = claims(cases, drawn(cases))[3]

    assert claim.verdict == expected
    assert words in claim.why


def test_each_series_has_its_own_gap():
    """Sizes of one series are compared, not the smallest of one with the largest of another."""
    cases = [
        forecast(
            f"{model}-{dataset}-{size}",
            values,
            **{"model": model, "size": size, "dataset": dataset, "name": "efficiency"},
        )
        for dataset, size, reached in (
            ("ar", 1000, FAR),
            ("ar", 9000, NEAR),
            ("nike", 1000, NEAR),
            ("nike", 3000, FAR),
        )
        for model, values in (("transformer", reached), ("lstm", (0.94, 0.951, 0.96)))
    ]
    why = claims(cases, drawn(cases))[3].why

    assert why.startswith("of 4 comparisons it is surely better in")
    assert "; on ar more data surely narrows its gap: its efficiency less the" in why
    assert "; on nike more data surely widens its gap: its efficiency less the" in why


def test_transformer_at_one_size_says_nothing_of_more_data():
    """Whether more data closes a gap takes two sizes with the same seeds."""
    cases = [
        forecast(f"{model}-1000", NEAR, model=model, size=1000, name="efficiency")
        for model in ("transformer", "lstm")
    ]

    assert "was not tested" in claims(cases, drawn(cases))[3].why


def test_claims_that_a_sweep_does_not_test_are_named():
    """A claim without a pair that tells is not tested; of other models there are no claims."""
    assert verdicts(facts("vgg11", model="vgg11")) == [UNTESTED] * 4
    assert verdicts(facts("other", model="other")) == []


# the answer


def test_answer_names_the_best_its_cost_and_how_sure_that_is():
    """Three sentences: what is best, what it takes, how many differences are sure."""
    cases = [
        facts("a", GOOD, metrics={"train_seconds": 4.0}),
        facts("b", BAD, metrics={"train_seconds": 1.0}),
        facts("c", (0.80, 0.81, 0.81), metrics={"train_seconds": 8.0}),
    ]
    best, cost, sure = answer(cases, {}, drawn(cases), {}, 2)

    assert best == (
        "On squares (60) a is best with test_accuracy 81.0 %, not distinguishable from c."
    )
    assert "4.0 times as long as b, which reaches 61.3 %" in cost
    assert sure.startswith("1 of 2 differences is more than chance")
    assert sure.endswith("there is no gate, and 2 cases lack runs.")


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        ([], "Nothing was trained."),
        ([facts("a")], "On squares (60) there is a with test_accuracy 75.0 % alone."),
        ([facts("a", status="diverged", reason="x")], "No case finished: 1 case failed."),
    ],
)
def test_answer_without_a_comparison(cases, words):
    """Where nothing can be compared, that is the answer."""
    best, cost, sure = answer(cases, {}, drawn(cases), {}, 0)

    assert words in best
    alone = "alone" in words
    assert cost == ("a takes 2 s of training." if alone else "There are no costs to compare.")
    assert sure.startswith("No differences were judged")


def test_answer_names_a_red_gate():
    """A case that fails its limit is named in the answer."""
    verdict = Verdict(name="failed", judgements=())
    *_, sure = answer([facts("a")], {}, [], {"test_small[a]": verdict}, 0)

    assert "the gate" in sure


# whatever the records hold


def of_others(label: str, values: list[float]) -> list[Run]:
    """Return runs of a task from outside, that is judged by an error of its own."""
    runs = runs_of(label, values, name="test_r2", rows=())
    for run in runs:
        plain = dict(run.task["metrics"][0], name="test_r2", share=False, of_examples=False)
        run.task["metrics"][:] = [plain]
        run.task["columns"][:] = [plain]
        run.case["training"]["task"] = "table"
        for name in METRICS["classification"]:
            run.metrics.pop(name, None)
    return runs


def test_task_from_outside_is_explained():
    """Without accuracies, epochs or answers there are comparisons, and facts beside them."""
    told = found([*of_others("a", [0.9, 0.91, 0.92]), *of_others("b", [0.5, 0.52, 0.55])])

    assert [one.rule for one in told.sentences] == ["distinct", "unexplained"]
    assert "a is better than b: by 0.387 of test_r2" in told.sentences[0].text
    assert "a is best with test_r2 0.91" in told.answer[0]


def test_names_are_text():
    """Whatever a case is called stands in its sentences as it is: renderers escape it."""
    for name in WHOLE:
        first, second = (facts(label, values) for label, values in ((name, GOOD), ("b", BAD)))

        assert name in said(first, second)[0].text


def test_every_sentence_has_evidence_with_a_number(tmp_path):
    """No sentence without a number behind it."""
    runs = [
        *runs_of("a", GOOD, metrics={"train_accuracy": 0.99}),
        *runs_of("b", BAD),
        *runs_of("c", GOOD, status="diverged", reason="no number"),
    ]
    told = found(runs, sweep(tmp_path, runs))

    assert told.sentences
    assert all(re.search(r"\d", line) for one in told.sentences for line in one.evidence)
    assert all(one.evidence for one in told.sentences)


def test_worthless_case_is_not_the_best():
    """A net that knows its test examples is left out of the answer, which names it."""
    sound = [facts("a", GOOD, model="a"), facts("b", BAD, model="b")]
    leaking = facts("leaking", [0.99] * 3, model="leaking")
    cases = [*sound, leaking]
    best, _, sure = answer(cases, {leaking.id: "leak"}, drawn(sound), {}, 0)

    assert "a is best" in best
    assert "leaking" not in best
    assert sure.endswith("Left out: leaking (leak).")


def test_answer_tells_starts_apart():
    """Nets from random and from trained weights are two answers, and each says which it is."""
    cases = [
        facts(f"{model}-{start}", values, model=model, start=start)
        for start in ("random", "imagenet")
        for model, values in (("a", GOOD), ("b", BAD))
    ]
    best, *_ = answer(cases, {}, drawn(cases), {}, 0)

    assert "On squares (60) a is best" in best
    assert "on squares (60, from imagenet weights) a is best" in best
