"""Small sweeps whose cause is known, because it was planted: what explanations are tested by.

Each is trained as every other sweep is. Pictures of 8x8 pixels belong to a class by which of
several patterns they show under noise; series are those of `amlnn_datasets`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from small_cases import CPU, SIDE, leaked, line_case, small_case
from torch import nn

from amlnn_datasets import series
from pytest_amlnn import Case, Pictures, Run, Split, Weights, store, training
from pytest_amlnn.progress import Silent
from pytest_amlnn.report.differences import drawn
from pytest_amlnn.report.explanations import explain, of_cases, worthless
from pytest_amlnn.report.groups import facts_of
from pytest_amlnn.report.sentences import Sentence
from pytest_amlnn.result import gather

CLASSES, PATTERNS, WINDOW = 4, 3, 16
SEEDS = (0, 1, 2)
VERDICTS = ("distinct", "indistinct")
"""Rules that say whether there is a difference, and not why."""


# nets


def mlp(outputs: int, *, units: int = 64, side: int = SIDE, stream: int = 0) -> nn.Module:
    """Build a net of one hidden layer; another `stream` draws other weights from one seed."""
    torch.rand(stream)
    inputs = 3 * side * side
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, units), nn.ReLU(), nn.Linear(units, outputs)
    )


def pooled(outputs: int, *, units: int = 8) -> nn.Module:
    """Build a net that takes pictures of any size."""
    return nn.Sequential(
        nn.Conv2d(3, units, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(16 * units, outputs),
    )


def forecaster(outputs: int, *, units: int = 32, stream: int = 0) -> nn.Module:
    """Build a net of one hidden layer that reads a window."""
    torch.rand(stream)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(WINDOW, units), nn.ReLU(), nn.Linear(units, outputs)
    )


class Started(nn.Module):
    """A net that may start from the weights of a file."""

    def __init__(
        self, outputs: int, weights: Weights | None = None, classes: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.net = mlp(outputs)
        if weights is not None:
            from safetensors.torch import load_file

            self.load_state_dict(load_file(weights.path))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.net(inputs)


# data


def pictures(*, train: int = 240, noise: float = 60.0, patterns: int = PATTERNS) -> Pictures:
    """Return pictures whose class is which patterns they may show."""
    random = np.random.RandomState(0)
    shapes = random.randn(CLASSES, patterns, SIDE, SIDE, 3)

    def split(name: str, count: int) -> Split:
        labels = np.arange(count) % CLASSES
        shown = shapes[labels, random.randint(0, patterns, count)]
        values = 128 + 25 * shown + noise * random.randn(*shown.shape)
        return Split(
            inputs=values.clip(0, 255).astype(np.uint8),
            rows=np.arange(count),
            targets=labels.astype(np.int64),
            names=[f"{name}{number}" for number in range(count)],
        )

    test, validation = split("test", 400), split("validation", 200)
    return Pictures(
        train=split("train", train),
        validation=validation,
        test=test,
        classes=tuple(f"class{number}" for number in range(CLASSES)),
        facts={"name": "patterns", "digest": f"{train}-{noise}-{patterns}"},
    )


def relabelled(splits: Pictures, part: str, labels: Callable[[Any], Any]) -> Pictures:
    """Return pictures with other labels in one split."""
    split = getattr(splits, part)
    changed = replace(split, targets=labels(split.targets).astype(np.int64))
    return replace(splits, **{part: changed})


def redrawn(labels: np.ndarray, *, share: float) -> np.ndarray:
    """Return labels of which a share was drawn at random."""
    random = np.random.RandomState(1)
    chosen = random.rand(len(labels)) < share
    return np.where(chosen, random.randint(0, CLASSES, len(labels)), labels)


def with_tests_in_train(splits: Pictures) -> Pictures:
    """Return pictures whose training examples hold the test examples, too."""
    train, test = splits.train, splits.test
    inputs = np.concatenate([train.inputs, test.inputs])
    joined = Split(
        inputs=inputs,
        rows=np.arange(len(inputs)),
        targets=np.concatenate([train.targets, test.targets]),
        names=[*train.names, *test.names],
    )
    return replace(splits, train=joined)


def windows(seed: int, *, points: int = 600, test: int = 300) -> Any:
    """Return the windows of a series that swings and is noisy."""
    return series.splits(
        "trend_seasonal", points=points, longest=1200, test=test, window=WINDOW, seed=seed
    )


# sweeps


def runs_of(
    case: Case,
    data: Callable[[int], Any],
    *,
    seeds: Sequence[int] = SEEDS,
    weights: Weights | None = None,
) -> list[training.Outcome]:
    """Train a case with some seeds."""
    id = f"test_made_up[{case}]"
    runs = [
        training.initial_run(case, id=id, seed=seed, device=CPU, weights=weights)
        for seed in seeds
    ]
    ended = training.train(case, data, runs, device=CPU, progress=Silent(), weights=weights)
    return [*ended]


def picture_case(label: str, build: Any = mlp, **changes: Any) -> Case:
    """Return a case on pictures that ends trained, and does not overfit much."""
    fields = {"epochs": 12, "learning_rate": 0.05, "size": 240, **changes}
    return small_case(label, build=build, **fields)


def window_case(label: str, build: Any = forecaster, **changes: Any) -> Case:
    """Return a case on windows."""
    fields = {"epochs": 10, "learning_rate": 0.01, "optimizer": "adam", "size": 600, **changes}
    return line_case(label, build=build, **fields)


def on(splits: Pictures, *cases: Case, **options: Any) -> Iterator[training.Outcome]:
    """Train cases on the same pictures."""
    for case in cases:
        yield from runs_of(case, lambda seed: splits, **options)


def on_windows(*cases: Case, **options: Any) -> Iterator[training.Outcome]:
    """Train cases on the same windows."""
    for case in cases:
        yield from runs_of(case, windows, **options)


def stored(folder: Path, outcomes: Iterable[training.Outcome]) -> Path:
    """Store runs with their answers, as a sweep does."""
    for outcome in outcomes:
        store.save_run(folder, outcome.run, outcome.answers, outcome.names)
    return folder


def told(folder: Path) -> tuple[Sentence, ...]:
    """Return what a report says of the runs of a folder."""
    runs, _ = store.read_runs(folder)
    cases = facts_of(gather(runs), folder)
    of_each = of_cases(cases, {})
    sound = [case for case in cases if case.id not in worthless(of_each)]
    return explain(of_each, drawn(sound))


def first_explanation(said: Sequence[Sentence]) -> Sentence | None:
    """Return the first sentence that says why; without one, the first verdict."""
    why = [one for one in said if one.rule not in VERDICTS]
    return [*why, *said][0] if said else None


@dataclass(frozen=True, kw_only=True)
class MadeUp:
    """A sweep with a cause, and the rules that name it."""

    name: str
    make: Callable[[Path], Iterator[training.Outcome]]
    expected: tuple[str, ...]
    words: str = ""
    """What the sentence must say."""


def changed(outcomes: Iterable[training.Outcome], change: Callable[[Run], Run]) -> Any:
    """Return outcomes whose records were changed by hand."""
    return (replace(outcome, run=change(outcome.run)) for outcome in outcomes)


def with_metric(run: Run, **metrics: float) -> Run:
    """Return a run with other metrics."""
    return replace(run, metrics={**run.metrics, **metrics})


def lucky(run: Run) -> Run:
    """Raise the accuracy of one seed of one case by far."""
    right = run.metrics["test_accuracy"] or 0.0
    mine = run.id.endswith("[second]") and run.seed == 1
    return with_metric(run, test_accuracy=right + 0.1 * mine)


def from_weights(folder: Path) -> Iterator[training.Outcome]:
    """Train a net from random weights, and from those of a net that has learned before."""
    few, many = pictures(train=40), pictures(train=960)
    learned: list[Any] = []

    def remembered(outputs: int, **given: Any) -> nn.Module:
        learned.append(Started(outputs, **given))
        return learned[-1]

    list(on(many, picture_case("teacher", remembered), seeds=(7,)))
    path = folder / "teacher.safetensors"
    save_file(learned[0].state_dict(), path)
    fields = {"model": "net", "size": 40, "epochs": 6}
    yield from on(few, picture_case("random", Started, **fields))
    weights = Weights(path=path, source="file", tag="teacher")
    yield from on(
        few, picture_case("trained", Started, start="teacher", **fields), weights=weights
    )


def of_two_sizes(_: Path) -> Iterator[training.Outcome]:
    """Train a net on few examples, and on twenty times as many."""
    for size in (40, 800):
        case = picture_case(f"net-{size}", model="net", size=size)
        yield from on(pictures(train=size), case)


def pair(**changes: Any) -> Callable[[Path], Iterator[training.Outcome]]:
    """Return what trains one net by two recipes under two names."""
    first = picture_case("first", pooled)
    second = picture_case("second", pooled, **changes)
    return lambda _: on(pictures(), first, second)


SWEEPS = (
    MadeUp(
        name="too few epochs",
        make=lambda _: on(pictures(train=480), picture_case("net", epochs=2)),
        expected=("too_few_epochs",),
    ),
    MadeUp(
        name="too few epochs for a forecast",
        make=lambda _: on_windows(window_case("net", epochs=2, learning_rate=0.003)),
        expected=("too_few_epochs",),
    ),
    *(
        MadeUp(
            name=f"{share:.0%} of the training labels drawn at random",
            make=lambda _, share=share: on(
                relabelled(pictures(train=1200), "train", partial(redrawn, share=share)),
                picture_case("net", partial(mlp, units=16), learning_rate=0.02),
            ),
            expected=("noisy_labels",),
        )
        for share in (0.3, 0.5)
    ),
    MadeUp(
        name="labels of training and validation drawn at random, 30%",
        make=lambda _: on(
            relabelled(
                relabelled(pictures(train=1200), "train", partial(redrawn, share=0.3)),
                "validation",
                partial(redrawn, share=0.3),
            ),
            picture_case("net", partial(mlp, units=16), learning_rate=0.02),
        ),
        expected=("noisy_labels",),
    ),
    MadeUp(
        name="net too small",
        make=lambda _: on(
            pictures(train=960), picture_case("net", partial(mlp, units=1), epochs=20)
        ),
        expected=("too_small",),
    ),
    MadeUp(
        name="data too few",
        make=lambda _: on(pictures(train=32), picture_case("net", epochs=20)),
        expected=("too_few_examples",),
    ),
    MadeUp(
        name="data too few, and more of them",
        make=of_two_sizes,
        expected=("data_closes_the_gap", "too_few_examples"),
    ),
    MadeUp(
        name="other resolution",
        make=pair(resolution=4),
        expected=("not_alike",),
        words="resolution",
    ),
    MadeUp(name="other epochs", make=pair(epochs=2), expected=("not_alike",), words="epochs"),
    MadeUp(
        name="other batch",
        make=pair(batch_size=64),
        expected=("not_alike",),
        words="batch_size",
    ),
    MadeUp(
        name="other augmentation", make=pair(shift=2), expected=("not_alike",), words="shift"
    ),
    MadeUp(
        name="other precision",
        make=lambda _: changed(
            pair()(_),
            lambda run: replace(
                run, precision="bfloat16" if run.id.endswith("[second]") else "float32"
            ),
        ),
        expected=("not_alike",),
        words="precision",
    ),
    MadeUp(
        name="test examples in training",
        make=lambda _: on(
            with_tests_in_train(pictures(noise=120.0)), picture_case("net", epochs=20)
        ),
        expected=("leak",),
    ),
    MadeUp(
        name="target in window",
        make=lambda _: (
            outcome
            for outcome in runs_of(
                window_case("net", epochs=30), lambda seed: leaked(windows(seed))
            )
        ),
        expected=("implausible",),
    ),
    MadeUp(
        name="validation labels off by one",
        make=lambda _: on(
            relabelled(pictures(), "validation", lambda labels: (labels + 1) % CLASSES),
            picture_case("net"),
        ),
        expected=("splits_disagree",),
        words="the validation labels are likely wrong",
    ),
    MadeUp(
        name="test labels drawn at random",
        make=lambda _: on(
            relabelled(pictures(), "test", partial(redrawn, share=1.0)), picture_case("net")
        ),
        expected=("splits_disagree", "implausible"),
        words="labels",
    ),
    MadeUp(
        name="one lucky seed",
        make=lambda _: changed(
            on(
                pictures(train=480, noise=75.0),
                picture_case("first", partial(mlp, stream=1)),
                picture_case("second", partial(mlp, stream=2)),
            ),
            lucky,
        ),
        expected=("indistinct",),
        words="seed 1 alone",
    ),
    MadeUp(
        name="learning rate far too high",
        make=lambda _: on(pictures(), picture_case("net", learning_rate=1e6)),
        expected=("unfinished", "at_chance"),
    ),
    MadeUp(
        name="training labels shuffled",
        make=lambda _: on(
            # of few patterns, each would have a class that is most of its labels by chance
            relabelled(pictures(patterns=60), "train", partial(redrawn, share=1.0)),
            picture_case("net"),
        ),
        expected=("at_chance",),
    ),
    MadeUp(
        name="learning rate far too low",
        make=lambda _: on(pictures(), picture_case("net", learning_rate=1e-5)),
        expected=("too_few_epochs", "at_chance"),
    ),
    MadeUp(
        name="trained for too long",
        make=lambda _: on_windows(
            window_case("net", partial(forecaster, units=256), epochs=60, patience=60)
        ),
        expected=("trained_too_long",),
    ),
    MadeUp(name="trained weights", make=from_weights, expected=("trained_weights",)),
    MadeUp(
        name="larger net",
        make=lambda _: on(
            pictures(train=480),
            picture_case("small", partial(mlp, units=1)),
            picture_case("large", partial(mlp, units=128)),
        ),
        expected=("larger_net",),
    ),
)
"""Written down before the rules were tried on them."""


def equals(
    names: str, *, seeds: Sequence[int] = SEEDS, **options: Any
) -> Callable[[Path], Iterator[training.Outcome]]:
    """Return what trains one net under several names, each with random weights of its own."""
    forecasts = options.pop("forecasts", False)
    start, noise = options.pop("start", 0), options.pop("noise", 60.0)
    make, build = (window_case, forecaster) if forecasts else (picture_case, mlp)
    cases = [
        make(name, partial(build, stream=start + number), **options)
        for number, name in enumerate(names, 1)
    ]
    if forecasts:
        return lambda _: on_windows(*cases, seeds=seeds)
    return lambda _: on(pictures(noise=noise), *cases, seeds=seeds)


EQUALS = {
    "two nets": equals("ab"),
    "two others": equals("ab", start=20),
    "three nets": equals("abc", start=40),
    "three on noisier pictures": equals("abc", start=60, noise=100.0),
    "two on clean pictures": equals("ab", start=80, noise=30.0),
    "two with one seed": equals("ab", start=100, seeds=(3,)),
    "three with one seed": equals("abc", start=120, seeds=(4,)),
    "two hardly trained": equals("ab", start=140, epochs=2),
    "two forecasters": equals("ab", start=160, forecasts=True),
    "three forecasters": equals("abc", start=180, forecasts=True),
}
"""No difference is there to be found."""
