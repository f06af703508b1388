"""The run directory: whole files, or none."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file
from small_runs import DATASETS, ENVIRONMENT, everything, small_epoch, small_run, sweep

from pytest_amlnn import plans, records, store
from pytest_amlnn.answers import (
    DamagedAnswers,
    damaged_answers,
    forget_damaged,
    load_answers,
)
from pytest_amlnn.result import STATUSES
from pytest_amlnn.store import StoreError

IDS = ["test_cnn[vgg19-random-10k]", "test_rnn[lstm-nike-1000]", "test_rnn[lstm-3000-steps]"]
NAMES = ["val_0.JPEG", 'a "b" ü.png']
ANSWERS = {
    "predicted": np.array([1, 2]),
    "top": np.arange(10).reshape(2, 5),
    "confidence": np.array([0.5, 0.25], dtype=np.float32),
}


def assert_equal(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """Check that arrays have the same names, values and kinds."""
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


# names


@given(text=st.text())
def test_key_is_safe(text):
    """Whatever a case is called, its key is no path, no hidden file, plain ASCII and short."""
    key = store.key(text)

    assert re.fullmatch(r"([A-Za-z0-9-]([A-Za-z0-9._-]*[A-Za-z0-9-])?)?", key)
    assert 0 < len(key) <= 200


LABELS = st.text(st.sampled_from("a +/é\udce9\\"), max_size=5) | st.text(max_size=400)


@given(one=LABELS, other=LABELS)
def test_cases_share_no_key(one, other):
    """Labels that differ in any character, however far behind, have keys of their own."""
    keys = [store.key(f"test_small[{label}]") for label in (one, other)]
    stored = [store.as_stored(label) for label in (one, other)]

    assert (keys[0] == keys[1]) == (stored[0] == stored[1])


def test_key_can_be_read():
    """Keys of ordinary ids are the ids without their brackets, and differ."""
    assert [store.key(id) for id in IDS] == [
        "test_cnn_vgg19-random-10k",
        "test_rnn_lstm-nike-1000",
        "test_rnn_lstm-3000-steps",
    ]


@pytest.mark.parametrize("label", ["x" * 260, "я" * 56, "я" * 900, "a/../b", "a" * 199 + "+"])
def test_long_and_foreign_names_are_stored(label, tmp_path):
    """A run is stored, begun, locked and found whatever its case is called."""
    run = small_run(f"test_small[{label}]")
    with store.locked(tmp_path, run.id):
        store.begin(tmp_path, run)
        store.save_run(tmp_path, run, ANSWERS, NAMES)

    assert store.load_runs(tmp_path)[0].id == run.id
    assert load_answers(tmp_path, run.id, 0)[0] == NAMES


NO_TEXT = "caf\udce9"
"""What Python makes of a path with a byte that is no UTF-8."""


def test_bytes_that_are_no_text_are_escaped(tmp_path):
    """They are visible in every record, and compare equal when a run is resumed."""
    run = small_run(f"test_small[{NO_TEXT}]", reason=f"no {NO_TEXT}", data={NO_TEXT: NO_TEXT})
    store.save_run(tmp_path, run, ANSWERS, [NO_TEXT])
    (found,) = store.load_runs(tmp_path)

    assert (found.id, found.reason) == (r"test_small[caf\udce9]", r"no caf\udce9")
    assert store.run_file(tmp_path, run.id, 0) == store.run_file(tmp_path, found.id, 0)
    assert load_answers(tmp_path, run.id, 0)[0] == [NO_TEXT]
    store.refuse_unless_same(
        tmp_path / "0.json", {"schema": 3, **found.data}, {"schema": 3, NO_TEXT: NO_TEXT}
    )


@given(text=st.text(st.characters(), max_size=20))
def test_all_text_can_be_stored(text):
    """Any text at all, surrogates included, is JSON that strict readers read."""
    assert json.loads(store.as_json({text: text}).encode("utf-8", "strict")) is not None


def test_plan_of_paths_that_are_no_text(tmp_path):
    """A file of tests below such a folder is planned, skipped and reported."""
    sweep(tmp_path, [], skipped={f"test_a[{NO_TEXT}]": ""})
    plans.mark_skipped(tmp_path, f"test_a[{NO_TEXT}]", f"no {NO_TEXT}")
    (case,) = plans.load(tmp_path)["cases"]

    assert case["skip"] == r"no caf\udce9"


# files


def test_json_is_readable(tmp_path):
    """Plain data are written as UTF-8 with line ends, and come back."""
    plain = {"schema": 1, "name": "Prüfung ✓"}
    store.write_json(tmp_path / "file.json", plain)

    assert "Prüfung ✓" in (tmp_path / "file.json").read_text(encoding="utf-8")
    assert store.read_json(tmp_path / "file.json") == plain


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_number_that_json_cannot_hold_is_refused(tmp_path, number):
    """No file holds what other programs could not read."""
    with pytest.raises(ValueError, match="JSON"):
        store.write_json(tmp_path / "file.json", {"schema": 1, "x": number})

    assert everything(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b'{"schema": 1, "cas', "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[]", "another version"),
        (b"{}", "another version"),
        (b'{"schema": 4}', "another version"),
        (b'{"schema": 0}', "another version"),
    ],
    ids=["empty", "cut", "binary", "list", "none", "later", "earlier"],
)
def test_damaged_file_is_named(tmp_path, content, words):
    """A file that is cut, foreign or of another version is named."""
    path = tmp_path / "plan.json"
    path.write_bytes(content)

    with pytest.raises(StoreError, match=f"^{re.escape(str(path))} .*{words}"):
        plans.load(tmp_path)


def test_missing_plan_means_no_run_directory(tmp_path):
    """A folder without a plan is called no run directory."""
    with pytest.raises(StoreError, match="plan.json is missing: .* is no run directory"):
        plans.load(tmp_path)


# runs


def test_runs_come_back(tmp_path):
    """What is stored is read back equal, in order of case and seed."""
    runs = [small_run(id, seed) for id in reversed(IDS) for seed in (10, 9)]
    for run in runs:
        store.save_run(tmp_path, run, {}, [])

    assert store.load_runs(tmp_path) == sorted(runs, key=lambda run: (run.id, run.seed))


def test_run_is_stored_where_the_documentation_says(tmp_path):
    """A run is two files named by its seed, in the folder of its case."""
    run = small_run(IDS[0], 3)
    store.save_run(tmp_path, run, {"predicted": np.array([1])}, ["a.png"])

    assert [path for path in everything(tmp_path) if "." in path] == [
        "runs/test_cnn_vgg19-random-10k/3.json",
        "runs/test_cnn_vgg19-random-10k/3.safetensors",
    ]


def test_examples_can_be_read_by_others(tmp_path):
    """What was said of each example is plain safetensors, the names in its metadata."""
    store.save_run(tmp_path, small_run(IDS[0]), ANSWERS, NAMES)
    path = next(tmp_path.rglob("*.safetensors"))

    with safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["names"]) == NAMES
        assert_equal({name: file.get_tensor(name) for name in file.keys()}, ANSWERS)  # noqa: SIM118


def test_answers_come_back(tmp_path):
    """What a net said of each test example is read with its names, by case and seed."""
    store.save_run(tmp_path, small_run(IDS[0], 3), ANSWERS, NAMES)
    names, answers = load_answers(tmp_path, IDS[0], 3)

    assert names == NAMES
    assert_equal(answers, ANSWERS)


@pytest.mark.parametrize("content", [None, b"", b"no safetensors"], ids=["no", "empty", "bad"])
def test_answers_that_are_not_there_are_named(tmp_path, content):
    """A run that diverged has no answers, and damaged ones are no better: the file is named."""
    file = store.run_file(tmp_path, IDS[0], 3).with_suffix(".safetensors")
    file.parent.mkdir(parents=True)
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(StoreError, match=f"^{re.escape(str(file))} cannot be read: "):
        load_answers(tmp_path, IDS[0], 3)


def test_tensors_without_names_are_no_answers(tmp_path):
    """A file that another program put in their place is named as well."""
    file = store.run_file(tmp_path, IDS[0], 3).with_suffix(".safetensors")
    file.parent.mkdir(parents=True)
    save_file(ANSWERS, file)

    with pytest.raises(StoreError, match="3.safetensors cannot be read"):
        load_answers(tmp_path, IDS[0], 3)


def test_examples_may_be_views(tmp_path):
    """A column or a transposed array is stored as it reads, not as it lies in memory."""
    table = np.arange(20).reshape(4, 5)
    store.save_run(tmp_path, small_run(), {"even": table[:, ::2], "turned": table.T}, [])

    with safe_open(next(tmp_path.rglob("*.safetensors")), "numpy") as file:
        assert (file.get_tensor("even") == table[:, ::2]).all()
        assert (file.get_tensor("turned") == table.T).all()


def test_run_without_examples_has_one_file(tmp_path):
    """A run that diverged says nothing of the test examples, and is stored all the same."""
    store.save_run(tmp_path, small_run(status="diverged"), {}, [])

    assert [path.suffix for path in tmp_path.rglob("*.*")] == [".json"]


def test_diverged_run_is_valid_json(tmp_path):
    """nan becomes null: no reader needs Python's own dialect."""
    run = small_run(
        epochs=(small_epoch(train={"loss": float("nan")}, gradient_norm=float("inf")),),
        metrics={"test_loss": float("nan")},
    )
    store.save_run(tmp_path, run, {}, [])

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    path = next(tmp_path.rglob("*.json"))
    plain = json.loads(path.read_text(), parse_constant=refuse)

    assert plain["epochs"][0]["train_loss"] is None
    assert store.load_runs(tmp_path)[0].metrics["test_loss"] is None


