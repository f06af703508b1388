"""A pytest plugin that breaks every recipe on purpose: nothing is learned at rate 0."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

from pytest_amlnn import Case, collection

whole = collection.discover


def broken(package: ModuleType) -> list[Case]:
    """Return the package's cases with a learning rate of 0."""
    return [
        replace(case, training=replace(case.training, recipe=recipe))
        for case in whole(package)
        for recipe in [replace(case.training.recipe, learning_rate=0.0)]
    ]


collection.discover = broken
