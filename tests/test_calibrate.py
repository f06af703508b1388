"""Limits from runs: what `amlnn calibrate` writes, and what it refuses."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest
from small_runs import small_run, sweep
from small_sweeps import ID, reference_runs, runs_with

from pytest_amlnn.cli import main
from pytest_amlnn.gates.bounds import typical
from pytest_amlnn.gates.limits import GateError, load

BY_HAND = f"""# limits that somebody set
[quick."{ID}"]
test_accuracy = {{ at_least = 0.3 }} # on purpose
test_loss = {{ at_most = 9 }}
"""


@pytest.fixture
def folder(tmp_path):
    """A sweep with twenty seeds."""
    return sweep(tmp_path / "runs", reference_runs(), seeds=range(20))


def test_limits_are_written_and_read(folder, tmp_path, capsys):
    """The file has mean, deviation, count, range and machines of the runs, and the margin; what
    it is is said; and the plugin reads it."""
    file = tmp_path / "gates.toml"
    assert main(["calibrate", str(folder), "--out", str(file)]) == 0
    said = capsys.readouterr().err
    limit = tomllib.loads(file.read_text())["quick"][ID]

    assert limit["test_accuracy"] == {
        "reference": 0.7,
        "margin": pytest.approx(0.067, abs=0.01),
        "told_by": 2,
        "sd": pytest.approx(0.0197, abs=0.001),
        "n": 20,
        "range": [pytest.approx(0.663, abs=0.01), pytest.approx(0.737, abs=0.01)],
    }
    assert limit["parameters"] == {"exactly": 579}
    assert limit["calibration"]["machines"] == ["A processor, torch 2.11.0, float32"]
    assert limit["calibration"]["seeds"] == [[*range(20)]]
    assert f"{ID}: test_accuracy 0.7, sd 0.019, 20 runs from 0.66" in said
    assert "what 2 seeds can tell, where 0.01 would matter" in said
    assert {one.metric for one in load(file, "quick").limits} >= {"test_accuracy", "parameters"}


def test_bounds_by_hand_stay(folder, tmp_path, capsys):
    """What was written by hand, comments included, stands there still; a new reference is told
    beside the one before."""
    file = tmp_path / "gates.toml"
    file.write_text(BY_HAND)
    main(["calibrate", str(folder), "--out", str(file)])
    more = sweep(tmp_path / "more", reference_runs(mean=0.6), seeds=range(20))
    main(["calibrate", str(more), "--out", str(file)])
    text, said = file.read_text(), capsys.readouterr().err
    found = {one.metric: one for one in load(file, "quick").limits}

    assert "# limits that somebody set" in text
    assert found["test_accuracy"].at_least == 0.3
    assert found["test_loss"].at_most == 9
    assert found["test_accuracy"].reference == pytest.approx(0.6)
    assert "before: test_accuracy was 0.7, is 0.6" in said


def by_hand(tmp_path, folder, text: bytes, name: str = "gates.toml") -> bytes:
    """Give a file of limits that is there, calibrated."""
    file = tmp_path / name
    file.write_bytes(text)
    assert main(["calibrate", str(folder), "--out", str(file)]) == 0
    return file.read_bytes()


CASE_BY_HAND = f'[quick."{ID}"]\n'


def test_references_by_hand_stay(folder, tmp_path, capsys):
    """Bounds, references and counts that somebody wrote stay; what disagrees is told."""
    text = CASE_BY_HAND + (
        "test_accuracy = { exactly = 0.8 }\n"
        "test_loss = { reference = 4, margin = 1, sd = 1, n = 20 }\n"
        "parameters = { exactly = 7 }\n"
    )
    case = tomllib.loads(by_hand(tmp_path, folder, text.encode()).decode())["quick"][ID]

    assert case["test_accuracy"]["exactly"] == 0.8
    assert case["test_loss"]["reference"] == 4
    assert case["parameters"] == {"exactly": 7}
    assert "parameters stays exactly 7, as somebody wrote" in capsys.readouterr().err


def test_reference_of_runs_that_are_gone_is_taken_out(folder, tmp_path, capsys):
    """Calibrated anew without a metric, its old reference is gone, and it is said so."""
    file = tmp_path / "gates.toml"
    main(["calibrate", str(folder), "--metric", "test_loss", "--out", str(file)])
    main(["calibrate", str(folder), "--out", str(file)])

    assert "test_loss" not in {limit.metric for limit in load(file, "quick").limits}
    assert "test_loss: its reference is gone: --metric test_loss" in capsys.readouterr().err


def test_file_stays_what_it_is(folder, tmp_path):
    """Line ends, the mark at the beginning, the file's mode and a link to it stay."""
    marked = by_hand(tmp_path, folder, b"\xef\xbb\xbf# mine\r\n", "marked.toml")
    (tmp_path / "real.toml").write_text("# mine\n")
    (tmp_path / "real.toml").chmod(0o640)
    (tmp_path / "link.toml").symlink_to("real.toml")
    main(["calibrate", str(folder), "--out", str(tmp_path / "link.toml")])

    assert marked.startswith(b"\xef\xbb\xbf# mine\r\n")
    assert b"\n" not in marked.replace(b"\r\n", b"")
    assert (tmp_path / "link.toml").is_symlink()
    assert (tmp_path / "real.toml").stat().st_mode & 0o777 == 0o640
    assert load(tmp_path / "real.toml", "quick").limits


