"""Try changes of a recipe: what the validation split says of each.

Usage: python tests/benchmark_recipes.py CASE [--profile NAME] [--archive PATH] [--size N] \
    [--epochs N] [--seed N] [--seeds N] [--device NAME] CHANGE...

CASE is a case of the profile, as in efficientnet_lite0-imagenet-10k or lstm-3000; CHANGE
is `field=value,field=value` of the recipe or its transforms, or `-` for the recipe as it is.
The test split of pictures is never read. A series is drawn by its seed: try changes on other
seeds than are reported.
"""

from __future__ import annotations

import argparse
import ast
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import mean
from typing import Any

import torch

import amlnn_models
from amlnn_datasets import tiny_imagenet
from amlnn_models import weights
from pytest_amlnn import FORECAST, Case, Run, discover
from pytest_amlnn.data import Data
from pytest_amlnn.device import resolve
from pytest_amlnn.progress import Silent
from pytest_amlnn.recipe import with_changes
from pytest_amlnn.training import initial_run, train

VALIDATION = 10
"""Pictures a class: 2,000 in all."""


def main() -> None:
    """Print a line for each change and seed of pictures, or for each change of series."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case")
    parser.add_argument("--profile", default="lab")
    parser.add_argument("--archive")
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", type=resolve, default="cpu")
    parser.add_argument("changes", nargs="+")
    asked = parser.parse_args()
    (case,) = (
        case
        for case in discover(amlnn_models)
        if (case.profile, case.label) == (asked.profile, asked.case)
    )
    if asked.epochs:
        case = with_recipe(case, epochs=asked.epochs)
    seeds = range(asked.seed, asked.seed + asked.seeds)
    for change in asked.changes:
        tried = with_recipe(case, **fields_of(change))
        if case.training.task is FORECAST:
            print(change, forecasts(tried, seeds, asked.device), flush=True)
            continue
        data = pictures(case, asked.archive, asked.size)
        for run in runs(tried, data, seeds, asked.device):
            print(change, f"seed {run.seed}:", accuracies(run), flush=True)


def fields_of(change: str) -> dict[str, Any]:
    """Read which fields of a recipe are to be set anew."""
    pairs = [] if change == "-" else [pair.partition("=") for pair in change.split(",")]
    return {name: value_of(text) for name, _, text in pairs}


def with_recipe(case: Case, **fields: Any) -> Case:
    """Return the case with fields of its recipe, or of its transforms, set anew."""
    training = case.training
    recipe, build = with_changes(training.recipe, **fields), training.build
    if isinstance(build, partial) and "resolution" in build.keywords:
        build = partial(build, resolution=recipe.transforms.resolution)
    return replace(case, training=replace(training, recipe=recipe, build=build))


def value_of(text: str) -> Any:
    """Read a number, or a word."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def pictures(case: Case, archive: str | None, size: int) -> Data:
    """Return pictures whose test split is the validation split again.

    `size` is that of the training split of an archive: the embedded set has the case's.
    """
    data = case.training.data
    if data.name == tiny_imagenet.NAME:
        data = tiny_imagenet.source(size=size, classes=200, validation=VALIDATION).at(archive)
    splits = data(0)
    untested = replace(splits, test=splits.validation)
    return lambda seed: untested


def runs(case: Case, data: Data, seeds: Sequence[int], device: torch.device) -> Iterator[Run]:
    """Train with each seed; yield runs as they end."""
    training = case.training
    found = weights.find(training.model, None) if training.start == "imagenet" else None
    fresh = [
        initial_run(case, id=case.label, seed=s, device=device, weights=found) for s in seeds
    ]
    ended = train(case, data, fresh, device=device, progress=Silent(), weights=found)
    return (outcome.run for outcome in ended)


def accuracies(run: Run) -> str:
    """Say how accurate a net was on validation before and after each epoch."""
    validated = [epoch.validation for epoch in run.epochs]
    shares = [run.metrics.get("start_accuracy"), *(said["accuracy"] for said in validated)]
    percents = " ".join(f"{100 * share:.1f}" for share in shares if share is not None)
    least = min((said["loss"] for said in validated), default=float("nan"))
    trained = f"train {100 * run.epochs[-1].train['accuracy']:.1f} %" if run.epochs else ""
    return f"{percents} %, loss {least:.3f}, {trained}, {run.parts['train']:.0f} s of training"


def forecasts(case: Case, seeds: Sequence[int], device: torch.device) -> str:
    """Say how efficient nets are, as a share of linear autoregression's efficiency."""
    before = time.perf_counter()
    ended = [*runs(case, case.training.data, seeds, device)]
    found = [run.metrics for run in ended]
    shares = [m["autoregression_mse"] / m["test_mse"] for m in found]
    efficiencies = [m["oracle_mse"] / m["test_mse"] for m in found]
    best = [f"{run.best_epoch}/{len(run.epochs)}" for run in ended]
    return (
        f"share of autoregression's {mean(shares):.3f}: {[round(x, 3) for x in shares]},"
        f" efficiency {mean(efficiencies):.3f}, best epochs {' '.join(best)},"
        f" {time.perf_counter() - before:.0f} s"
    )


if __name__ == "__main__":
    main()
