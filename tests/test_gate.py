"""Files of limits, and what they say of a result."""

from __future__ import annotations

import json
import os
import re

import pytest
from small_cases import line_case, small_case
from small_runs import small_run

from pytest_amlnn import Case, Classification, Metric
from pytest_amlnn.gates.gate import Gate, judge_result
from pytest_amlnn.gates.limit_checks import unknown
from pytest_amlnn.gates.limits import GateError, Limit, Limits, load, to_plain
from pytest_amlnn.gates.verdict import Verdict
from pytest_amlnn.metrics import COMMON
from pytest_amlnn.result import Result, gather

ID = "test_small[linear]"


@pytest.fixture
def limits(tmp_path):
    """Write a file of limits and give its path."""

    def write(text: str | bytes):
        path = tmp_path / "gates.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def result(*, contended: bool = False, **metrics: float | None) -> Result:
    """Give the result of one run."""
    return gather([small_run(ID, metrics=metrics, contended=contended)])[0]


def limit(metric: str = "test_accuracy", **bounds: float) -> Limit:
    """Give a limit on the small case."""
    return Limit(case=ID, metric=metric, **bounds)


def judge(result: Result, limits: list[Limit], *, enforced: bool = True) -> Verdict:
    """Hold a result against limits."""
    held = Limits(limits=tuple(limits))
    return judge_result(result, Gate(held=held, planned={ID: 1}, enforced=enforced))


# the file


def test_limits_of_one_profile_are_read(limits):
    """Each profile has its own limits, with bounds on either side or both."""
    path = limits("""
        [quick."test_cnn[a-random-shapes-200]"]
        test_accuracy = { at_least = 0.2 }
        train_seconds = { at_most = 60 }

        [quick."test_rnn[lstm-1000]"]
        test_mse = { at_least = 1, at_most = 1.5 }

        [seed."test_cnn[a-random-10k]"]
        test_accuracy = { at_least = 0.3 }
    """)
    found = [
        (one.case, one.metric, one.at_least, one.at_most) for one in load(path, "quick").limits
    ]

    assert found == [
        ("test_cnn[a-random-shapes-200]", "test_accuracy", 0.2, None),
        ("test_cnn[a-random-shapes-200]", "train_seconds", None, 60),
        ("test_rnn[lstm-1000]", "test_mse", 1, 1.5),
    ]
    assert [one.case for one in load(path, "seed").limits] == ["test_cnn[a-random-10k]"]
    assert load(path, "full") == Limits()


def test_empty_file_has_no_limits(limits):
    """A file may hold nothing at all."""
    assert load(limits(""), "quick") == Limits()


def test_limit_survives_json(limits):
    """A limit goes into the plan and comes back from it as it was."""
    (one,) = load(limits('[quick."test[a]"]\ntest_mse = { at_most = 2 }'), "quick").limits

    assert Limit(**json.loads(json.dumps(to_plain(one), allow_nan=False))) == one


def test_limit_knows_its_line(limits):
    """A limit says where it stands, for the message when it is not kept."""
    path = limits('\n[quick."test[a]"]\n\ntest_mse = { at_most = 2 }\n')

    assert load(path, "quick").limits[0].where == f"{path}:4"


HEAD = '# no test_accuracy\n[quick."test[a]"]\n'
"""The metric's name stands in a comment too: the right line is 3."""


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[nightly]\n", 1, "'nightly' is no profile; use quick or seed or lab or full"),
        ("# nightly\n[nightly]\n", 2, "'nightly' is no profile"),
        ('# test[a]\n[quick]\n"test[a]" = 0.5', 3, "needs a table such as"),
        (f"{HEAD}test_accuracy = 0.5", 3, "needs a table such as"),
        (
            f"{HEAD}test_accuracy = {{ least = 0.5 }}",
            3,
            "unknown key 'least'; did you mean 'at_least'?",
        ),
        (f"{HEAD}test_accuracy = {{}}", 3, "needs at_least, at_most, exactly or a reference"),
        (
            f"{HEAD}test_accuracy = {{ at_least = 0.5, why = 1 }}",
            3,
            "unknown key 'why'; known: at_least, at_most, exactly, reference, margin",
        ),
        (f"{HEAD}test_accuracy = {{ at_least = 50 }}", 3, "is 50, needs a share from 0 to 1"),
        (f"{HEAD}test_accuracy = {{ at_most = -0.1 }}", 3, "at_most is -0.1, needs a share"),
        (
            f"{HEAD}test_mse = {{ at_least = 2, at_most = 1 }}",
            3,
            "at_least exceeds at_most, nothing can pass",
        ),
    ],
)
def test_bad_limit_is_named(limits, text, line, words):
    """A limit that nothing could be held against is refused with file, line and remedy."""
    path = limits(text)

    with pytest.raises(GateError, match=f"^{re.escape(str(path))}:{line}: .*{words}"):
        load(path, "quick")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "9" * 5000, "not TOML: "),
        ("x = " + "[" * 5000, "not TOML: "),
        (HEAD.encode("utf-16"), "not UTF-8, "),
        (None, "is no file; --amlnn-gates names "),
    ],
    ids=["digits", "depth", "utf-16", "pipe"],
)
def test_file_that_cannot_be_limits_is_named(tmp_path, text, words):
    """Whatever lies in the place of a file of limits, one sentence names it, and no pipe is
    waited for."""
    path = tmp_path / "gates.toml"
    if text is None:
        os.mkfifo(path)
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(GateError, match=f"^{re.escape(str(path))}: {words}"):
        load(path, "quick")