def test_edited_reference_is_mended(folder, tmp_path):
    """Calibrating anew is the remedy for a reference that its runs do not have."""
    file = tmp_path / "gates.toml"
    main(["calibrate", str(folder), "--out", str(file)])
    text = file.read_text()
    edited = text.replace("reference = 0.7,", "reference = 0.71,")

    assert by_hand(tmp_path, folder, edited.encode()).decode() == text != edited


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (".", "is no file of limits"),
        ("a" * 300, "cannot be written"),
        ("dotted.toml", 'write each case as a table of its own, [quick."CASE"]'),
        ("bounds.toml", "mend the bounds by hand"),
    ],
)
def test_file_that_cannot_be_updated_is_told(folder, tmp_path, capsys, place, words):
    """What is no file, or has a form or bounds that the limits do not fit, is told in words,
    and left as it is."""
    texts = {
        "dotted.toml": f'[quick]\n"{ID}".test_accuracy.at_least = 0.3\n',
        "bounds.toml": f"{CASE_BY_HAND}parameters = {{ at_most = 500 }}\n",
    }
    file = tmp_path / place
    if place in texts:
        file.write_text(texts[place])

    assert main(["calibrate", str(folder), "--out", str(file)]) == 1
    assert words in capsys.readouterr().err
    assert place not in texts or file.read_text() == texts[place]


def test_limits_are_printed_where_no_file_is_named(folder, capsys):
    """Without --out the text of the file goes to stdout, and nothing else does."""
    main(["calibrate", str(folder)])

    assert ID in tomllib.loads(capsys.readouterr().out)["quick"]


def test_margin_is_the_drop_that_matters_where_seeds_tell_more(tmp_path, capsys):
    """Runs that hardly differ give the default margin, and it is said so."""
    runs = [replace(run, metrics={**run.metrics}) for run in reference_runs(sd=0.0005)]
    folder = sweep(tmp_path / "runs", runs, seeds=range(20))
    main(["calibrate", str(folder)])
    read = capsys.readouterr()

    assert tomllib.loads(read.out)["quick"][ID]["test_accuracy"]["margin"] == 0.01
    assert "the drop of 0.01 that matters" in read.err
    assert "margin 0.01: the drop of 0.01 that matters" in read.err


def test_machines_are_pooled_and_kept_apart(tmp_path, capsys):
    """Runs of two machines give the spread within and between them."""
    one = reference_runs(10)
    other = {"processor": "Another", "packages": {"torch": "2.11.0"}, "threads": 1}
    two = runs_with(typical(10, 0.8, 0.02), environment=other)
    folders = [
        sweep(tmp_path / str(i), runs, seeds=range(10)) for i, runs in enumerate((one, two))
    ]
    main(["calibrate", *map(str, folders)])
    limit = tomllib.loads(capsys.readouterr().out)["quick"][ID]

    assert limit["test_accuracy"]["reference"] == pytest.approx(0.75)
    assert limit["test_accuracy"]["sd"] == pytest.approx(0.02, abs=0.003)
    assert limit["test_accuracy"]["sd_machines"] > 0.05
    assert len(limit["calibration"]["machines"]) == 2
    assert [len(values) for values in limit["calibration"]["runs"]["test_accuracy"]] == [10, 10]


def test_failed_run_of_a_reference_is_told(tmp_path, capsys):
    """A run that stayed at chance is no part of the mean, and is told."""
    runs = runs_with([*typical(19, 0.7, 0.02), 0.1])
    main(["calibrate", str(sweep(tmp_path / "runs", runs, seeds=range(20)))])

    assert "1 of them was far off by themselves" in capsys.readouterr().err


