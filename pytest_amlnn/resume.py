"""What an earlier attempt left, and whether it is of the training at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_amlnn.result import Run
from pytest_amlnn.store import StoreError

DECIDING = (
    "model", "build", "arguments", "init", "task", "dataset", "size", "data", "recipe",
)  # fmt: skip
"""Fields of a case that its numbers follow from."""


def about(run: Run, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run's numbers follow from, as plain data.

    `facts` is what the dataset says of itself.
    """
    return {name: run.case[name] for name in DECIDING} | {
        "weights": run.weights.get("sha256"),
        "digest": facts.get("digest"),
        "device": str(run.environment.get("device")).partition(":")[0],
        "precision": run.precision,
    }


def check(found: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse what was left by another training than the one at hand.

    Raises StoreError, with all that differs.
    """
    changed = "; ".join(changes(then, now))
    if changed:
        raise StoreError(
            f"{found} is of another training: {changed}. Remove {found.parent} to train the"
            " case afresh, or name another --amlnn-out"
        )


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Say what differs between plain data then and now, field by field."""
    before, after = flat(then), flat(now)
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield f"{name} was {before.get(name)}, is {after.get(name)}"


def flat(plain: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested fields under names such as `recipe.epochs`."""
    fields: dict[str, Any] = {}
    for name, value in plain.items():
        inner = isinstance(value, Mapping)
        fields |= flat(value, f"{above}{name}.") if inner else {f"{above}{name}": value}
    return fields
