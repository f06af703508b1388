"""Run directories that a stranger changed: every field of every record, and what may follow.

`tests/test_records.py` takes a few of the changes, `tests/fuzz_records.py` all of them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from small_cases import CPU, small_case, squares
from small_runs import DATASETS, ENVIRONMENT, plan_of, small_run, sweep

from pytest_amlnn import Limit, Search, cli, plans, store, trials
from pytest_amlnn.disk import DiskError
from pytest_amlnn.engines import inline
from pytest_amlnn.identity import IdentityError
from pytest_amlnn.job import Job
from pytest_amlnn.progress import Silent
from pytest_amlnn.store import StoreError
from pytest_amlnn.trials import Searched, Trial

SECONDS = 20.0
"""That one change may take on a busy machine; alone it is a hundredth."""
CASE = small_case("linear")
ID = f"test_small[{CASE}]"
DATA = squares()
SEARCHED = Searched(
    id=ID,
    search=Search(method="range", low=0.001, high=1.0, repeats=1),
    identity={"model": "linear"},
    trials=(
        Trial(
            value=0.1,
            loss=0.5,
            status="finished",
            seeds=(1000,),
            seconds=0.1,
            curve=((0.1, 0.5), (0.2, 0.9)),
        ),
    ),
)

NASTY = (
    *("null", "true", "0", "-1", "0.5", "1e308", "-1e308", "1e999", "NaN", "-Infinity"),
    *("18446744073709551616", "9" * 400, '""', '"text"', '"../.."', '"/etc/passwd"'),
    *('"{0.__class__}"', '"{:1000000000f}"', r'"\ud800"', r'"\u0000"', '"<script>"'),
    *("[]", "{}", "[null]", '[[[["x"]]]]', '{"a": 1e308}', '{"counts": {"test": "x"}}'),
    '"' + "x" * 100_000 + '"',
    "[" * 200_000,
)
"""JSON, or what is taken for it, in place of a field's value."""
GONE = "gone"
"""The field is left out."""
MARK = "the place of a changed value"

Way = tuple[str | int, ...]


def swept(folder: Path) -> Path:
    """Write a small sweep: two seeds trained for real, limits, one that began, one skipped, and
    a search."""
    folder.mkdir()
    assert len([*inline.compute(job(folder), lambda seeds: Silent())]) == 2
    limit = Limit(case=ID, metric="test_accuracy", at_least=0.5, where="gates.toml:3")
    sweep(folder, [small_run("test_rnn[lstm]")], limits=[limit], skipped={"test_a[b]": "no"})
    plan = plans.load(folder)
    case = {**plan["cases"][0], "id": ID, "nodeid": f"test_small.py::{ID}", "seeds": [0, 1]}
    costs = {case["nodeid"]: 2.0}
    store.write_json(
        folder / "plan.json", {**plan, "costs": costs, "cases": [*plan["cases"], case]}
    )
    store.save_environment(folder, ENVIRONMENT, DATASETS)
    began = small_run(ID, 2, status="crashed", reason="died", epochs=(), best_epoch=None)
    store.begin(folder, began)
    trials.save(folder, SEARCHED)
    return folder


def records(folder: Path) -> list[Path]:
    """Return the files that hold plain data, but for the reports."""
    reports = {"summary.json", "benchmark.json"}
    files = [path for path in folder.rglob("*.json") if path.parent.name != store.LOCKS]
    return sorted(path for path in files if path.name not in reports)


def fields(plain: Any, above: Way = ()) -> Iterator[Way]:
    """Yield the way to every field, and every entry of a list, however deep."""
    inner = plain.items() if isinstance(plain, dict) else enumerate(plain)
    for name, value in inner:
        yield (*above, name)
        if isinstance(value, dict | list):
            yield from fields(value, (*above, name))


def changed(plain: Any, way: Way, value: str) -> str:
    """Return plain data as JSON, with one value in place of another."""
    if not way:
        return value
    copy = json.loads(json.dumps(plain))
    inner = copy
    for name in way[:-1]:
        inner = inner[name]
    if value == GONE:
        del inner[way[-1]]
    else:
        inner[way[-1]] = MARK
    return json.dumps(copy).replace(json.dumps(MARK), value)


def refuse(constant: str) -> None:
    """Refuse what is no JSON."""
    raise AssertionError(f"{constant} is no JSON")


def assert_finite(plain: Any) -> None:
    """Check that plain data hold no number such as 1e999."""
    if isinstance(plain, dict | list):
        for inner in plain.values() if isinstance(plain, dict) else plain:
            assert_finite(inner)
    else:
        assert not isinstance(plain, float) or math.isfinite(plain)


