"""Checkpoints with a checksum that is right, and a content that no training has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small_cases import cut, small_case, trained
from sweeps import lasting

from pytest_amlnn import checkpoint, result
from pytest_amlnn.checkpoint import DamagedCheckpoint
from pytest_amlnn.store import StoreError

CASE = small_case(epochs=3, optimizer="adamw")
NAME = "0002.safetensors"
Content = tuple[dict[str, Any], dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> Content:
    """State and tensors of a training that was cut after its second epoch."""
    place = tmp_path_factory.mktemp("cut")
    cut(CASE, place, 2)
    with safe_open(place / NAME, "pt") as opened:
        names = opened.keys()
        tensors = {name: opened.get_tensor(name) for name in names}
        return json.loads(opened.metadata()["state"]), tensors


def write(place: Path, text: str, tensors: dict[str, torch.Tensor], name: str = NAME) -> None:
    """Write a checkpoint whose checksum is that of what it holds."""
    digest = checkpoint.digest_of(text, tensors)
    save_file(tensors, place / name, {"state": text, "sha256": digest})


def epochs_with(state: dict[str, Any], **changes: object) -> dict[str, Any]:
    """Return a state whose last epoch is another."""
    return {**state, "epochs": [*state["epochs"][:-1], {**state["epochs"][-1], **changes}]}


STATES = {
    "more epochs than its name": lambda state: {**state, "epochs": state["epochs"] * 3},
    "fewer epochs": lambda state: {**state, "epochs": state["epochs"][:1]},
    "no epochs": lambda state: {**state, "epochs": []},
    "a loss that is text": lambda state: epochs_with(state, val_loss="low"),
    "no loss": lambda state: epochs_with(state, train_loss=None),
    "an infinite loss": lambda state: epochs_with(state, val_loss=float("inf")),
    "an integer of 400 digits": lambda state: epochs_with(state, val_loss=10**400),
    "a score that is a list": lambda state: epochs_with(state, val_accuracy=[1]),
    "no seconds": lambda state: epochs_with(state, seconds={}),
}


@pytest.mark.parametrize("change", STATES.values(), ids=STATES.keys())
def test_state_that_no_training_wrote_is_damaged(change, content, tmp_path):
    """A state in another form is warned of and not gone on from, whatever its checksum."""
    state, tensors = content
    write(tmp_path, json.dumps(change(state)), tensors)
    with pytest.warns(DamagedCheckpoint, match=f"{NAME} is damaged"):
        found = trained(CASE, place=tmp_path)

    assert lasting(result.to_plain(found.run)) == lasting(result.to_plain(trained(CASE).run))


ONES = torch.ones(3)
TENSORS = {
    "a parameter that the net lacks": {"optimizer.99.exp_avg": ONES},
    "no number of a parameter": {"optimizer.x.exp_avg": ONES},
    "a digit that is none": {"optimizer.².exp_avg": ONES},
    "a slot that the optimizer lacks": {"optimizer.1.other": ONES},
    "another shape": {"optimizer.1.exp_avg": torch.ones(2, 3)},
    "another type": {"optimizer.1.exp_avg": ONES.double()},
    "steps by element": {"optimizer.1.step": ONES},
}


@pytest.mark.parametrize("other", TENSORS.values(), ids=TENSORS.keys())
def test_optimizers_state_of_another_training_is_refused(other, content, tmp_path):
    """An optimizer is given back its own slots, in type and shape; all else is named."""
    state, tensors = content
    write(tmp_path, json.dumps(state), {**tensors, **other})
    with pytest.raises(StoreError, match=f"another training: {next(iter(other))} was"):
        trained(CASE, place=tmp_path)


def test_checkpoint_without_weights_is_refused(content, tmp_path):
    """A checkpoint that lacks the net's weights is refused with their names."""
    state, _ = content
    write(tmp_path, json.dumps(state), {})
    with pytest.raises(StoreError, match="1.weight was None, is torch.float32"):
        trained(CASE, place=tmp_path)


def test_checkpoint_of_another_seed_is_refused(content, tmp_path):
    """A seed does not go on with the weights of another one, where folders were mixed up."""
    state, tensors = content
    write(tmp_path, json.dumps(state), tensors)
    with pytest.raises(StoreError, match="seed was 0, is 1"):
        trained(CASE, place=tmp_path, seed=1)
