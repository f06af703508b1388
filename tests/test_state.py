"""What a training needs to go on, in memory and as checkpoints: whole or refused."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import warnings
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from small_cases import cut, linear, pictures_net, small_case, squares, trained
from sweeps import lasting, rounds
from torch import nn

from pytest_amlnn import Case, Recipe, Source, checkpoint, result, state, steps, store
from pytest_amlnn.checkpoint import DamagedCheckpoint


def bits(case: Case, place: Path | None = None) -> object:
    """Train a case, going on from what is in `place`; return all that must not differ."""
    outcome = trained(case, place=place)
    answers = {name: array.tobytes() for name, array in outcome.answers.items()}
    return lasting(result.to_plain(outcome.run)), answers


CASES = {
    "adamw": small_case(build=pictures_net, epochs=6, optimizer="adamw", learning_rate=0.01),
    "adam": small_case(build=pictures_net, epochs=6, optimizer="adam", learning_rate=0.01),
    "sgd": small_case(build=pictures_net, epochs=6),
    "plain sgd": small_case(build=pictures_net, epochs=6, momentum=0.0),
    "augmented": small_case(build=pictures_net, epochs=6, flip=True, shift=2),
    "averaged": small_case(build=pictures_net, epochs=6, averaging=0.9),
    "standardised": small_case(build=pictures_net, epochs=6, standardise=True),
    "early stop": small_case(build=pictures_net, epochs=9, patience=1, learning_rate=0.5),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=[] if name == "adamw" else pytest.mark.slow)
        for name, case in CASES.items()
    ],
)
def test_cut_training_equals_straight(case, tmp_path):
    """Cut after any epoch and resumed, a training ends in the same bits."""
    straight = bits(case)
    for after in range(1, straight[0]["metrics"]["epochs"] + 1):
        cut(case, tmp_path / str(after), after)

        assert bits(case, tmp_path / str(after)) == straight


def test_worse_epochs_after_the_best_one(tmp_path):
    """The best weights survive a cut although later epochs had worse ones."""
    case = CASES["early stop"]
    run = trained(case).run
    assert run.best_epoch < run.metrics["epochs"]
    cut(case, tmp_path, run.best_epoch + 1)

    assert bits(case, tmp_path) == bits(case)


def test_two_checkpoints_are_kept(tmp_path):
    """While one is written there is always a whole one."""
    cut(CASES["sgd"], tmp_path, 4)

    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "0003.safetensors",
        "0004.safetensors",
    ]


def damage(file: Path, generator: random.Random) -> None:
    """Flip a bit of a file, cut it, empty it or remove it."""
    content = bytearray(file.read_bytes())
    kind = generator.choice(["flip", "cut", "empty", "remove"])
    if kind == "flip":
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    elif kind == "cut":
        del content[generator.randrange(len(content)) :]
    file.write_bytes(b"" if kind == "empty" else content)
    if kind == "remove":
        file.unlink()


@pytest.fixture(scope="module")
def straight() -> object:
    """The bits of a training that nothing happened to."""
    return bits(CASES["adamw"])


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory) -> Path:
    """The checkpoints of a training that was cut after its fourth epoch."""
    place = tmp_path_factory.mktemp("cut")
    cut(CASES["adamw"], place, 4)
    return place


@pytest.mark.parametrize("round", rounds(20, 200))
def test_damaged_checkpoint_is_never_trained_on(round, straight, cut_off, tmp_path):
    """Whatever happened to the newest checkpoint, or to both, the bits are the same.

    What is damaged is said and named, unless it is gone without a trace.
    """
    generator = random.Random(round)
    for file in cut_off.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    files = sorted(tmp_path.iterdir(), reverse=True)
    damaged = files[: generator.randint(1, 2)]
    for file in damaged:
        damage(file, generator)
    present = [str(file) for file in damaged if file.exists()]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DamagedCheckpoint)
        found = bits(CASES["adamw"], tmp_path)

    assert found == straight
    said = [str(entry.message) for entry in caught if entry.category is DamagedCheckpoint]
    assert [text.split(" is damaged")[0] for text in said] == present


def test_damaged_checkpoint_is_removed_before_it_is_warned_of(straight, cut_off, tmp_path):
    """Where warnings are errors, a damaged checkpoint fails one attempt, and not the next."""
    for file in cut_off.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    newest = max(tmp_path.iterdir())
    newest.write_bytes(b"damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DamagedCheckpoint, match="0004.safetensors is damaged"):
            trained(CASES["adamw"], place=tmp_path)
        assert not newest.exists()

        assert bits(CASES["adamw"], tmp_path) == straight


FORGED = {
    "epochs": [{}, [{}], [{"train_loss": 1}], None, 7],
    "parts": [{"train": "1"}, {"other": 1.0}, {"train": -1}, []],
    "peak_memory_bytes": ["much", -1, 0.5],
    "start": [{"start_loss": []}, [1]],
    "more": [1],
}


@pytest.mark.parametrize(
    ("field", "value"), [(name, value) for name, values in FORGED.items() for value in values]
)
def test_forged_checkpoint_is_damaged(straight, cut_off, tmp_path, field, value):
    """A checkpoint whose checksum is right and whose state is no state is not trained on: the
    one before it is."""
    for file in cut_off.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    newest = max(tmp_path.iterdir())
    plain, tensors = checkpoint.read(newest)
    epochs = [result.epoch_to_plain(epoch) for epoch in plain["epochs"]]
    text = json.dumps({**plain, "epochs": epochs, field: value})
    digest = checkpoint.digest_of(text, tensors)
    save_file(tensors, newest, {"state": text, "sha256": digest})
    with pytest.warns(DamagedCheckpoint, match=f"{newest.name} is damaged .*its state"):
        assert bits(CASES["adamw"], tmp_path) == straight


def no_rights(file: Path) -> None:
    """Have a file that this user cannot read."""
    file.touch()
    file.chmod(0)


NOT_OURS = {
    "no rights": (no_rights, "Permission denied"),
    "folder": (Path.mkdir, "no regular file"),
    "fifo": (os.mkfifo, "no regular file"),
    "link": (lambda file: file.symlink_to(file.with_name("0003.safetensors")), "no regular"),
    "link to nothing": (lambda file: file.symlink_to("nothing"), "no regular file"),
}


@pytest.mark.parametrize(("plant", "words"), NOT_OURS.values(), ids=NOT_OURS.keys())
def test_what_cannot_be_read_is_left_alone(plant, words, cut_off, tmp_path, monkeypatch):
    """What lies in a checkpoint's place and cannot be read is named, and stays as it is."""
    for file in cut_off.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    strange = tmp_path / "0005.safetensors"
    plant(strange)
    if plant is no_rights and not os.getuid():  # root may read all
        opened = Path.open

        def refusing(path: Path, *given: object, **named: object) -> object:
            if path == strange:
                raise PermissionError(13, "Permission denied", str(path))
            return opened(path, *given, **named)

        monkeypatch.setattr(Path, "open", refusing)
    before = strange.lstat()
    with pytest.raises(store.StoreError, match=f"0005.safetensors cannot be read: .*{words}"):
        trained(CASES["adamw"], place=tmp_path)

    assert strange.lstat() == before
    assert len([*tmp_path.iterdir()]) == 3


