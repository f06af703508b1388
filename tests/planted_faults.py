"""Learning broken on purpose, from outside, and what the gate says: `tox -e gates`.

As a plugin (`-p planted_faults`, AMLNN_PLANT=name) it plants one fault into the pytest run that
loads it; as a script it runs them all, and prints the table of docs/gates.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

from pytest_amlnn import store
from pytest_amlnn.gates.gate import Gate, judge_result
from pytest_amlnn.gates.limits import load
from pytest_amlnn.gates.measured import main_metric_of
from pytest_amlnn.result import FINISHED, Result, gather

ROOT = Path(__file__).parents[1]
SEEDS = 5
CNN = ["resnetv2_18-random-shapes-600", "vgg11-random-shapes-600"]


# data


def with_targets(split: Any, targets: np.ndarray) -> Any:
    return replace(split, targets=targets.astype(split.targets.dtype))


def anew(targets: np.ndarray, share: float) -> np.ndarray:
    """Give targets of which a share was drawn from the others."""
    rng = np.random.default_rng(0)
    chosen = rng.random(len(targets)) < share
    return np.where(chosen, rng.permutation(targets), targets)


def only(split: Any, keep: np.ndarray) -> Any:
    names = [split.names[i] for i in keep]
    return replace(split, rows=split.rows[keep], targets=split.targets[keep], names=names)


def joined(first: Any, second: Any, prefix: str) -> Any:
    inputs = np.concatenate([first.inputs[first.rows], second.inputs[second.rows]])
    return replace(
        first,
        inputs=inputs,
        rows=np.arange(len(inputs)),
        targets=np.concatenate([first.targets, second.targets]),
        names=[*first.names, *(f"{prefix}{name}" for name in second.names)],
    )


def fifth_anew(splits: Any) -> Any:
    """A fifth of the training targets drawn anew."""
    return replace(splits, train=with_targets(splits.train, anew(splits.train.targets, 0.2)))


def shuffled(splits: Any) -> Any:
    """Training targets shuffled."""
    return replace(splits, train=with_targets(splits.train, anew(splits.train.targets, 1.0)))


def half(splits: Any) -> Any:
    """Every second training example left out."""
    keep = np.arange(len(splits.train))[::2]
    return replace(splits, train=only(splits.train, keep))


def copies(splits: Any) -> Any:
    """The second half of the training examples are copies of the first."""
    train = splits.train
    middle = len(train) // 2
    order = np.random.default_rng(0).permutation(len(train))
    rows, targets = train.rows[order], train.targets[order]
    rows = np.concatenate([rows[:middle], rows[: len(rows) - middle]])
    targets = np.concatenate([targets[:middle], targets[: len(targets) - middle]])
    made = replace(train, inputs=train.inputs[rows], rows=np.arange(len(rows)))
    return replace(splits, train=replace(made, targets=targets))


def validation_off(splits: Any) -> Any:
    """Validation labels off by one."""
    labels = (splits.validation.targets + 1) % len(splits.classes)
    return replace(splits, validation=with_targets(splits.validation, labels))


def tests_in_train(splits: Any) -> Any:
    """Test pictures added to training."""
    return replace(splits, train=joined(splits.train, splits.test, "test-"))


def some_test_labels(splits: Any) -> Any:
    """A fifth of the test labels drawn anew."""
    return replace(splits, test=with_targets(splits.test, anew(splits.test.targets, 0.2)))


def dark_training(splits: Any) -> Any:
    """Training pictures a third as bright as the others."""
    train = splits.train
    return replace(
        splits,
        train=replace(train, inputs=train.inputs[train.rows] // 3, rows=np.arange(len(train))),
    )


def next_target(splits: Any) -> Any:
    """Training targets of the step after the next."""
    targets = np.append(splits.train.targets[1:], splits.train.targets[-1])
    return replace(splits, train=with_targets(splits.train, targets))


def target_in_window(splits: Any) -> Any:
    """Each window ends with its target."""

    def told(split: Any) -> Any:
        windows = split.inputs[split.rows].copy()
        windows[:, :-1], windows[:, -1] = windows[:, 1:], split.targets
        return replace(split, inputs=windows, rows=np.arange(len(windows)))

    parts = {name: told(getattr(splits, name)) for name in ("train", "validation", "test")}
    return replace(splits, **parts)


def scaler_on_all(splits: Any) -> Any:
    """The scaler fitted on all splits."""
    parts = [getattr(splits, name).targets for name in ("train", "validation", "test")]
    values = np.concatenate(parts)
    return replace(splits, center=float(values.mean()), scale=float(values.std()))


# training


def slower(factor: float) -> Callable[[Any], None]:
    def plant(patch: Callable[..., None]) -> None:
        from pytest_amlnn import steps

        patch(steps, "rate", lambda plain: lambda *a, **k: factor * plain(*a, **k))

    return plant


def frozen(patch: Callable[..., None]) -> None:
    """Only the last layer is trained."""
    from pytest_amlnn import preparation

    def wrap(plain: Any) -> Any:
        def build(*arguments: Any, **named: Any) -> Any:
            net = plain(*arguments, **named)
            weights = [*net.parameters()]
            for parameter in weights[:-2]:
                parameter.requires_grad_(False)
            return net

        return build

    patch(preparation, "build_net", wrap)


def half_the_epochs(patch: Callable[..., None]) -> None:
    """Training ends after half of its epochs."""
    from pytest_amlnn.preparation import Setup

    def wrap(plain: Any) -> Any:
        return lambda self, recipe: (
            len(self.state.epochs) >= recipe.epochs // 2 or plain(self, recipe)
        )

    patch(Setup, "over", wrap)


def worst_weights(patch: Callable[..., None]) -> None:
    """The weights of the worst epoch are tested."""
    from pytest_amlnn import training

    def worst(epochs: Any) -> int:
        losses = [epoch.validation["loss"] for epoch in epochs]
        return losses.index(max(losses)) + 1

    patch(training, "best_epoch", lambda plain: worst)


def tiny_gradients(patch: Callable[..., None]) -> None:
    """Gradients clipped to a hundredth of what the recipe says."""
    from pytest_amlnn import steps

    patch(steps, "clip", lambda plain: lambda weights, limit: plain(weights, 0.01))


DATA: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a fifth of the training targets drawn anew": ("both", fifth_anew),
    "training targets shuffled": ("both", shuffled),
    "every second training example left out": ("both", half),
    "half of the training examples are copies": ("both", copies),
    "validation labels off by one": ("cnn", validation_off),
    "test pictures added to training": ("cnn", tests_in_train),
    "a fifth of the test labels drawn anew": ("cnn", some_test_labels),
    "training pictures a third as bright": ("cnn", dark_training),
    "training targets one step late": ("rnn", next_target),
    "each window ends with its target": ("rnn", target_in_window),
    "scaler fitted on all splits": ("rnn", scaler_on_all),
}
CODE: dict[str, tuple[str, Callable[..., None]]] = {
    "learning rate x 0.1": ("both", slower(0.1)),
    "learning rate x 10": ("both", slower(10.0)),
    "only the last layer is trained": ("both", frozen),
    "half of the epochs": ("both", half_the_epochs),
    "weights of the worst epoch are tested": ("both", worst_weights),
    "gradients clipped to 0.01": ("both", tiny_gradients),
}


def pytest_configure() -> None:
    """Plant the fault that AMLNN_PLANT names, before any model is imported."""
    name = os.environ.get("AMLNN_PLANT", "")
    if name in DATA:
        _, change = DATA[name]
        from amlnn_datasets import series, shapes

        for module in (series, shapes):
            plain = module.splits

            def broken(*arguments: Any, _plain: Any = plain, **named: Any) -> Any:
                return change(_plain(*arguments, **named))

            module.splits = wraps(plain)(broken)
    elif name in CODE:
        CODE[name][1](
            lambda place, what, wrap: setattr(place, what, wrap(getattr(place, what)))
        )
    elif name:
        raise ValueError(f"AMLNN_PLANT={name} is no fault")


# the table


def parts_of(kind: str) -> dict[str, list[str]]:
    """Give pytest's arguments for the families that a fault is planted in."""
    parts = {
        "cnn": ["benchmarks/test_cnn.py", "-k", " or ".join(CNN)],
        "rnn": ["benchmarks/test_rnn.py"],
    }
    return parts if kind == "both" else {kind: parts[kind]}


