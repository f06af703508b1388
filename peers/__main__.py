"""Compare in turns, print the tables, and write what was measured.

    python -m peers [--json FILE] [--rounds N] [--only PART ...] [--nets NET ...]

Parts are `cells`, a training step of each; `experiment`, the whole recurrent one; `pictures`,
convolutional nets; `size`, what a picture costs among few and many.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, median, stdev
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import t as student
from tabulate import tabulate

from amlnn_datasets import shapes
from peers import recurrent
from peers.timm_loop import CLASSES
from peers.workers import ROOT, Ask, worker
from pytest_amlnn.device import computes_bfloat16, processor, version_of

PACKAGES = ("torch", "timm", "keras", "jax", "tensorflow", "tensorflow-cpu", "numpy")
NETS = {"vgg19": 64, "resnetv2_50": 64, "inception_v4": 75, "efficientnet_lite0": 128}
"""And the pixels of a side."""
IMAGES = 160
"""Pictures of one turn."""

KERAS = ("jax", "tensorflow")
"""Backends."""

Key = tuple[str, int, int]
"""Model, points, seed."""
Row = dict[str, Any]
Rows = list[Row]


def cells(rounds: int, series: Path, settings: Mapping[str, Any]) -> Rows:
    """Time a training step of each cell, for each seed.

    Ours trains its three seeds at once, as a case does. A side runs alone first, with
    whatever cores it takes; then two of its processes at a time, when a step is half of the
    time that it takes in both.
    """
    rows = []
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2"}
    keras = {"series": str(series), "settings": settings}
    sides: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
        "ours": ("peers.recurrent", {}, {"seeds": recurrent.SEEDS}),
        "ours, one seed": ("peers.recurrent", {}, {"seeds": [0]}),
        "torch": ("peers.recurrent", {"PEERS_CELLS": "torch"}, {"seeds": [0]}),
        "jax": ("peers.keras_recurrent", {"KERAS_BACKEND": "jax"}, keras),
        "tensorflow": (
            "peers.keras_recurrent",
            {"KERAS_BACKEND": "tensorflow", **quiet},
            keras,
        ),
    }
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        pairs = {
            name: [stack.enter_context(worker(module, **environment)) for _ in range(2)]
            for name, (module, environment, _) in sides.items()
        }

        def together(pair: Sequence[Ask]) -> float:
            return mean(pool.map(lambda ask: ask("epoch"), pair)) / len(pair)

        for model in recurrent.MODELS:
            for name, pair in pairs.items():
                for ask in pair:
                    ask("prepare", model=model, **sides[name][2])
            alone = {name: partial(pair[0], "epoch") for name, pair in pairs.items()}
            both = {name: partial(together, pair) for name, pair in pairs.items()}
            for count, turns in enumerate((alone, both), 1):
                seconds = in_turns(turns, 2 * rounds + 1)
                row = {"cell": model, "processes": count}
                rows.append(row | times(seconds, "ms a step", 1000))
    return rows


def in_turns(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure all sides in turn, round by round."""
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            measured[name].append(measure())
    return measured


def times(measured: Mapping[str, Sequence[float]], unit: str, factor: float) -> Row:
    """Return the medians, and ours against each other side: the median of rounds' ratios."""
    row: Row = {f"{name}, {unit}": factor * median(all) for name, all in measured.items()}
    others = [name for name in measured if name != "ours"]
    return row | {f"against {name}": ratio(measured[name], measured["ours"]) for name in others}