def test_fresh_start_after_damage_is_kept(tmp_path):
    """Where all checkpoints are damaged, those of the fresh start take their place."""
    case = CASES["adamw"]
    cut(case, tmp_path, 4)
    for file in tmp_path.iterdir():
        file.write_bytes(b"damaged")
    with pytest.warns(DamagedCheckpoint):
        cut(case, tmp_path, 1)

    assert [file.name for file in tmp_path.iterdir()] == ["0001.safetensors"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 0.02}, "recipe.learning_rate was 0.01, is 0.02"),
        ({"epochs": 7}, "recipe.epochs was 6, is 7"),
        ({"build": linear}, "build was small_cases.pictures_net, is small_cases.linear"),
        ({"data": Source(name="squares", arguments={"size": 61})}, "data.size was None, is 61"),
        ({"dataset": "circles"}, "dataset was squares, is circles"),
    ],
)
def test_other_training_is_refused(changes, words, cut_off):
    """A checkpoint of another recipe, net, size or dataset is refused, with what differs."""
    case = small_case(
        **{
            "build": pictures_net,
            "epochs": 6,
            "optimizer": "adamw",
            "learning_rate": 0.01,
            **changes,
        }
    )
    with pytest.raises(store.StoreError, match=words):
        trained(case, place=cut_off)


WIDTH: dict[str, int] = {}


def net_of_a_size(outputs: int) -> nn.Module:
    """Build a net whose size is told by no code."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(192, WIDTH["width"]), nn.Linear(WIDTH["width"], outputs)
    )


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_weights_of_another_net_are_refused(tmp_path, monkeypatch, averaging):
    """Names, types and shapes of weights count: a net may be another one by equal code."""
    case = small_case(build=net_of_a_size, epochs=4, averaging=averaging)
    monkeypatch.setitem(WIDTH, "width", 8)
    cut(case, tmp_path, 2)
    monkeypatch.setitem(WIDTH, "width", 9)
    words = r"of another training: .*1\.weight was torch.float32 \[8, 192\], is .* \[9, 192\]"
    with pytest.raises(store.StoreError, match=words):
        trained(case, place=tmp_path)


def test_other_data_are_refused(cut_off):
    """A checkpoint that was trained on other data is refused, with both digests."""
    data = squares()
    splits = data(0)
    other = dataclasses.replace(splits, facts={**splits.facts, "digest": "1" * 64})
    with pytest.raises(store.StoreError, match=f"digest was {'0' * 64}, is {'1' * 64}"):
        trained(CASES["adamw"], lambda seed: other, place=cut_off)


def test_older_version_is_refused(tmp_path):
    """A checkpoint of another version's record is refused with what can be done, not read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "SCHEMA", 1)
        cut(CASES["sgd"], tmp_path, 1)
    with pytest.raises(
        store.StoreError, match=r"0001\.safetensors is a record of schema 1, .*"
    ):
        trained(CASES["sgd"], place=tmp_path)

    assert [file.name for file in tmp_path.iterdir()] == ["0001.safetensors"]