def assert_reported(folder: Path) -> str:
    """Report a run directory: it ends in words, or in a report without odd numbers.

    Return the words.
    """
    for name in ("summary.json", "benchmark.json", "report.md"):
        if (folder / name).is_file():
            (folder / name).unlink()
    started, said, printed = monotonic(), StringIO(), StringIO()
    with redirect_stderr(said), redirect_stdout(printed):
        code = cli.main(["report", str(folder)])

    assert monotonic() - started < SECONDS
    assert code == (1 if said.getvalue() else 0)
    assert said.getvalue().count("\n") <= 1, said.getvalue()
    assert len(said.getvalue()) < 2000
    assert (folder / "report.md").exists() or said.getvalue()
    if (folder / "report.md").is_file():
        text = (folder / "report.md").read_text()
        for name in ("summary.json", "benchmark.json"):  # whole: report.md is the last
            assert_finite(json.loads((folder / name).read_text(), parse_constant=refuse))

        assert not re.search(r"(?i)(?<!\w)(nan|inf|infinity)(?!\w)", text)
    return said.getvalue()


@contextmanager
def quickly() -> Iterator[None]:
    """Spare thousands of changes what takes most of the time, and says nothing of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        begun = cache(lambda seed: inline_initial_run(job(Path()), seed, CPU))
        patch.setattr(inline, "initial_run", lambda job, seed, device: begun(seed))
        patch.setattr(cli, "parser", cache(cli.parser))
        yield


inline_initial_run = inline.initial_run


def job(folder: Path) -> Job:
    """Return what an engine is given to resume the sweep."""
    return Job(case=CASE, id=ID, seeds=(0, 1), data=DATA, out=folder, device="cpu")


def resume(folder: Path) -> None:
    """Do what resuming does with what is read, but train."""
    plans.begin(folder, plan_of(), token="now", resume=True)
    for seed in (0, 1):
        inline.is_stored(job(folder), seed)
    store.begin(folder, small_run(ID, 2))
    store.give_up(folder, ID, "it died")
    store.save_environment(folder, ENVIRONMENT, DATASETS)
    trials.begun(folder, SEARCHED)
    plans.mark_skipped(folder, ID, "no reason")


def assert_resumed(folder: Path) -> str:
    """Resume a run directory as far as it is read: it ends in words, or goes on.

    Return the words.
    """
    started, words = monotonic(), ""
    try:
        resume(folder)
    except (StoreError, DiskError, IdentityError) as error:
        words = str(error)

    assert monotonic() - started < SECONDS
    assert not words or str(folder) in words
    assert len(words) < 2000
    return words


def tree(folder: Path) -> dict[str, object]:
    """Return all that lies in a folder, by its path: what it is, and what is in it."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            str(path.readlink()) if path.is_symlink() else None,
            path.read_bytes() if path.is_file() and not path.is_symlink() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


def changes(folder: Path) -> list[tuple[Path, Way, str]]:
    """Return all changes of a sweep: of which file, of which field, to which value."""
    return [
        (file.relative_to(folder), way, value)
        for file in records(folder)
        for way in ((), *fields(json.loads(file.read_text())))
        for value in (*NASTY, *([GONE] if way else []))
    ]


def put_back(folder: Path, whole: Path) -> None:
    """Make a run directory what it was; cheaper than a new one."""
    there = {path.relative_to(folder) for path in folder.rglob("*")}
    wanted = {path.relative_to(whole) for path in whole.rglob("*")}
    for name in sorted(there - wanted, reverse=True):
        path = folder / name
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for name in sorted(wanted):
        if (whole / name).is_dir():
            (folder / name).mkdir(exist_ok=True)
        elif name not in there or (folder / name).read_bytes() != (whole / name).read_bytes():
            (folder / name).write_bytes((whole / name).read_bytes())


def assert_harmless(whole: Path, change: tuple[Path, Way, str], folder: Path) -> list[str]:
    """Report and resume a sweep after one change: see that both end in words or rightly.

    Nothing beside the run directory may change. Return the words.
    """
    name, way, value = change
    content = changed(json.loads((whole / name).read_text()), way, value)
    beside = sorted(folder.parent.iterdir())
    outcomes = []
    for act in (assert_reported, assert_resumed):
        put_back(folder, whole)
        (folder / name).write_text(content)
        outcomes.append(act(folder))

        assert sorted(folder.parent.iterdir()) == beside
    return outcomes