def other_training():
    runs = reference_runs(4)
    training = {**runs[0].case["training"], "model": "another"}
    return [replace(runs[0], case={**runs[0].case, "training": training}), *runs[1:]]


REFUSED = {
    "too few": (lambda: reference_runs(2), "2 runs are too few; train at least 3 seeds", 2),
    "a seed that has no run": (
        lambda: reference_runs(2),
        "no run ended with seed 2: go on with --amlnn-resume",
        3,
    ),
    "two trainings": (other_training, "are of two trainings: training.model was another", 3),
    "unfinished": (
        lambda: [*reference_runs(3), small_run(ID, 9, status="diverged", reason="too fast")],
        "seed 9: diverged: too fast",
        3,
    ),
    "nothing": (list, "no run has ended", 0),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_runs_that_give_no_limit_are_refused(kind, tmp_path, capsys):
    """Runs that are too few, of two trainings, or did not finish are refused in words, and no
    file is written."""
    make, words, seeds = REFUSED[kind]
    folder = sweep(tmp_path / "runs", make(), seeds=range(seeds))
    file = tmp_path / "gates.toml"

    assert main(["calibrate", str(folder), "--out", str(file)]) == 1
    assert words in capsys.readouterr().err
    assert not file.exists()


def test_same_seeds_twice_are_refused(folder, tmp_path, capsys):
    """A run directory that is given twice is no second sample."""
    assert main(["calibrate", str(folder), str(folder)]) == 1
    assert "one of the run directories" in capsys.readouterr().err


def test_unknown_metric_is_refused(folder, capsys):
    """Only what can be better or worse can have a reference, and it is said what can."""
    assert main(["calibrate", str(folder), "--metric", "test_acuracy"]) == 1
    assert "'test_acuracy' is no metric that is compared with the past; known:" in (
        capsys.readouterr().err
    )


def test_folder_that_is_no_sweep_is_refused(tmp_path, capsys):
    """A folder without a plan is named."""
    assert main(["calibrate", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err


# what a file may hold


def file_with(folder, tmp_path, change):
    """Write calibrated limits, changed by hand."""
    file = tmp_path / "gates.toml"
    main(["calibrate", str(folder), "--out", str(file)])
    text = file.read_text()
    changed = change(text)
    assert changed != text
    file.write_text(changed)
    return file


CHANGES = {
    "another reference": (
        lambda text: text.replace("reference = 0.7", "reference = 0.8"),
        "reference is 0.8, and the runs under calibration have the mean 0.7",
    ),
    "no margin": (
        lambda text: text.replace("margin = ", "sd_machines = "),
        "a reference needs a margin",
    ),
    "a margin of nothing": (
        lambda text: text.replace("told_by = 2", "told_by = 0"),
        "told_by is 0, needs a whole number from 1 up",
    ),
    "a run that is missing": (
        lambda text: text.replace("[0, 1, 2,", "[1, 2,"),
        "needs one value a seed, machine by machine",
    ),
    "a training that is no JSON": (
        lambda text: text.replace("training = '{", "training = '{{"),
        "calibration: ",
    ),
    "an unknown key": (
        lambda text: text.replace("init = ", "inti = "),
        "calibration: ",
    ),
    "an exact share": (
        lambda text: text.replace("parameters = {exactly = 579}", "test_top5 = {exactly = 5}"),
        "exactly is 5, needs a share from 0 to 1",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_does_not_fit_is_named_with_its_line(kind, folder, tmp_path):
    """A reference that does not follow from its runs, or a calibration that is damaged, is
    refused with file and line before anything trains."""
    change, words = CHANGES[kind]
    file = file_with(folder, tmp_path, change)

    with pytest.raises(GateError, match=r"gates.toml:\d+: ") as caught:
        load(file, "quick")

    assert words in str(caught.value)


def test_reference_may_be_written_by_hand(tmp_path):
    """Mean, deviation, count and margin are enough for a reference."""
    file = tmp_path / "gates.toml"
    limit = "{ reference = 0.7, margin = 0.02, sd = 0.01, n = 20 }"
    file.write_text(f'[quick."{ID}"]\ntest_accuracy = {limit}\n')
    (one,) = load(file, "quick").limits

    assert (one.stated.mean, one.stated.sd, one.stated.freedom) == (0.7, 0.01, 19)
    file.write_text(f'[quick."{ID}"]\ntest_accuracy = {limit.replace(", n = 20", "")}\n')
    with pytest.raises(GateError, match="a reference needs sd and n"):
        load(file, "quick")