def test_time_of_all_attempts_is_counted_once(tmp_path):
    """Training and wall time of a resumed run are the sums over its attempts."""
    case = CASES["sgd"]
    cut(case, tmp_path, 4)
    run = trained(case, place=tmp_path).run

    spent = sum(epoch.seconds["train"] for epoch in run.epochs)
    assert run.metrics["train_seconds"] == pytest.approx(spent)
    # a busy machine may stop a process of a quarter of a second between two parts
    wall = pytest.approx(run.metrics["wall_seconds"], rel=0.02, abs=0.05)
    assert sum(run.parts.values()) == wall
    assert run.parts["checkpoint"] > 0


def test_layout_in_memory_comes_back():
    """State lies beside its parameter as it did: fused optimizers walk through both alike."""
    wide = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    value = torch.arange(wide.weight.numel(), dtype=torch.float32).view(wide.weight.shape)
    restored = state.like(wide.weight, value)

    assert restored.stride() == wide.weight.stride()
    assert torch.equal(restored, value)


def test_shared_weights_are_stored():
    """Two names for one tensor are stored as two, and come back."""
    tensor = torch.arange(6.0)
    whole = checkpoint.storable({"a": tensor, "b": tensor, "c": tensor.view(2, 3).T})

    assert whole["a"].data_ptr() != whole["b"].data_ptr()
    assert torch.equal(whole["c"], tensor.view(2, 3).T)
    assert whole["c"].is_contiguous()


# optimizer and average


def test_weight_decay_spares_biases():
    """Only parameters of two dimensions and more decay."""
    optimizer = state.optimizer_of(
        linear(3), Recipe(epochs=1, learning_rate=0.1, weight_decay=0.5)
    )
    decays = {
        parameter.ndim: group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }

    assert decays == {2: 0.5, 1: 0.0}


def test_layers_that_cannot_be_told_apart_are_refused():
    """A rate for each layer, or frozen ones, are asked for in vain where a net has no order
    of layers."""
    with pytest.raises(ValueError, match=r"layer_decay is 0\.5.*needs timm's group_matcher"):
        state.optimizer_of(linear(3), Recipe(epochs=1, learning_rate=0.1, layer_decay=0.5))
    with pytest.raises(ValueError, match=r"trained is head.*needs timm's group_matcher"):
        state.freeze(linear(3), Recipe(epochs=1, learning_rate=0.1, trained="head"))


@pytest.mark.parametrize(
    ("trained", "stages"),
    [("head", {"head", "norm"}), ("last_stage", {"head", "norm", "stages.3"})],
)
def test_layers_that_are_not_trained_stay_as_they_are(trained, stages):
    """The optimizer has the last stages alone, and the others' norms keep their statistics."""
    net = timm.create_model("resnetv2_18", num_classes=3)
    recipe = Recipe(epochs=1, learning_rate=0.1, weight_decay=0.1, trained=trained)
    state.freeze(net, recipe)
    groups = state.optimizer_of(net, recipe).param_groups
    held = {id(parameter) for group in groups for parameter in group["params"]}
    names = [name for name, p in net.named_parameters() if id(p) in held]
    frozen = {name for name, layer in net.named_modules() if steps.is_frozen(layer)}

    assert {name for name in stages if any(n.startswith(name) for n in names)} == stages
    assert all(name.startswith((*stages,)) for name in names)
    assert "stages.2.blocks.1.norm2" in frozen
    assert "norm" not in frozen


def test_average_follows_the_weights():
    """After a first step that it takes as it is, it keeps its share of what it was."""
    net = linear(3)
    average = state.average_of(net, Recipe(epochs=1, learning_rate=0.1, averaging=0.75))
    for value in (1.0, 5.0):
        net[1].bias.data.fill_(value)
        average.update_parameters(net)

    assert torch.equal(average.module[1].bias.data, torch.full((3,), 2.0))
    assert state.average_of(net, Recipe(epochs=1, learning_rate=0.1)) is None