@pytest.mark.parametrize("bound", ["'0.5'", "nan", "true", "[1]", "{}", "9" * 400])
def test_bound_that_is_no_number_is_refused(limits, bound):
    """Text, truth values and nan are no bounds, though Python might compare them."""
    path = limits(f"{HEAD}test_accuracy = {{ at_least = {bound} }}")

    with pytest.raises(
        GateError, match=r":3: test_accuracy: at_least is .*, needs a finite number"
    ):
        load(path, "quick")


@pytest.mark.parametrize("profile", ["quick", "seed"])
def test_all_profiles_are_checked(limits, profile):
    """A mistake under [full] is found before the weekend on which `full` is run."""
    path = limits('[full."test[a]"]\ntest_mse = { at_last = 1 }')

    with pytest.raises(GateError, match=":2: "):
        load(path, profile)


def test_line_is_that_of_the_case(limits):
    """Where cases share a metric, the line is that of the case that is wrong."""
    path = limits(
        '[quick."test[a]"]\ntest_mse = { at_most = 1 }\n'
        '[quick."test[a-long]"]\ntest_mse = { at_most = nan }\n'
    )

    with pytest.raises(GateError, match="toml:4: "):
        load(path, "quick")


def test_line_is_that_of_the_profile(limits):
    """Where profiles take turns, the line is that of the profile that is wrong."""
    path = limits(
        '[quick."test[a]"]\ntest_mse = { at_most = 1 }\n'
        '[seed."test[b]"]\ntest_mse = { at_most = 1 }\n'
        '[quick."test[b]"]\ntest_mse = { at_most = nan }\n'
    )

    with pytest.raises(GateError, match="toml:6: "):
        load(path, "quick")


def test_infinite_bound_is_refused(limits):
    """A bound that every number keeps, and that no JSON can hold, is a mistake."""
    with pytest.raises(GateError, match=":3: .*at_most is inf"):
        load(limits(f"{HEAD}test_mse = {{ at_most = inf }}"), "quick")


def test_syntax_error_has_its_line(limits):
    """What is no TOML is refused with the file and the parser's line."""
    path = limits("\n\nthis is no TOML\n")

    with pytest.raises(GateError, match=f"{re.escape(str(path))}: not TOML: .*line 3"):
        load(path, "quick")


def test_key_given_twice_is_refused(limits):
    """Two limits on one metric are a mistake, not an override."""
    path = limits(f"{HEAD}test_mse = {{ at_most = 1 }}\ntest_mse = {{ at_most = 2 }}\n")

    with pytest.raises(GateError, match="not TOML: Cannot overwrite a value"):
        load(path, "quick")


def test_other_encoding_is_refused(limits):
    """A file that is not UTF-8 is named."""
    path = limits("# Grüße".encode("latin-1"))

    with pytest.raises(GateError, match=f"{re.escape(str(path))}: .*utf-8"):
        load(path, "quick")


def test_missing_file_is_named(tmp_path):
    """A file that is not there is named, with the option that names it."""
    with pytest.raises(GateError, match="none.toml: No such file .*; --amlnn-gates names"):
        load(tmp_path / "none.toml", "quick")


def test_folder_is_no_file_of_limits(tmp_path):
    """A folder in the file's place is named."""
    with pytest.raises(GateError, match=f"{re.escape(str(tmp_path))}: is no file"):
        load(tmp_path, "quick")


