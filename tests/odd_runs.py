"""Runs with whatever numbers and answers a record may hold, drawn at random."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

import numpy as np
from small_runs import METRICS, small_epoch, small_run

from pytest_amlnn import Epoch, Run

ODD = (0.0, -1.0, 1e-320, 1e-12, 1e6, 1e300, -1e300, math.nan, math.inf)
COSTS = ("train_seconds", "parameters", "flops_per_sample")


def odd_runs(random: Random) -> Iterator[tuple[Run, dict[str, np.ndarray]]]:
    """Give the runs of a few cases, each with its answers."""
    for number in range(random.randint(1, 4)):
        task = random.choice(["classification", "forecast"])
        base = f"test_small[c{random.randint(0, number)}]" if random.random() < 0.4 else ""
        for seed in range(random.randint(1, 4)):
            run = odd_run(random, f"test_small[c{number}]", seed, task)
            if base:
                run.case["improvement"] = {"name": "it", "base": base, "advice": "Try it"}
            yield run, odd_answers(random, task) if random.random() < 0.5 else {}


def odd_run(random: Random, id: str, seed: int, task: str) -> Run:
    """Return a run."""
    epochs = tuple(odd_epoch(random, task) for _ in range(random.choice([0, 1, 2, 7])))
    names = [name for name in (*METRICS[task], *COSTS) if random.random() < 0.5]
    return small_run(
        id,
        seed,
        task=task,
        metrics={name: odd(random) for name in names},
        epochs=epochs,
        best_epoch=random.choice([None, *range(1, len(epochs) + 1)]),
        status=random.choice([*["finished"] * 6, "diverged", "implausible", "crashed"]),
        model=random.choice("ab"),
        size=random.choice([1, 60, 600]),
        contended=random.random() < 0.3,
        parts={"train": random.choice([0.0, 1.0, 1e9]), "prepare": 0.1},
    )


def odd(random: Random) -> float:
    """Return a number, now and then an odd one."""
    return random.choice(ODD) if random.random() < 0.4 else random.random()


def odd_epoch(random: Random, task: str) -> Epoch:
    """Return an epoch."""
    accuracy = {"accuracy": random.random()} if task == "classification" else {}
    return small_epoch(
        train={"loss": odd(random), **accuracy},
        validation={"loss": odd(random), **accuracy},
        gradient_norm=odd(random),
    )


def odd_answers(random: Random, task: str) -> dict[str, np.ndarray]:
    """Return answers for a few examples, or for none."""
    count = random.choice([0, 1, 5, 240])
    numbers = np.array([odd(random) for _ in range(count)])
    if task == "forecast":
        np.nan_to_num(numbers, copy=False, nan=1.0, posinf=2.0)
        beside = {name: numbers for name in ("oracle", "noise_scale") if random.random() < 0.5}
        return {"forecast": numbers * random.choice([1, -1, 0]), "truth": numbers, **beside}
    labels = np.arange(count)
    return {
        "label": labels % 3,
        "predicted": (labels * 7) % random.choice([3, 4, 9]),
        "confidence": numbers,
    }