def sweep(folder: Path, fault: str, gates: Path, arguments: Iterable[str]) -> list[Result]:
    """Run one sweep with a fault, unless it is there, and give its results."""
    if not (folder / "summary.json").exists():
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"AMLNN_PLANT": fault, "PYTHONPATH": os.pathsep.join(paths)}
        options = [f"--amlnn-out={folder}", f"--amlnn-repeats={SEEDS}", "--amlnn-seed=500"]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "planted_faults", *arguments]
        command += [*options, f"--amlnn-gates={gates}", "--amlnn-resume"]
        subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    return gather(store.read_runs(folder)[0])


def main(out: Path, gates: Path) -> None:
    """Plant all faults in turn, and print what each costs and what the gate says."""
    held = load(gates, "quick")
    gate = Gate(held=held, planned=dict.fromkeys(held.by_case, SEEDS))
    before: dict[str, tuple[float, float]] = {}
    rows: dict[str, dict[str, Cell]] = {}
    everything = {"none": ("both", None), **DATA, **CODE}
    for number, (fault, (kind, _)) in enumerate(everything.items()):
        for family, arguments in parts_of(kind).items():
            name = "" if fault == "none" else fault
            for result in sweep(out / f"{number}-{family}", name, gates, arguments):
                if not name:
                    before[result.id] = value_and_margin(result, gate)
                cell = cell_of(result, *before[result.id], gate)
                rows.setdefault(fault, {})[result.id] = cell
    cases = [*rows["none"]]
    print(
        "| fault | " + " | ".join(case.partition("[")[2].rstrip("]") for case in cases) + " |"
    )
    print("|---" * (len(cases) + 1) + "|")
    for fault, found in rows.items():
        cells = [found[case].words if case in found else "" for case in cases]
        print(f"| {fault} | " + " | ".join(cells) + " |")
    every = [cell for fault, row in rows.items() if fault != "none" for cell in row.values()]
    large = [cell for cell in every if cell.large]
    red = sum(cell.red for cell in large)
    print(f"\n{len(large)} cost more than the margin, {red} of these are red")


@dataclass(frozen=True)
class Cell:
    """What a fault costs one case in points, and what the gate says."""

    words: str
    red: bool
    large: bool
    """Whether it costs more than the margin."""


def value_and_margin(result: Result, gate: Gate) -> tuple[float, float]:
    """Give what a case reaches without a fault, and the drop that matters to its limit."""
    metric = main_metric_of(result).name
    found = judge_result(result, gate).judgements
    (margin,) = (j.margin for j in found if j.limit.metric == metric)
    return result.metrics[metric].mean or 0.0, margin or 0.0


def cell_of(result: Result, before: float, margin: float, gate: Gate) -> Cell:
    """Give the cell of one case."""
    verdict, value = (
        judge_result(result, gate),
        result.metrics[main_metric_of(result).name].mean,
    )
    name = str(verdict.name) if result.status == FINISHED else result.status
    red = bool(verdict.failing) or result.status != FINISHED
    shown = f"**{name}**" if red else name
    if value is None:
        return Cell(words=shown, red=red, large=True)
    cost = before - value
    return Cell(words=f"{100 * cost:.1f} {shown}", red=red, large=cost > margin)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