def test_no_runs_yet(tmp_path):
    """A folder in which nothing ended has no runs and no facts."""
    assert store.load_runs(tmp_path) == []
    assert store.load_environment(tmp_path) == {}


def test_half_written_run_is_no_run(tmp_path):
    """A run cut between its two files is not read: the JSON comes last."""
    store.save_run(tmp_path, small_run(), {"predicted": np.array([1])}, ["a"])
    next(tmp_path.rglob("*.json")).unlink()

    assert store.load_runs(tmp_path) == []


def test_damaged_run_is_named(tmp_path):
    """A run that cannot be read is named, and stands in nobody's way."""
    store.save_run(tmp_path, small_run(IDS[0], 4), {}, [])
    path = next(tmp_path.rglob("*.json"))
    path.write_text(path.read_text()[:100])
    store.save_run(tmp_path, small_run(IDS[0], 5), {}, [])
    runs, (words,) = store.read_runs(tmp_path)

    assert [run.seed for run in runs] == [5]
    assert str(path) in words

    with pytest.raises(StoreError, match=re.escape(str(path))):
        store.load_runs(tmp_path)


@pytest.mark.parametrize("schema", records.READABLE)
@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"epochs": [], "more": 1},
        {"case": [], "epochs": []},
        {"case": {}, "epochs": None},
        {"data": [], "case": {"label": "a", "init": "random"}},
    ],
    ids=["less", "more", "list", "null", "data"],
)
def test_run_of_other_fields_is_named(tmp_path, plain, schema):
    """A run with the right schema and the wrong fields is damaged too."""
    store.write_json(tmp_path / "runs" / "a" / "0.json", {"schema": schema, **plain})

    with pytest.raises(StoreError, match="0.json"):
        store.load_runs(tmp_path)


