"""report.html, as its reader sees it: in a browser, and as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

import pytest
from browser import Opened, browser, opened
from example_report import EXAMPLE, unpacked
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_runs import odd_runs
from small_histories import sweeps_with
from small_runs import small_epoch, small_run, sweep

from pytest_amlnn import report, store
from pytest_amlnn.cli import main
from pytest_amlnn.report import page
from pytest_amlnn.report.sweep import read
from pytest_amlnn.result import Run

HOSTILE = "<img src=x onerror=alert(1)></script>\"'&{{7*7}}"
"""Markup, a script's end, quotes, and a template's expression."""


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """The run directory of a real quick sweep."""
    return unpacked(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def rendered(example) -> Path:
    """Its report.html."""
    report.write(example)
    return example / "report.html"


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    """A browser."""
    with browser() as started:
        yield started


@pytest.fixture
def reader(window, rendered) -> Iterator[Opened]:
    """The report of the real sweep, opened at a desk."""
    with opened(window, rendered, viewport={"width": 1280, "height": 900}) as found:
        yield found


class Words(HTMLParser):
    """Takes a page apart: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Take note of an element."""
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        """Take note of text."""
        self.text.append(data)


def sentences(text: str) -> list[str]:
    """Give all words of a page, without its drawings."""
    plain = re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    return [" ".join(words.split()) for words in Words(plain).text if words.strip()]


def written(folder: Path, runs: list[Run], **options: Any) -> str:
    """Write the reports of a sweep and give its page."""
    report.write(sweep(folder, runs, **options))
    return (folder / "report.html").read_text()


# in a browser


def test_report_asks_for_nothing_and_says_no_error(reader):
    """A real sweep's report makes no request and leaves the console empty."""
    assert reader.said == []
    assert reader.asked == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desktop"])
def test_report_is_accessible(window, rendered, scheme, width):
    """axe-core finds nothing serious, in the light, in the dark, and on a phone."""
    size = {"width": width, "height": 900}
    with opened(window, rendered, viewport=size, color_scheme=scheme) as found:
        assert found.violations() == []


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_page_is_as_wide_as_its_window(window, rendered, width):
    """Nothing but tables and drawings, which scroll by themselves, is wider than a window."""
    with opened(window, rendered, viewport={"width": width, "height": 900}) as found:
        assert found.page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_follows_the_system(window, rendered):
    """The ground is dark where the reader's system is, and the words are light."""
    with opened(window, rendered, color_scheme="dark") as found:
        style = "getComputedStyle(document.body)"
        ground = found.page.evaluate(f"{style}.backgroundColor")
        words = found.page.evaluate(f"{style}.color")

    assert max(map(int, re.findall(r"\d+", ground))) < 60
    assert min(map(int, re.findall(r"\d+", words))) > 180


def rows_of(found: Opened, column: int) -> list[str]:
    """Give the visible cells of a column of the first table."""
    return found.page.evaluate(
        f"[...document.querySelector('#results table').tBodies[0].rows]"
        f".filter((row) => !row.hidden).map((row) => row.cells[{column}].textContent)"
    )


def test_tables_sort_by_keyboard(reader):
    """Enter on a head sorts by its numbers, once upwards, twice downwards, and says so."""
    head = reader.page.locator("#results table").first.locator("th", has_text="accuracy")
    head.locator("button").focus()
    reader.page.keyboard.press("Enter")
    up = [float(text.split()[0]) for text in rows_of(reader, 3)]
    reader.page.keyboard.press("Enter")
    down = [float(text.split()[0]) for text in rows_of(reader, 3)]

    assert up == sorted(up)
    assert up[0] < up[-1]
    assert down == up[::-1]
    assert head.get_attribute("aria-sort") == "descending"


def test_tables_filter_by_keyboard(reader):
    """Rows that lack a typed word are hidden in all tables, and the rest are counted."""
    reader.page.locator("#filter").focus()
    reader.page.keyboard.type("vgg 600")
    shown = rows_of(reader, 0)

    assert shown == ["vgg11", "vgg19"]
    assert reader.page.locator("#count").text_content() == "2 of 24 rows"
    assert reader.page.locator("#reproduce tbody tr:visible").count() == 2


