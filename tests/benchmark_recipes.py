"""Try changes of a recipe on fewer pictures: what the validation split says of each.

Usage: python tests/benchmark_recipes.py CASE ARCHIVE [--size N] [--epochs N] [--seeds N] \
    CHANGE...

CASE is a case of the full profile, as in efficientnet_lite0-imagenet-10k; CHANGE is
`field=value,field=value`, or `-` for the recipe as it is. The test split is never read.
"""

from __future__ import annotations

import argparse
import ast
import time
from dataclasses import replace
from pathlib import Path

import torch

import amlnn_models
from amlnn_datasets import tiny_imagenet
from amlnn_models import weights
from pytest_amlnn.case import Case, discover
from pytest_amlnn.data import Data
from pytest_amlnn.progress import Silent
from pytest_amlnn.training import begun, train

CPU = torch.device("cpu")
VALIDATION = 10
"""Pictures a class: 2,000 in all."""


def main() -> None:
    """Print a line for each change and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("changes", nargs="+")
    asked = parser.parse_args()
    (case,) = (
        c for c in discover(amlnn_models) if (c.profile, c.label) == ("full", asked.case)
    )
    splits = tiny_imagenet.splits(
        asked.archive, size=asked.size, classes=200, validation=VALIDATION
    )
    untested = replace(splits, test=splits.validation)
    case = replace(case, recipe=replace(case.recipe, epochs=asked.epochs))
    for seed in range(asked.seeds):
        for change in asked.changes:
            print(line(change, changed(case, change), lambda seed: untested, seed), flush=True)


def changed(case: Case, change: str) -> Case:
    """Return the case with fields of its recipe set anew."""
    pairs = [] if change == "-" else [pair.partition("=") for pair in change.split(",")]
    fields = {name: value_of(text) for name, _, text in pairs}
    recipe = replace(case.recipe, **fields)
    return replace(
        case,
        recipe=recipe,
        build=type(case.build)(
            case.build.func, **case.build.keywords | {"resolution": recipe.resolution}
        ),
    )


def value_of(text: str) -> object:
    """Read a number, or a word."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def line(change: str, case: Case, data: Data, seed: int) -> str:
    """Train once, and say how accurate the net was before and after each epoch."""
    found = weights.find(case.model, None) if case.init == "imagenet" else None
    started = time.perf_counter()
    run = begun(case, id=case.label, seed=seed, device=CPU, weights=found)
    (outcome,) = train(case, data, [run], device=CPU, progress=Silent(), weights=found)
    run = outcome.run
    whole = time.perf_counter() - started
    shares = [run.metrics.get("start_accuracy"), *(epoch.val_accuracy for epoch in run.epochs)]
    percents = " ".join(f"{100 * share:.1f}" for share in shares if share is not None)
    least = min((epoch.val_loss for epoch in run.epochs), default=float("nan"))
    return (
        f"{case.model} {change} seed {seed}: {percents} %, loss {least:.3f}, training"
        f" {run.parts['train']:.0f} of {whole:.0f} s"
    )


if __name__ == "__main__":
    main()