def experiment(rounds: int, series: Path, settings: Mapping[str, Any], scratch: Path) -> Rows:
    """Time the whole recurrent experiment, from the start of the process to its end."""
    written = scratch / "settings.json"
    written.write_text(json.dumps(settings))
    errors: dict[str, dict[Key, float]] = {}

    def ours(workers: int) -> float:
        out = Path(tempfile.mkdtemp(dir=scratch))
        command = [
            *(sys.executable, "-m", "pytest", ROOT / "benchmarks", "-k", "rnn", "-q"),
            *("-n", str(workers), "--amlnn-profile", "seed", "--amlnn-gate", "off"),
            *("--amlnn-out", out, "-p", "no:cacheprovider"),
        ]
        start = perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        seconds = perf_counter() - start
        cases = json.loads((out / "summary.json").read_text())["cases"]
        errors["ours"] = {
            (case["model"], case["size"], seed): error
            for case in cases
            for seed, error in zip(
                case["seeds"], case["metrics"]["test_mse"]["runs"], strict=True
            )
        }
        return seconds

    def keras(backend: str) -> float:
        command = [sys.executable, "-m", "peers.keras_recurrent", series, written]
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
        start = perf_counter()
        printed = subprocess.run(
            command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        seconds = perf_counter() - start
        lines = [json.loads(line) for line in printed.splitlines() if line.startswith("[")]
        errors[backend] = {(model, size, seed): error for model, size, seed, error, _ in lines}
        return seconds

    measured = in_turns(
        {
            "ours": lambda: ours(2),
            "ours, one process": lambda: ours(0),
            **{backend: partial(keras, backend) for backend in KERAS},
        },
        rounds,
    )
    total = {"experiment": "4 cells, 2 sizes, 3 seeds", **times(measured, "s", 1)}
    return [total, *(quality(errors, *pair) for pair in product(KERAS, recurrent.MODELS))]


def quality(errors: Mapping[str, Mapping[Key, float]], backend: str, model: str) -> Row:
    """Compare test errors, pair by pair of the same data and seed, with their interval."""
    ratios = [
        math.log(error / errors["ours"][key])
        for key, error in errors[backend].items()
        if key[0] == model
    ]
    half = student.ppf(0.975, len(ratios) - 1) * stdev(ratios) / len(ratios) ** 0.5
    low, high = math.exp(mean(ratios) - half), math.exp(mean(ratios) + half)
    return {
        "quality": model,
        "against": backend,
        "their error / ours": math.exp(mean(ratios)),
        "low": low,
        "high": high,
        "equal or better": high >= 1,
    }


def pictures(nets: Sequence[str], rounds: int, scratch: Path) -> Rows:
    """Count pictures a second: ours, a plain timm loop, and the floor of the same minutes."""
    folder = scratch / "pictures"
    save_pictures(folder)
    return [net(model, NETS[model], rounds, folder) for model in nets]


def net(model: str, side: int, rounds: int, folder: Path) -> Row:
    """Compare one net, in the precision in which the plain loop is faster."""
    precisions = ["float32", *(["bfloat16"] if computes_bfloat16() else [])]
    floors: list[float] = []
    with ExitStack() as stack:
        ours = stack.enter_context(worker("peers.pictures"))
        facts = ours("prepare", model=model, resolution=side)
        difference = ours("difference", model=model, resolution=side)

        def floor() -> float:
            rates = ours("floor", precision=facts["precision"])
            floors.append(rates["convolution"])
            return max(rates.values())

        sides = {"ours": lambda: ours("train", images=IMAGES), "floor": floor}
        for precision in precisions:
            theirs = stack.enter_context(worker("peers.timm_loop"))
            theirs(
                "prepare",
                **{"model": model, "resolution": side, "folder": str(folder)},
                precision=precision,
                optimizer=facts["optimizer"],
            )
            sides[precision] = partial(theirs, "train", images=IMAGES)
        measured = in_turns(sides, rounds)
    best = max(precisions, key=lambda precision: median(measured[precision]))
    operations = 3 * facts["flops"] / 1e9
    rates = [rate * operations for rate in measured["ours"]]
    return {
        "net": f"{model} @{side}",
        "ours, pictures/s": median(measured["ours"]),
        "timm's": median(measured[best]),
        "ratio": ratio(measured["ours"], measured[best]),
        "precision": facts["precision"],
        "timm's precision": best,
        "GFLOP/s": median(rates),
        "convolution peak": median(floors),
        "share of peak": ratio(rates, floors),
        "loss differs by": difference["loss"],
        "gradient by": difference["gradient"],
    }


def ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of the ratios of each round."""
    return median(one / other for one, other in zip(ones, others, strict=True))


def save_pictures(folder: Path) -> None:
    """Write the embedded pictures as JPEGs, a folder for each class."""
    train = shapes.splits(size=2 * IMAGES, classes=CLASSES, validation=1).train
    for row, label, name in zip(train.rows, train.targets, train.names, strict=True):
        place = folder / f"{label:03}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(train.inputs[row])).save(
            place / f"{Path(name).stem}.jpg", quality=90
        )


def size(rounds: int) -> Rows:
    """Compare the cost of a picture among 10,000 with that among 1,000."""
    with worker("peers.pictures") as ask:
        ask("prepare", model="resnetv2_18", resolution=32)
        for images in (1000, 10_000):
            ask("train", images=images)  # draws the pictures
        measured = in_turns(
            {
                "few": lambda: 1000 / ask("train", images=1000),
                "many": lambda: 1000 / ask("train", images=10_000),
            },
            rounds,
        )
    return [
        {
            "net": "resnetv2_18 @32",
            "ms a picture of 1,000": median(measured["few"]),
            "of 10,000": median(measured["many"]),
            "ratio": ratio(measured["many"], measured["few"]),
        }
    ]


def machine() -> Row:
    """Return what the figures depend on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": computes_bfloat16(),
        "python": platform.python_version(),
        **{name: version_of(name) for name in PACKAGES},
    }


def main() -> None:
    """Measure what is asked for."""
    parser = ArgumentParser(prog="python -m peers", description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("peers.json"), help="written to")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parts = ("cells", "experiment", "pictures", "size")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=[*NETS])
    arguments = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as name:
        scratch, rounds = Path(name), arguments.rounds
        series = scratch / "series.npz"
        settings = {
            **recurrent.save_series(series),
            "models": recurrent.MODELS,
            "sizes": recurrent.SIZES,
            "seeds": recurrent.SEEDS,
        }
        measures: dict[str, Callable[[], Rows]] = {
            "cells": lambda: cells(rounds, series, settings),
            "experiment": lambda: experiment(rounds, series, settings, scratch),
            "pictures": lambda: pictures(arguments.nets, rounds, scratch),
            "size": lambda: size(rounds),
        }
        for part in arguments.only:
            found[part] = measures[part]()
            arguments.json.write_text(json.dumps(found, indent=1) + "\n")
            for heads in dict.fromkeys(tuple(row) for row in found[part]):
                rows = [row for row in found[part] if tuple(row) == heads]
                print(f"\n{tabulate(rows, headers='keys', tablefmt='github', floatfmt='.3g')}")


if __name__ == "__main__":
    main()
