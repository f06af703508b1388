"""The command `amlnn`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import small_run, sweep

from amlnn_datasets import tiny_imagenet
from pytest_amlnn import store
from pytest_amlnn.cli import main
from pytest_amlnn.data import DataError


def test_report_is_written_and_printed(tmp_path, capsys):
    """`amlnn report` renders all files anew and shows the readable one."""
    folder = sweep(tmp_path, [small_run()])
    (folder / "report.md").write_text("stale")
    code = main(["report", str(folder)])
    text = (folder / "report.md").read_text()

    shown = capsys.readouterr().out

    assert code == 0
    assert text.startswith("# Profile quick")
    assert shown.startswith("# Profile quick")
    assert "75.0 [69.2, 80.1]" in text
    assert "75.0 [69.2, 80.1]" in shown
    assert (folder / "summary.json").exists()
    assert (folder / "benchmark.json").exists()


def test_folder_that_is_no_run_directory_is_named(tmp_path, capsys):
    """Without a plan there is nothing to report: exit status 1 and a message."""
    code = main(["report", str(tmp_path)])
    shown = capsys.readouterr()

    assert code == 1
    assert shown.out == ""
    assert shown.err == (
        f"amlnn: {tmp_path}/plan.json is missing: {tmp_path} is no run directory\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_damaged_run_is_named(tmp_path, capsys):
    """A run that cannot be read is named, and the others are reported all the same."""
    folder = sweep(tmp_path, [small_run(seed=seed) for seed in (0, 1)], seeds=(0, 1))
    path = store.run_file(folder, small_run().id, 1)
    path.write_text("{")
    code, shown = main(["report", str(folder)]), capsys.readouterr()
    summary = json.loads((folder / "summary.json").read_text())

    assert code == 1
    assert f"not every record can be read: {path} cannot be read: " in shown.err
    assert "## Records that cannot be read" in shown.out
    assert str(path) in shown.out
    assert summary["missing"] == [{"id": small_run().id, "reason": "no run ended with seed 1"}]
    assert [case["seeds"] for case in summary["cases"]] == [[0]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["train"], "invalid choice: 'train'"),
        (["report"], "DIR"),
        (["report", "a", "b", "--out"], "--out: expected one argument"),
        (["fetch"], "name"),
        (["fetch", "cifar"], "invalid choice: 'cifar'"),
        (["fetch", "tiny-imagenet", "--url"], "--url: expected one argument"),
    ],
)
def test_wrong_usage_is_told(arguments, words, capsys):
    """Unknown commands, datasets and arguments end with exit status 2 and the usage."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    told = capsys.readouterr().err

    assert caught.value.code == 2
    assert told.startswith("usage: amlnn")
    assert words in told


def test_unknown_dataset_is_answered_with_the_known(capsys):
    """The message names the datasets that there are."""
    with pytest.raises(SystemExit):
        main(["fetch", "cifar"])

    assert "tiny-imagenet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "url"), [([], None), (["--url", "file:///a.zip"], "file:///a.zip")]
)
def test_fetch_prints_where_the_data_are(arguments, url, monkeypatch, capsys):
    """The dataset's own function fetches, from the place that is named if one is."""
    asked = []

    def fetch(url: str | None) -> list[Path]:
        asked.append(url)
        return [Path("/cache/data.zip")]

    monkeypatch.setattr(tiny_imagenet, "fetch", fetch)

    assert main(["fetch", "tiny-imagenet", *arguments]) == 0
    assert capsys.readouterr().out == "/cache/data.zip\n"
    assert asked == [url]


def test_failed_fetch_is_told(monkeypatch, capsys):
    """Data that cannot be used end with exit status 1 and their message."""

    def fetch(url: str | None) -> list[Path]:
        raise DataError("data.zip is cut")

    monkeypatch.setattr(tiny_imagenet, "fetch", fetch)

    assert main(["fetch", "tiny-imagenet"]) == 1
    assert capsys.readouterr().err == "amlnn: data.zip is cut\n"


def test_archive_has_no_parts_to_fetch(capsys):
    """A name after that of a dataset which is fetched whole is an error."""
    assert main(["fetch", "tiny-imagenet", "vgg11"]) == 1
    assert "one archive, it has no vgg11" in capsys.readouterr().err


def test_command_is_installed(tmp_path):
    """`amlnn` is on the path beside python, and passes its exit status on."""
    command = [str(Path(sys.executable).parent / "amlnn"), "report", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.startswith("amlnn: ")


def closed(monkeypatch) -> None:
    """Have no stdout, as after `>&-`."""
    monkeypatch.setattr(sys, "stdout", None)


def left(monkeypatch) -> None:
    """Have a stdout whose reader has gone, as `head` does."""
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w"))


def full(monkeypatch) -> None:
    """Have a stdout on a disk without room."""
    monkeypatch.setattr(sys, "stdout", Path("/dev/full").open("w"))  # noqa: SIM115


@pytest.mark.parametrize(
    ("stdout", "said"),
    [
        (closed, ""),
        (left, ""),
        (full, "amlnn: /dev/full cannot be written to: No space left on device\n"),
    ],
    ids=["closed", "left", "full"],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_report_is_written_wherever_it_is_printed(stdout, said, tmp_path, capsys, monkeypatch):
    """Nobody has to read what is printed; a disk without room for it is an error in words."""
    folder = sweep(tmp_path, [small_run()])
    stdout(monkeypatch)

    assert main(["report", str(folder)]) == bool(said)
    assert capsys.readouterr().err == said
    assert (folder / "report.md").exists()
    if sys.stdout is not None:
        sys.stdout.close()  # what is left of the text is no error now