def test_models_switch_off_everywhere(reader):
    """A model that is switched off vanishes from all tables and figures, and comes back."""
    box = reader.page.locator("form.models input[data-name=vgg11]")
    of_model = f"svg .model-{box.get_attribute('value')}"
    parts = reader.page.locator(of_model)
    count = (
        f"[...document.querySelectorAll('{of_model}')]"
        ".filter((part) => getComputedStyle(part).display !== 'none').length"
    )
    box.focus()
    reader.page.keyboard.press("Space")

    assert parts.count() > 20
    assert reader.page.evaluate(count) == 0
    assert "vgg11" not in rows_of(reader, 0)
    reader.page.keyboard.press("Space")
    assert reader.page.evaluate(count) == parts.count()


def test_pointing_at_a_curve_tells_seed_and_value(reader):
    """The nearest point of a curve is named: case, seed, split, epoch and value."""
    drawing = reader.page.locator(".drawing").first
    drawing.scroll_into_view_if_needed()
    box = drawing.locator("svg").bounding_box()
    told = set()
    for step in range(40):
        reader.page.mouse.move(box["x"] + 60 + 5 * step, box["y"] + 100)
        told.add(reader.page.locator("#tip").text_content())

    assert any(
        re.fullmatch(r".+, seed \d+, (train|validation), epoch \d+: [\d.]+", t) for t in told
    )


def test_command_of_a_row_is_copied(window, rendered):
    """A button copies the command that trains a row again."""
    allowed = ["clipboard-read", "clipboard-write"]
    with opened(window, rendered, permissions=allowed) as found:
        found.page.locator("#reproduce button").first.click()
        found.page.wait_for_function(
            "document.querySelector('#reproduce button').textContent === 'copied'"
        )
        copied = found.page.evaluate("navigator.clipboard.readText()")

    assert re.fullmatch(r"pytest '?benchmarks/test_cnn.py::test_cnn\[.*\]'? --amlnn-.*", copied)


def test_report_reads_without_a_script(window, rendered):
    """Every table, sentence and figure is there; what only a script could do is not offered."""
    with opened(window, rendered, java_script_enabled=False) as found:
        assert found.page.locator("#results tbody tr:visible").count() == 24
        assert found.page.locator(".drawing svg:visible").count() > 10
        assert found.page.locator(".script-only:visible").count() == 0


def test_hostile_names_stay_text_in_a_browser(window, tmp_path):
    """Markup in any name of a record is shown as text, and nothing of it runs."""
    runs = [
        small_run(f"test_small[{i}{HOSTILE}]", model=f"{i}\x1b{HOSTILE}", dataset=HOSTILE)
        for i in range(2)
    ]
    written(tmp_path, runs, skipped={"test_small[x]": HOSTILE})
    with opened(window, tmp_path / "report.html") as found:
        assert found.said == []
        assert found.asked == []
        assert found.page.locator("img").count() == 0
        assert HOSTILE in found.page.locator("#results").inner_text()


@pytest.fixture(scope="module")
def history(tmp_path_factory) -> Path:
    """The page of twelve sweeps, the last ones with other accuracies, of a hostile model."""
    folder, model = tmp_path_factory.mktemp("history"), f"m\x1b{HOSTILE}"
    means = [0.7] * 6 + [0.5] * 6
    places = sweeps_with(folder, means, id=f"test_small[{model}]", model=model)
    assert main(["report", *map(str, places), "--out", str(folder)]) == 0
    return folder / "history.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_history_is_accessible(window, history, scheme):
    """The history of sweeps asks for nothing, says no error, and axe-core finds nothing."""
    with opened(window, history, color_scheme=scheme) as found:
        assert found.violations() == []
        assert (found.said, found.asked) == ([], [])
        assert found.page.locator("img").count() == 0


def test_history_draws_its_steps(history):
    """A step is told in the first sentence, in words, and as a dashed line in the figure."""
    text = history.read_text()
    (first, *_) = re.findall(r'<p class="answer">(.*?)</p>', text)

    assert first.startswith("1 of 1 cases stepped to another level: test_small[m\\x1b")
    assert "test_accuracy fell from 0.7" in " ".join(sentences(text))
    assert ", 1 step" in text
    assert text.count("stroke-dasharray") == 1


def test_report_prints_within_its_paper(window, rendered):
    """On paper nothing is cut off at the side, and what is no use there is gone."""
    with opened(window, rendered, viewport={"width": 1000, "height": 700}) as found:
        found.page.emulate_media(media="print")
        width = found.page.evaluate("document.documentElement.scrollWidth")

        assert width <= 1000
        useless = "nav:visible, input:visible, #reproduce button:visible"
        assert found.page.locator(useless).count() == 0


# as text


def test_example_is_what_the_renderer_makes(rendered):
    """docs/example-report.html is the page of the committed record, word for word."""
    committed, made = EXAMPLE.read_text(), rendered.read_text()

    assert sentences(made) == sentences(committed), "run python tests/example_report.py"
    assert made.count("<svg") == committed.count("<svg")