def test_crashed_runs_are_forgotten(tmp_path):
    """What the machine is to blame for is repeated; what the training is to blame for stays."""
    for seed, status in enumerate(STATUSES):
        store.save_run(tmp_path, small_run(seed=seed, status=status), {}, [])
    store.forget_crashed(tmp_path)

    assert [run.status for run in store.load_runs(tmp_path)] == [
        "finished",
        "diverged",
        "implausible",
    ]


# answers


def test_record_holds_the_digest_of_its_answers(tmp_path):
    """Whoever has the record can tell whether the answers are those of the run."""
    store.save_run(tmp_path, small_run(), ANSWERS, NAMES)
    (run,) = store.load_runs(tmp_path)
    file = next(tmp_path.rglob("*.safetensors"))

    assert run.answers == hashlib.sha256(file.read_bytes()).hexdigest()
    assert damaged_answers(tmp_path, run) == ""


DAMAGE = {
    "gone": lambda file: file.unlink(),
    "emptied": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "one bit": lambda file: file.write_bytes(file.read_bytes()[:-1] + b"\x00"),
    "another's": lambda file: file.write_bytes(file.with_name("1.safetensors").read_bytes()),
    "folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_answers_that_are_not_those_of_the_run_are_told(damage, tmp_path):
    """Whatever became of the file, the words name it, and the run is forgotten before."""
    for seed in (0, 1):
        answers = {**ANSWERS, "predicted": ANSWERS["predicted"] + seed + 1}
        store.save_run(tmp_path, small_run(seed=seed), answers, NAMES)
    run = store.load_runs(tmp_path)[0]
    file = store.run_file(tmp_path, run.id, 0).with_suffix(".safetensors")
    DAMAGE[damage](file)
    with pytest.warns(DamagedAnswers, match=f"{re.escape(str(file))} .*its run is repeated"):
        assert forget_damaged(tmp_path, run)

    assert [run.seed for run in store.load_runs(tmp_path)] == [1]


def test_run_without_answers_needs_none(tmp_path):
    """A run that diverged has no file, and is kept."""
    store.save_run(tmp_path, small_run(status="diverged"), {}, [])
    (run,) = store.load_runs(tmp_path)

    assert run.answers is None
    assert not forget_damaged(tmp_path, run)


# sameness


SAME = {"schema": 2, "recipe": {"epochs": 3, "transforms": {"flip": False}}, "digest": "0"}


def test_same_training_is_accepted(tmp_path):
    """A stored file of the training at hand is no error, whatever the order of its fields."""
    store.refuse_unless_same(tmp_path / "0.json", SAME, dict(reversed(SAME.items())))


def test_other_training_is_refused_with_all_that_differs(tmp_path):
    """Every field that differs is named by its path, with what it was and is, and a way out."""
    recipe = {"epochs": 4, "transforms": {"flip": True}}
    with pytest.raises(StoreError) as caught:
        store.refuse_unless_same(tmp_path / "0.json", SAME, {**SAME, "recipe": recipe})

    assert str(caught.value) == (
        f"{tmp_path}/0.json is of another training: recipe.epochs was 3, is 4;"
        f" recipe.transforms.flip was False, is True. Remove {tmp_path} to train the case"
        " afresh, name another --amlnn-out, or resume with all of this as it was"
    )


def test_other_schema_is_refused_as_such(tmp_path):
    """A record of an earlier version is called that, not of another training."""
    with pytest.raises(StoreError, match="0.json is a record of schema 1, .* not resumed"):
        store.refuse_unless_same(tmp_path / "0.json", {"schema": 1}, SAME)


# the environment


def test_datasets_are_added(tmp_path):
    """Facts are the latest, datasets are those of all processes."""
    store.save_environment(tmp_path, {**ENVIRONMENT, "cores": 1}, {"a": {"digest": "1"}})
    store.save_environment(tmp_path, {**ENVIRONMENT, "cores": 2}, {"b": {"digest": "2"}})
    facts = store.load_environment(tmp_path)

    assert facts["cores"] == 2
    assert facts["datasets"] == {"a": {"digest": "1"}, "b": {"digest": "2"}}


def test_processes_that_save_at_once_lose_nothing(tmp_path):
    """Two processes that each open twenty datasets leave forty."""
    add = f"""
from pathlib import Path
from sys import argv
from pytest_amlnn import store
for number in range(20):
    store.save_environment(
        Path({str(tmp_path)!r}), {ENVIRONMENT}, {{argv[1] + str(number): {{}}}}
    )
"""
    both = [subprocess.Popen([sys.executable, "-c", add, name]) for name in "ab"]
    codes = [process.wait(60) for process in both]

    assert codes == [0, 0]
    assert set(store.load_environment(tmp_path)["datasets"]) == {
        f"{name}{number}" for name in "ab" for number in range(20)
    }


def test_environment_stands_beside_the_plan(tmp_path):
    """Everything a report needs is in the files that the documentation names."""
    sweep(tmp_path, [])

    assert {"plan.json", "environment.json"} <= set(everything(tmp_path))
    assert store.load_environment(tmp_path)["datasets"] == DATASETS


def test_refusal_of_much_that_differs_is_short(tmp_path):
    """However many fields of a stranger's record differ, the message names a few of them."""
    then = {"schema": 3, **{f"field {number}": "x" * 10_000 for number in range(500)}}
    with pytest.raises(StoreError, match="field 0 was .*; and 494 more. Remove") as caught:
        store.refuse_unless_same(tmp_path / "0.json", then, {"schema": 3})

    assert len(str(caught.value)) < 2000
