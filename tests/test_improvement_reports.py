"""Improvements, as reports show them: table, advice, figure, and for other programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from browser import Opened, browser, opened
from hostile_texts import hostile, shown, tokens
from hostile_texts import text_of as text_in
from small_facts import runs_of
from small_improvements import BASE, BETTER, WORSE, improved_sweep, improvement, judged

from pytest_amlnn import Run, report
from pytest_amlnn.report import ci, text
from pytest_amlnn.report.advice import Advice, advice_of
from pytest_amlnn.report.drawing import Models, own_style
from pytest_amlnn.report.figures import effects
from pytest_amlnn.report.findings import find
from pytest_amlnn.report.improvements import table_of
from pytest_amlnn.report.sweep import read
from pytest_amlnn.report.text import advised, text_of
from pytest_amlnn.result import gather

HOSTILE = "<img src=x onerror=alert(1)></script>\"'&{{7*7}}"
MARKUP = {"html_inline", "link_open", "image", "heading_open", "em_open", "strong_open"}
MORE, RATE = "Train for more epochs.", "Tune the rate"
OTHER = [0.70, 0.74, 0.70]
"""Of a change that three seeds do not tell from its base."""
BROKEN = {"status": "diverged", "reason": "the loss of epoch 2 is not a finite number"}


def some_runs(model: str = "base") -> list[list[Run]]:
    """Return a base with a change of each verdict."""
    slow, fast = ({"train_seconds": seconds} for seconds in (4.0, 2.1))
    longer = {"recipe": {"epochs": 8}, "advice": MORE, "metrics": slow}
    return [
        runs_of("base", BASE, model=model),
        improvement("epochs_x2", BETTER, model=model, **longer),
        improvement("rate_x3", WORSE, model=model, advice=RATE, metrics=fast),
        improvement("rate_x9", [None] * 3, model=model, advice=RATE, **BROKEN),
        improvement("nothing", BASE, model=model),
        improvement("dropout", OTHER, model=model, advice="Regularise."),
    ]


def rows_of(*runs: Sequence[Run], **options: Any) -> dict[str, dict[str, str]]:
    """Return the rows of the table, their cells by head, by change."""
    table = table_of([*judged(*runs, **options).values()])
    rows = [dict(zip(table.heads, map(text_of, row), strict=True)) for row in table.rows]
    return {row["change"]: row for row in rows}


def written(folder: Path, *runs: Sequence[Run], **options: Any) -> dict:
    """Write the reports of a sweep, and give its summary."""
    report.write(improved_sweep(folder, *runs, **options))
    return json.loads((folder / "summary.json").read_text())


# they are no ordinary cases


def test_improvements_are_compared_with_their_bases_alone(tmp_path):
    """Tables, comparisons, explanations and the answer are of bases; one of them is best."""
    second = runs_of("second", WORSE)
    plain = written(tmp_path, *some_runs(), second)
    (table,) = report.tables.tables(read(tmp_path))
    said = json.dumps([plain[name] for name in ("comparisons", "explanations", "claims")])

    assert [text_of(row[0]) for row in table.rows] == ["base", "second"]
    assert len(plain["cases"]) == 7
    assert [one["better"] for one in plain["comparisons"]] == ["test_small[base]"]
    assert "epochs_x2" not in said
    assert "base is best with test_accuracy 71.0 %" in plain["answer"][0]
    assert "of 5 improvements 1 helps, 2 hurt;" in plain["answer"][2]


def test_what_failed_or_is_missing_is_named(tmp_path):
    """Improvements that diverged, were skipped or lack runs are in the notices."""
    skipped = {"test_improvement[big-base]": "no data"}
    lost = "test_improvement[lost-base]"
    written(tmp_path, *some_runs(), skipped=skipped, missing=[lost])
    shown = (tmp_path / "report.md").read_text().replace("\\", "")

    assert "rate_x9-base], seed 0: diverged" in shown
    assert "big-base]: no data" in shown
    assert "lost-base]: no run ended with seed 0" in shown


def test_improvement_without_a_base_is_named(tmp_path):
    """One that can be compared with nothing is in no table, and it is said why."""
    plain = written(tmp_path, improvement("it", BETTER))

    assert plain["improvements"] == []
    assert read(tmp_path).without_base == [
        "test_improvement[it-base]: its base test_small[base] has no run"
    ]
    assert "Compared with nothing" in (tmp_path / "report.md").read_text()


def test_planned_improvements_share_the_level(tmp_path):
    """What was planned and has no run is tried, too; what was skipped is not."""
    runs, lost = some_runs()[:2], [f"test_improvement[lost{i}-base]" for i in range(9)]
    folder = improved_sweep(tmp_path, *runs, missing=lost)
    plan = json.loads((folder / "plan.json").read_text())
    chances = []
    for skip in ("no data", None):
        for case in plan["cases"]:
            if case["id"] in lost:
                case.update(base="test_small[base]", skip=skip)
        (folder / "plan.json").write_text(json.dumps(plan))
        (worth,) = read(folder).findings.worths
        chances.append(worth.adjusted)

    assert chances[1] == pytest.approx(10 * chances[0])


def test_lost_seed_leaves_a_change_open(tmp_path):
    """A change that lacks a seed of the plan is not comparable, in every report."""
    folder = improved_sweep(tmp_path, *some_runs()[:2])
    (folder / "runs/test_improvement_epochs_x2-base/2.json").unlink()
    (worth,) = read(folder).findings.worths

    assert (worth.verdict, worth.why) == ("not comparable", "no run with seed 2")


def test_change_that_breaks_learning_is_no_failure_of_ci(tmp_path):
    """It is a finding; a base that diverges, and a change without memory, are failures."""
    github = {"GITHUB_ACTIONS": "true"}
    fine = improved_sweep(tmp_path / "a", *some_runs())
    failed = improved_sweep(
        tmp_path / "b", runs_of("base", BASE, **BROKEN), improvement("it", BASE, status="oom")
    )

    assert ci.commands(read(fine), github) == []
    assert len(ci.commands(read(failed), github)) == 2


@pytest.mark.parametrize("improved", [False, True])
def test_claims_that_were_not_tested_leave_room_for_advice(improved):
    """A sweep of improvements puts other claims to the test, and says nothing of those."""
    runs = [*runs_of("base", BASE, model="lstm")]
    if improved:
        runs += improvement("transformer", BETTER, advice="Transformers.")
    said = find(gather(runs), {}, Path("nowhere"), missing=0)

    assert len(said.claims) == (0 if improved else 4)
    assert len(said.advice) == improved


def test_command_of_an_improvement_asks_for_it(tmp_path):
    """Improvements are left out unless -m asks for them, so the command does."""
    written(tmp_path, *some_runs()[:2])
    commands = re.findall("<code>(.*?)</code>", (tmp_path / "report.html").read_text())

    assert ["-m improvement" in command for command in commands] == [False, True]


# the table


def test_row_of_a_change():
    """Base and change, both values, the difference with its bounds, verdict, costs, seeds."""
    row = rows_of(*some_runs())["epochs_x2"]
    low, high = map(float, re.findall(r"[\d.]+(?=[,\]])", row["difference"]))

    assert row == {
        "base": "base",
        "change": "epochs_x2",
        "from": "71.0 %",
        "to": "91.7 %",
        "difference": f"+20.7 [{low:.1f}, {high:.1f}]",
        "verdict": "helps",
        "time x": "2.00",
        "FLOPs x": "1.00",
        "seeds": "3",
        "remark": "",
    }
    assert 0 < low < 20.7 < high


def test_verdicts_of_a_table():
    """What hurts, is open or says nothing has its word, and a remark where numbers lack."""
    rows = rows_of(*some_runs())

    assert [*rows] == ["epochs_x2", "dropout", "nothing", "rate_x3", "rate_x9"]
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "epochs_x2": "helps",
        "dropout": "not distinguishable",
        "nothing": "identical",
        "rate_x3": "hurts",
        "rate_x9": "hurts",
    }
    assert re.fullmatch(r"\d+ seeds would decide", rows["dropout"]["remark"])
    assert rows["rate_x9"]["remark"] == "3 of 3 runs diverged"
    assert rows["rate_x9"]["difference"] == "-"
    assert rows["nothing"]["difference"] == "0.0"


def test_too_small_to_matter_is_said():
    """A change whose bounds are within what matters is decided, and one that helps by less."""
    base = runs_of("base", BASE * 2)
    small = improvement("small", [v + 0.0005 * (i % 3 - 1) for i, v in enumerate(BASE * 2)])
    tiny = {"task": "forecast", "name": "efficiency"}
    bases = runs_of("base", [0.9] * 6, **tiny)
    sure = improvement("sure", [0.905 + 0.0001 * i for i in range(6)], **tiny)

    assert rows_of(base, small)["small"]["verdict"] == "too small to matter"
    assert rows_of(bases, sure)["sure"]["verdict"] == "helps"
    assert rows_of(bases, sure)["sure"]["remark"] == "less than matters"


def test_table_says_how_to_read_it():
    """The note names the metrics, the chance that all changes share, and what is too small."""
    forecasts = {"task": "forecast", "name": "efficiency"}
    runs = [
        *some_runs(),
        runs_of("line", (0.9, 0.91, 0.92), **forecasts),
        improvement("other", (0.8, 0.8, 0.82), base="line", **forecasts),
    ]
    note = table_of(judge_all(runs)).note

    assert "in test_accuracy (in points) and efficiency" in note
    assert "chance of 5 %" in note
    assert "within 1 point of test_accuracy or 0.02 of efficiency" in note
    assert "seeds would decide" in note


def test_terminal_has_the_table_in_its_colours(tmp_path):
    """At 100 columns the verdicts stay, what helps is green, what hurts red, what is open
    yellow; below the answer stands what follows of each piece of advice."""
    sweep = read(improved_sweep(tmp_path, *some_runs()))
    sections = {title: lines for title, lines, _ in text.terminal(sweep, tmp_path, 100)}
    marks = {line.split()[1]: [*mark] for line, mark in sections["Improvements"] if mark}
    advice = [line for line, _ in sections["What was advised, and measured"]]

    assert max(len(line) for lines in sections.values() for line, _ in lines[:-1]) <= 100
    assert marks == {
        "epochs_x2": ["green"],
        "rate_x3": ["red"],
        "rate_x9": ["red"],
        "dropout": ["yellow"],
    }
    assert advice == [
        "Regularise. Open for base.",
        "Train for more epochs. Worth it for base.",
        "Tune the rate. Not worth it for base.",
        "Changes that nobody advised. Changes nothing of base.",
    ]
    assert [*sections].index("answer") < [*sections].index("What was advised, and measured")


def test_markdown_has_table_and_advice(tmp_path):
    """report.md has both, before the explanations, with how to read the table."""
    written(tmp_path, *some_runs())
    shown = (tmp_path / "report.md").read_text().replace("\\", "")
    places = [
        shown.index(words)
        for words in (
            "## Improvements",
            "| epochs_x2 ",
            "Difference: by how much a change is better",
            "## Effect of each change",
            "    difference in test_accuracy, points",
            "## What was advised, and measured",
            "- Train for more epochs. Worth it for base. Helps base by 20.7 points",
        )
    ]

    assert places == sorted(places)


# summary.json


def test_summary_has_the_documented_form(tmp_path):
    """Other programs find each improvement with base, values, bounds, verdict and costs."""
    found = written(tmp_path, *some_runs()[:2])["improvements"]
    numbers = ("low", "high", "chance", "adjusted")

    assert [{k: v for k, v in found[0].items() if k not in numbers}] == [
        {
            "id": "test_improvement[epochs_x2-base]",
            "name": "epochs_x2",
            "base": "test_small[base]",
            "advice": MORE,
            "metric": "test_accuracy",
            "seeds": [0, 1, 2],
            "base_mean": pytest.approx(0.71),
            "mean": pytest.approx(0.91667, abs=1e-5),
            "difference": pytest.approx(0.20667, abs=1e-5),
            "verdict": "helps",
            "small": False,
            "needs_seeds": None,
            "why": "paired by 3 seeds",
            "cost": {"train_seconds": pytest.approx(2.0), "flops": pytest.approx(1.0)},
            "changed": {"recipe.epochs": [4, 8]},
            "trials": None,
        }
    ]
    assert 0 < found[0]["low"] < found[0]["difference"] < found[0]["high"]
    assert 0 < found[0]["chance"] == found[0]["adjusted"] < 0.05


# advice


def advice(*runs: Sequence[Run], **options: Any) -> dict[str, tuple[str, str]]:
    """Return what was measured of each piece of advice, and what follows."""
    found = advice_of([*judged(*runs, **options).values()])
    return {one.text: (" ".join(one.measured), one.follows) for one in found}


def test_advice_is_answered_by_what_was_measured():
    """Verdict, amount, bounds and cost of each base, and a recommendation that follows."""
    found = advice(*some_runs())
    measured, follows = found["Train for more epochs."]

    assert re.fullmatch(
        r"Helps base by 20\.7 points \[[\d.]+, [\d.]+\] at 2\.0 times the training time\.",
        measured,
    )
    assert follows == "Worth it for base."
    assert [*found][-1] == "Changes that nobody advised."


def test_advice_that_hurts_is_not_worth_it():
    """Of several changes each is named, what diverged with its reason."""
    measured, follows = advice(*some_runs())["Tune the rate."]

    assert re.match(r"Hurts base \(rate_x3\) by 19\.3 points \[[\d.]+, [\d.]+\]", measured)
    assert "base (rate_x9: 3 of 3 runs diverged: seed 0" in measured
    assert follows == "Not worth it for base."


def test_advice_differs_by_base():
    """What helps one net and not another is worth it for the first; what is open is neither."""
    changes = [("a", BETTER), ("b", WORSE), ("c", OTHER), ("d", BASE)]
    runs = [
        run
        for base, values in changes
        for run in (
            runs_of(base, BASE),
            improvement("it", values, base=base, advice=MORE),
        )
    ]
    (one,) = advice_of(judge_all(runs))
    measured = " ".join(one.measured)

    assert one.follows == "Worth it for a; not worth it for b and d; open for c."
    assert re.search(r"Is not distinguishable for c \(\d+ seeds would decide\)", measured)
    assert "Changes nothing of d" in measured


def judge_all(runs: Sequence[Sequence[Run]]) -> Any:
    """Return what all changes are worth, whatever they are called."""
    return find(gather(r for some in runs for r in some), {}, Path("nowhere"), missing=0).worths


def test_best_change_of_a_base_is_recommended():
    """Of two changes that help, the one that helps more stands in the recommendation."""
    half = [v + 0.1 for v in BASE]
    runs = [
        runs_of("base", BASE),
        improvement("x2", half, advice=MORE),
        improvement("x4", [v + 0.2 for v in BASE], advice=MORE),
        improvement("less", [v - 0.2 for v in BASE], advice=MORE),
    ]

    assert advice(*runs)["Train for more epochs."][1] == "Worth it for base (x4)."


def test_advice_that_helps_less_than_matters_is_not_worth_it():
    """A sure gain that nobody would act on is said, and not recommended."""
    tiny = {"task": "forecast", "name": "efficiency"}
    base = runs_of("base", [0.9] * 6, **tiny)
    sure = improvement("it", [0.905 + 0.0001 * i for i in range(6)], advice=MORE, **tiny)
    measured, follows = advice(base, sure)["Train for more epochs."]

    assert measured.startswith("Helps base by 0.00525 of efficiency [0.00")
    assert "less than matters" in measured
    assert follows == "Not worth it for base."


def test_what_cannot_be_compared_is_no_recommendation():
    """Without a comparison nothing follows."""
    runs = [runs_of("base", BASE, **BROKEN), improvement("it", BETTER, advice=MORE)]
    measured, follows = advice(*runs)["Train for more epochs."]

    assert measured == "Cannot be compared for base (its base diverged with seed 0)."
    assert follows == "Nothing was measured that tells."


# explanations


def confounded(*changes: list[Run]) -> str:
    """Return what is said of two nets that differ in mixup and epochs, with its evidence."""
    runs = [
        runs_of("a", BETTER, recipe={"mixup": 0.2, "epochs": 9}),
        runs_of("b", WORSE, recipe={"mixup": 0.0, "epochs": 4}),
        *changes,
    ]
    found = find(gather(r for some in runs for r in some), {}, Path("nowhere"), missing=0)
    (one,) = [sentence for sentence in found.sentences if sentence.rule == "not_alike"]
    return "\n".join([one.text, *one.evidence])


def test_measured_confounder_is_cited():
    """Where a change of one of two nets is just what they differ in, its worth is evidence."""
    mixup = {"base": "b", "recipe": {"mixup": 0.2, "epochs": 4}}
    said = confounded(improvement("mixup", BETTER, **mixup))

    assert "What mixup does was measured here." in said
    assert re.search(
        r"measured of b, mixup from 0\.0 to 0\.2: helps by 40\.0 points \[[\d.]+, [\d.]+\]",
        said,
    )


@pytest.mark.parametrize(
    "change",
    [
        improvement("wide", BETTER, base="b", recipe={"mixup": 0.0, "width": 9}),
        improvement("both", BETTER, base="b", recipe={"mixup": 0.2, "width": 9}),
        improvement("data", BETTER, base="b", recipe={"mixup": 0.0}, size=99),
        improvement("mixup", BETTER, base="b", recipe={"mixup": 0.2}, status="oom"),
    ],
    ids=["another field", "more than that", "nothing of the recipe", "not comparable"],
)
def test_other_changes_are_not_cited(change):
    """What two nets do not differ in says nothing of them, nor does what was not measured."""
    assert "measured" not in confounded(change)


# the figure


def drawn(*runs: Sequence[Run]) -> list[Any]:
    """Return the figures of changes."""
    with own_style():
        return [*effects.figures([*judged(*runs).values()], Models(names=("base",)))]


def test_forest_has_a_row_for_each_change():
    """Pointing at a change names base, change, difference, bounds, verdict and costs; one that
    has no value has its words in the drawing."""
    (figure,) = drawn(*some_runs())
    told = {point["t"].partition(":")[0]: point["t"] for point in figure.marks.points}
    words = " ".join(ElementTree.fromstring(figure.svg).itertext())

    assert [*told] == [
        f"base, {name}" for name in ("epochs_x2", "dropout", "nothing", "rate_x3")
    ]
    assert re.fullmatch(
        r"base, epochs_x2: \+20\.7 \[[\d.]+, [\d.]+\] points, helps, time 2.00 x, FLOPs 1.00 x",
        told["base, epochs_x2"],
    )
    assert "hurts: 3 of 3 runs diverged" in words
    assert "base, rate_x9: -, hurts" in figure.words


def test_verdicts_differ_in_shape():
    """Not by colour alone: no two verdicts have the same marker and filling."""
    shapes = [
        (shape["marker"], shape.get("markerfacecolor")) for shape in effects.SHAPES.values()
    ]

    assert len({*shapes}) == len(shapes) == 5


def test_metrics_have_axes_of_their_own():
    """Points of accuracy and efficiency are not drawn on one axis."""
    forecasts = {"task": "forecast", "name": "efficiency"}
    figures = drawn(
        *some_runs()[:2],
        runs_of("line", (0.9, 0.91, 0.92), **forecasts),
        improvement("other", (0.8, 0.8, 0.82), base="line", **forecasts),
    )

    assert [figure.title for figure in figures] == [
        "Effect of each change on test_accuracy",
        "Effect of each change on efficiency",
    ]


def test_many_changes_are_drawn_in_parts():
    """A figure has forty rows, bases together; each change is in one of them."""
    runs = [
        some
        for base in ("a", "b", "c")
        for some in (
            runs_of(base, BASE),
            *(
                improvement(f"c{i}", [v + i / 99 for v in BASE], base=base)
                for i in range(1, 16)
            ),
        )
    ]
    with own_style():
        figures = [*effects.figures(judge_all(runs), Models(names=("a", "b", "c")))]
    titles = [figure.title for figure in figures]

    assert titles == [
        "Effect of each change on test_accuracy",
        "Effect of each change on test_accuracy, from c on",
    ]
    assert [len(figure.marks.points) for figure in figures] == [30, 15]


# in a browser


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    """A browser."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The report of a base with a change of each verdict."""
    folder = tmp_path_factory.mktemp("improvements")
    written(folder, *some_runs(), runs_of("second", WORSE, model="second"))
    return folder / "report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desktop"])