# the judgement


@pytest.mark.parametrize(
    ("value", "bounds", "verdict"),
    [
        (0.5, {"at_least": 0.5}, "passed"),
        (0.5, {"at_most": 0.5}, "passed"),
        (0.5, {"at_least": 0.4, "at_most": 0.6}, "passed"),
        (0.49, {"at_least": 0.5}, "regressed"),
        (0.51, {"at_most": 0.5}, "regressed"),
        (0.3, {"at_least": 0.4, "at_most": 0.6}, "regressed"),
        (None, {"at_least": 0.0}, "regressed"),
        (None, {"at_most": 1.0}, "regressed"),
        (float("nan"), {"at_least": 0.0}, "regressed"),
        (float("nan"), {"at_most": 1.0}, "regressed"),
    ],
)
def test_bounds_are_kept_or_not(value, bounds, verdict):
    """Bounds belong to the range; a result without a number keeps none."""
    judged = judge(result(test_accuracy=value), [limit(**bounds)])

    assert judged.name == verdict
    assert judged.passed == (verdict == "passed")


def test_mean_is_judged():
    """The mean of the seeds is held against the limit, not each run."""
    runs = [small_run(ID, i, metrics={"test_accuracy": x}) for i, x in enumerate((0.2, 0.6))]
    (both,) = gather(runs)

    assert judge(both, [limit(at_least=0.4)]).passed
    assert not judge(both, [limit(at_least=0.41)]).passed


def test_no_limits_no_verdict():
    """A case without limits has no verdict, and its item may be green."""
    other = Limit(case="test_small[other]", metric="test_accuracy", at_least=1.0)

    for limits in ([], [other]):
        judged = judge(result(), limits)
        assert (judged.name, judged.judgements, judged.message) == (None, (), "")
        assert judged.passed


def test_worst_limit_decides():
    """One limit that is not kept outweighs those that are."""
    judged = judge(result(), [limit(at_least=0.1), limit(at_least=0.9), limit(at_most=0.9)])

    assert judged.name == "regressed"
    assert [one.verdict for one in judged.judgements] == ["passed", "regressed", "passed"]


@pytest.mark.parametrize("metric", [metric.name for metric in COMMON if metric.of_clock])
def test_contended_times_prove_nothing(metric):
    """What was measured beside another run is neither kept nor broken, and stays green."""
    shared = result(contended=True, **{metric: 5.0})
    judged = judge(shared, [limit(metric, at_most=1.0)])

    assert judged.name == "not comparable"
    assert judged.passed
    assert f"{ID}: not comparable: {metric} is 5, needs at most 1" in judged.message


def test_contention_does_not_excuse_accuracy():
    """Only what depends on the machine is excused by another run beside it."""
    judged = judge(
        result(contended=True),
        [limit("train_seconds", at_most=1.0), limit(at_least=0.9)],
    )

    assert judged.name == "regressed"


def test_report_mode_never_fails():
    """Without enforcement the verdict is told and the item stays green."""
    judged = judge(result(), [limit(at_least=0.9)], enforced=False)

    assert judged.name == "regressed"
    assert judged.passed
    assert judged.message


def test_message_says_all():
    """Case, metric, value, limit and place stand in one line for each limit not kept."""
    where = Limit(case=ID, metric="test_loss", at_least=1, at_most=2, where="gates.toml:7")
    judged = judge(result(), [limit(at_least=0.8), limit(at_most=0.9), where])

    assert judged.message.splitlines() == [
        f"{ID}: regressed: test_accuracy is 0.75, needs at least 0.8",
        f"{ID}: regressed: test_loss is 0.5, needs at least 1 and at most 2 (gates.toml:7)",
    ]
    assert repr(judged) == judged.message


def test_message_says_that_there_is_no_value():
    """A metric without a mean is called that, not None."""
    judged = judge(result(test_accuracy=None), [limit(at_least=0.8)])

    assert judged.message == f"{ID}: regressed: test_accuracy is no value, needs at least 0.8"


def test_limit_on_a_metric_that_the_result_has_not():
    """A metric that no run can have keeps no bound, in a report of any age too."""
    judged = judge(result(), [limit("test_acuracy", at_least=0.1)])

    assert judged.name == "regressed"
    assert judged.message == f"{ID}: regressed: test_acuracy is no value, needs at least 0.1"


# limits and cases


