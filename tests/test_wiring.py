"""What the repository's conftest.py gives to cases on Tiny ImageNet: pictures and weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import timm
import torch
from pictures_on_disk import WNIDS, original, write_zip
from safetensors.torch import save_file

ROOT = Path(__file__).parent.parent
REAL = ("n01443537", "n02124075", "n07920052")
"""Wnids that ImageNet has: goldfish, Egyptian cat, espresso."""
BENCHMARKS = """
import socket
from dataclasses import replace
from functools import partial

import pytest

from amlnn_datasets import tiny_imagenet
from amlnn_models.resnetv2 import CASES, resnetv2_18
from pytest_amlnn.recipe import with_changes

(made,) = (c for c in CASES if (c.profile, str(c)) == ("seed", "resnetv2_18-imagenet-10k"))
TRAINING = replace(
    made.training,
    build=partial(resnetv2_18, resolution=32),
    data=tiny_imagenet.source(size=12, classes=3, validation=2),
    recipe=with_changes(made.training.recipe, epochs=1, resolution=32, batch_size=4),
)
CASE = replace(made, training=TRAINING, repeats=1)


def refused(*_):
    raise AssertionError("a benchmark run opens a connection")


@pytest.fixture(autouse=True, scope="session")
def _alone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refused)
        yield


@pytest.mark.parametrize("case", [CASE], ids=str)
def test_cnn(case, pictures, weights, train, gate):
    assert gate(train(case, pictures, weights)).passed
"""


@pytest.fixture
def run(pytester, monkeypatch, tmp_path):
    """Run a small case that starts from ImageNet weights, wired as this repository's are."""
    files = original()
    for old, new in zip(sorted(WNIDS), REAL, strict=True):
        files = {
            name.replace(old, new): content.replace(old.encode(), new.encode())
            if name.endswith(".txt")
            else content
            for name, content in files.items()
        }
    archive = write_zip(tmp_path / "pictures.zip", files)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    pytester.makeconftest((ROOT / "conftest.py").read_text())
    pytester.makepyfile(test_small=BENCHMARKS)

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(
            "-rs",
            "--amlnn-profile=seed",
            f"--amlnn-data={archive}",
            "--amlnn-out=out",
            "--amlnn-device=cpu",
            *arguments,
        )

    return run


def made(folder: Path) -> Path:
    """Write weights of an ImageNet net."""
    torch.manual_seed(0)
    state = timm.create_model("resnetv2_18", num_classes=1000).state_dict()
    folder.mkdir()
    save_file(state, folder / "resnetv2_18.safetensors")
    return folder / "resnetv2_18.safetensors"


@pytest.mark.slow
def test_run_starts_from_the_weights_that_are_named(run, pytester, tmp_path):
    """The record holds the file's name and SHA-256; nothing is asked of the network."""
    path = made(tmp_path / "weights")
    run(f"--amlnn-weights={path}").assert_outcomes(passed=1)
    (file,) = (pytester.path / "out" / "runs").glob("*/0.json")
    record = json.loads(file.read_text())

    assert record["weights"] == {
        "tag": "resnetv2_18.safetensors",
        "source": "file",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert record["metrics"]["start_accuracy"] is not None
    assert record["data"]["classes"] == sorted(REAL)


@pytest.mark.slow
def test_case_without_weights_is_skipped_with_the_command(run):
    """Nothing in the hub's cache, no package: the reason says how to get them."""
    result = run()

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*SKIPPED*`amlnn fetch weights resnetv2_18`*"])


@pytest.mark.slow
def test_folder_without_the_model_is_named(run, tmp_path):
    """Weights of other models alone do not let a net start at random."""
    made(tmp_path / "weights").rename(tmp_path / "weights" / "vgg11.safetensors")
    result = run(f"--amlnn-weights={tmp_path / 'weights'}")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*weights has no resnetv2_18.safetensors or resnetv2_18.pth"])


@pytest.mark.slow
def test_weights_of_another_net_fail_the_case(run, tmp_path):
    """The message names the file and the first tensors that differ."""
    path = tmp_path / "small.safetensors"
    save_file({"stem.conv.weight": torch.zeros(8, 3, 7, 7)}, path)
    result = run(f"--amlnn-weights={path}")

    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*small.safetensors is not of resnetv2_18: *is missing; * and * more"]
    )


@pytest.mark.slow
def test_path_that_is_not_there_ends_the_run(run):
    """What --amlnn-weights names is looked at before anything else."""
    result = run("--amlnn-weights=absent.pth")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--amlnn-weights */absent.pth: there is no such file*"])