def test_section_is_accessible(window, page, scheme, width):
    """axe-core finds nothing serious, nothing is asked for, and no error is said."""
    size = {"width": width, "height": 900}
    with opened(window, page, viewport=size, color_scheme=scheme) as found:
        assert found.violations() == []
        assert (found.said, found.asked) == ([], [])


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_page_is_as_wide_as_its_window(window, page, width):
    """Table and figure scroll by themselves."""
    with opened(window, page, viewport={"width": width, "height": 900}) as found:
        assert found.page.evaluate("document.documentElement.scrollWidth") <= width


OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll('#improvements .drawing text')]
    .map((text) => [text.textContent, text.getBoundingClientRect()]);
  return boxes.flatMap(([a, x], i) => boxes.slice(i + 1)
    .filter(([, y]) => x.left < y.right - 1 && y.left < x.right - 1
      && x.top < y.bottom - 1 && y.top < x.bottom - 1)
    .map(([b]) => `${a} | ${b}`));
}"""


@pytest.mark.parametrize("width", [320, 1280])
def test_labels_do_not_overlap(window, tmp_path_factory, page, width):
    """No name, number or axis label covers another one, not even long ones."""
    runs = [
        runs_of("b" * 60, BASE),
        improvement("c" * 50, BETTER, base="b" * 60),
        improvement("d" * 50, [None] * 3, base="b" * 60, **BROKEN),
        improvement("e", [v - 0.3 for v in BASE], base="b" * 60),
    ]
    folder = tmp_path_factory.mktemp("long")
    written(folder, *runs)
    for file in (page, folder / "report.html"):
        with opened(window, file, viewport={"width": width, "height": 900}) as found:
            assert found.page.locator("#improvements .drawing text").count() > 10
            assert found.page.evaluate(OVERLAPS) == []


def pointed_at(found: Opened) -> set[str]:
    """Give what is told as one points along each row of the forest plot."""
    drawing = found.page.locator("#improvements .drawing")
    drawing.scroll_into_view_if_needed()
    box, told = drawing.locator("svg").bounding_box(), set()
    for y in range(20, int(box["height"]), 12):
        for x in range(200, int(box["width"]) - 150, 24):
            found.page.mouse.move(box["x"] + x, box["y"] + y)
            told.add(found.page.locator("#tip").text_content())
    return told - {""}


def test_pointing_at_a_change_tells_its_numbers(window, page):
    """Each change that has a value is named where it is pointed at."""
    with opened(window, page, viewport={"width": 1280, "height": 1200}) as found:
        told = pointed_at(found)

    assert {words.partition(":")[0] for words in told} == {
        f"base, {name}" for name in ("epochs_x2", "dropout", "nothing", "rate_x3")
    }


def test_changes_vanish_with_their_model(window, page):
    """A model that is switched off takes the changes of its bases out of the figure."""
    with opened(window, page, viewport={"width": 1280, "height": 900}) as found:
        marks = found.page.locator("#improvements .drawing .model-0:visible")
        before = marks.count()
        found.page.locator("form.models input[data-name=base]").uncheck()

        assert before > 10
        assert marks.count() == 0


def test_table_sorts_by_difference(window, page):
    """A click on the head sorts by the numbers behind the words."""
    with opened(window, page, viewport={"width": 1280, "height": 900}) as found:
        table = found.page.locator("#improvements table")
        table.locator("th button", has_text="difference").click()
        rows = [row.split("\t")[1] for row in table.locator("tbody").inner_text().split("\n")]

    assert rows == ["rate_x3", "nothing", "dropout", "epochs_x2", "rate_x9"]


def test_hostile_names_stay_text_in_a_browser(window, tmp_path):
    """Markup in the names of changes, in advice and bases is text, and nothing of it runs."""
    runs = [
        runs_of(HOSTILE, BASE, model=HOSTILE),
        improvement(f"a\x1b{HOSTILE}", BETTER, base=HOSTILE, advice=HOSTILE),
        improvement(f"b{HOSTILE}", [None] * 3, base=HOSTILE, status="diverged", reason=HOSTILE),
    ]
    written(tmp_path, *runs)
    with opened(window, tmp_path / "report.html") as found:
        shown = found.page.locator("#improvements").inner_text()

        assert (found.said, found.asked) == ([], [])
        assert found.page.locator("img").count() == 0
        assert HOSTILE in shown
        assert "49" not in found.page.locator("#improvements dl").inner_text()


@hostile
def test_hostile_advice_is_text_in_markdown(text: str):
    """Whatever somebody advised reads in report.md as it is, and makes one item of a list."""
    one = Advice(text=f"{text}.", follows="Worth it.", measured=("Helps it.",))
    (item,) = re.findall("^- .*", advised([one]), re.MULTILINE)
    found = tokens(item)

    assert text_in(found) == shown(f"{text}. Worth it. Helps it.")
    assert not {token.type for token in found} & MARKUP