def test_limit_on_a_case_that_is_not_there():
    """A mistyped case is named with place and the nearest that there is."""
    wrong = Limit(case="test_cnn[vgg19-10k]", metric="test_loss", at_most=1, where="g.toml:3")
    labels = ("vgg19-random-10k", "gru-1")
    known = {f"test_cnn[{label}]": small_case(label) for label in labels}

    assert unknown([wrong], {"test_cnn": known}) == [
        "g.toml:3: no case 'test_cnn[vgg19-10k]' in this profile;"
        " did you mean 'test_cnn[vgg19-random-10k]'?"
    ]


def test_limit_on_a_metric_of_another_task():
    """A forecast has no accuracy to hold a limit against."""
    (words,) = unknown([limit(at_least=0.5)], {"test_small": {ID: line_case()}})

    assert "'test_accuracy': it is no metric of a forecast case" in words


@pytest.mark.parametrize(
    ("metric", "remedy"),
    [
        ("test_acuracy", r"; did you mean 'test_accuracy'\?"),
        ("speed", "; known: epochs, .*, test_accuracy, .*, train_seconds, .*"),
    ],
)
@pytest.mark.parametrize("profile", ["quick", "seed"])
def test_unknown_metric_is_named(limits, metric, remedy, profile):
    """A metric that a case cannot have is refused with file, line, task and remedy."""
    path = limits(f'# {metric}\n[{profile}."{ID}"]\n{metric} = {{ at_least = 0.5 }}')
    (words,) = unknown(load(path, profile).limits, {"test_small": {ID: small_case()}})

    assert re.fullmatch(
        f"{re.escape(str(path))}:3: unknown metric '{metric}': it is no metric of a"
        f" classification case{remedy}",
        words,
    )


@pytest.mark.parametrize("metric", ["test_accuracy", "train_seconds", "peak_memory_bytes"])
def test_limit_on_any_metric_of_the_task_or_of_all_runs(metric):
    """What a task names, and what every run has, may have limits."""
    assert unknown([limit(metric, at_most=1)], {"test_small": {ID: small_case()}}) == []


class Graded(Classification):
    """A task of somebody else, with a share and a number of its own."""

    name = "graded"
    metrics = (
        Metric(name="test_kappa", better="higher", share=True),
        Metric(name="test_grade", better="lower"),
    )


@pytest.fixture
def graded() -> dict[str, Case]:
    """A case of somebody else's task, by its id."""
    return {ID: small_case(task=Graded())}


def test_metrics_of_another_task_may_have_limits(graded):
    """A task that is not ours has limits on its own metrics, on no others."""
    own = [limit("test_kappa", at_least=0.5), limit("test_grade", at_most=5)]

    assert unknown(own, {"test_small": graded}) == []
    assert (
        "no metric of a graded case" in unknown([limit(at_least=1)], {"test_small": graded})[0]
    )


def test_bound_that_no_share_meets_is_refused_for_any_task(graded):
    """A metric that a task calls a share needs a bound from 0 to 1."""
    wrong = Limit(case=ID, metric="test_kappa", at_least=50, where="gates.toml:3")

    assert unknown([wrong], {"test_small": graded}) == [
        "gates.toml:3: test_kappa: at_least is 50, needs a share from 0 to 1"
    ]


def test_limits_on_tests_that_were_not_collected_are_left_alone():
    """As long as a test function may stand in another file, its limits are not judged."""
    others = [
        Limit(case=f"{name}[x]", metric="test_loss", at_most=1)
        for name in ("test_rnn", "test_smaller")
    ]
    known = {"test_small": {ID: small_case()}}

    assert (
        unknown([*others, limit(at_least=0.5)], known, elsewhere={"test_rnn", "test_smaller"})
        == []
    )


def test_limits_on_a_test_that_does_not_exist():
    """Once every test was collected, a function that is none of them is an error."""
    wrong = Limit(case="test_smal[x]", metric="test_loss", at_most=1, where="g.toml:3")
    known = {"test_small": {ID: small_case()}}

    assert unknown([wrong], known) == [
        "g.toml:3: no test function 'test_smal' trains a case; did you mean 'test_small'?"
    ]


@pytest.mark.parametrize("id", ["test_small[linear-1-2]", "test_small[2-linear]"])
def test_limits_on_cases_whose_ids_a_plugin_lengthens(id):
    """Where a repeater adds a parameter, a limit on the plain id is no mistake."""
    assert unknown([limit(at_least=0.5)], {"test_small": {id: None}}) == []