def test_page_is_the_same_each_time(example):
    """Two renderings of a run directory have the same bytes."""
    assert page.html(read(example)) == page.html(read(example))


def test_every_figure_says_what_it_shows(rendered):
    """Figures and pictures have a text alternative with a number or a name in it."""
    found = Words(rendered.read_text())
    figures = [a for tag, a in found.elements if a.get("role") == "img"]
    pictures = [a for tag, a in found.elements if tag == "img"]

    assert len(figures) > 10
    assert all(re.search(r"\d", a["aria-label"] or "") for a in figures)
    assert len(pictures) == 24
    assert all(re.fullmatch(r".+, called .+ \d.* %", a["alt"] or "") for a in pictures)


def test_page_leads_with_the_answer(rendered):
    """The first sentences say what is best, what it costs, how sure it is, and the gate."""
    answer = re.findall(r'<p class="answer">(.*?)</p>', rendered.read_text())

    assert len(answer) == 3
    assert "is best with" in answer[0]
    assert "s of training" in answer[1]
    assert "the gate is green" in answer[2]


def test_hostile_names_stay_text(tmp_path):
    """Whatever a record says is text: no element, attribute or script comes of it."""
    plain = Words(written(tmp_path / "a", [small_run(model="m", dataset="d")]))
    runs = [small_run(f"t[{HOSTILE}]", model=HOSTILE, dataset=HOSTILE, variant=HOSTILE)]
    hostile = Words(written(tmp_path / "b", runs))
    tags = [[tag for tag, _ in found.elements if tag != "li"] for found in (plain, hostile)]

    assert "img" not in tags[1]
    assert tags[1].count("script") == 2
    assert all("onerror" not in attributes for _, attributes in hostile.elements)
    assert "49" not in "".join(hostile.text).replace("499", "")


@pytest.mark.parametrize("status", ["diverged", "oom", "crashed", "implausible"])
def test_sweep_without_a_finished_run_renders(tmp_path, status):
    """Where every case failed the page says that nothing finished, and why."""
    runs = [small_run(status=status, reason="for a reason", epochs=(), metrics={})]
    text = " ".join(sentences(written(tmp_path, runs)))

    assert "No case finished: 1 case failed." in text
    assert "for a reason" in text


def test_sweep_without_runs_renders(tmp_path):
    """A sweep that was cut before any run ended says so, and what is missing."""
    text = " ".join(sentences(written(tmp_path, [], missing=["test_small[lost]"])))

    assert "Nothing was trained." in text
    assert "test_small[lost]: no run ended with seed 0" in text


def test_pictures_that_are_not_here_are_left_out(tmp_path, example):
    """Without the data that were tested the page says so, and shows the rest."""
    folder = unpacked(tmp_path)
    for file in folder.glob("runs/*/*.json"):
        file.write_text(re.sub(r'("digest": ")f4757', r"\1ffff7", file.read_text()))
    text = page.html(read(folder))

    assert "<img" not in text
    assert "the pictures on this machine are not those that were tested" in text


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_any_record_has_a_page(tmp_path_factory, seed):
    """No number that a record may hold, and no answers, keep a sweep from being shown."""
    folder = sweep(tmp_path_factory.mktemp("drawn"), [])
    for run, answers in odd_runs(Random(seed)):
        names = [str(i) for i in range(len(next(iter(answers.values()), [])))]
        store.save_run(folder, run, answers, names)
    text = page.html(read(folder))

    assert text.count("<svg") == text.count("</svg>")
    assert not re.search(
        r">[^<]*\b(nan|None|inf)\b", re.sub("<details>.*?</details>", "", text)
    )


@pytest.mark.slow
def test_sixty_cases_take_seconds(tmp_path):
    """60 cases of 3 seeds and 50 epochs: less than 10 seconds, and less than 2 MB."""
    epochs = tuple(
        small_epoch(
            train={"loss": 2 / n, "accuracy": 1 - 1 / n},
            validation={"loss": 2.1 / n, "accuracy": 0.9 - 0.5 / n},
        )
        for n in range(1, 51)
    )
    runs = [
        small_run(f"test_small[{m}-{size}]", seed, model=f"m{m}", size=size, epochs=epochs)
        for m in range(20)
        for size in (100, 300, 900)
        for seed in range(3)
    ]
    folder, start = sweep(tmp_path, runs), process_time()
    text = page.html(read(folder))

    assert process_time() - start < 10
    assert len(text.encode()) < 2_000_000
