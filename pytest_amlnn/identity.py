"""What a run's numbers follow from, as plain data that can be stored and compared.

Functions and classes stand there by module and qualified name, and beside them is a digest of
the code that they reach (`pytest_amlnn.reached_code`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pytest_amlnn.callables import functions_in, state_of, unwrap
from pytest_amlnn.data import Source
from pytest_amlnn.plain import IdentityError, named, plain_function, plain_of
from pytest_amlnn.reached_code import code_of

if TYPE_CHECKING:
    from pytest_amlnn.case import Case, Training
    from pytest_amlnn.data import Data
    from pytest_amlnn.result import Run

LONGEST = 200
"""Characters of a value in a message."""
NAMED = 6
"""Differences, one by one, in a refusal."""

# trainings


def case_to_plain(case: Case, data: Data | None = None) -> dict[str, Any]:
    """Return a case as JSON-ready data; IdentityError for a value without a stable text.

    `data` is what a test gives to `train`, if that is not the case's own source.
    """
    plain = {
        name: getattr(case, name)
        for name in ("size", "label", "family", "profile", "variant", "repeats", "group")
    }
    try:
        training = training_to_plain(case.training, data)
    except RecursionError as error:
        raise IdentityError(
            f"{case}: build, task or data hold functions that hold each other"
        ) from error
    plain |= {"reference": dict(case.reference), "training": training}
    return plain | ({"improvement": improvement_to_plain(case)} if case.improvement else {})


def improvement_to_plain(case: Case) -> dict[str, Any]:
    """Return what a case changes, and of which one, as JSON-ready data."""
    found = case.improvement
    assert found is not None  # asked by who calls
    return {
        "name": found.name,
        "base": found.base.id,
        "advice": found.advice,
        "search": asdict(found.search) if found.search else None,
    }


def training_to_plain(training: Training, given: Data | None = None) -> dict[str, Any]:
    """Return what is trained as JSON-ready data; two trainings are equal where these are.

    Of data that are given as a function the code counts, and the digest that they have.
    """
    data = given if isinstance(given, Source) else training.data
    task, sources = training.task, [data.open, None if given is data else given]
    (build, filled_in), (opens, bound) = unwrap(training.build), unwrap(data.open)
    nets = [*functions_in((training.build, state_of(task))), type(task)]
    return {
        "model": training.model,
        "build": plain_function(build, "build"),
        "arguments": named(filled_in, "an argument of build"),
        "recipe": plain_of(training.recipe, "recipe"),
        "task": task.name,
        "task_fields": named(state_of(task), "a field of the task"),
        "dataset": data.name,
        "open": plain_function(opens, "data.open"),
        "data": named({**bound, **data.arguments}, "an argument of data"),
        "start": training.start,
        "code": code_of(nets, sources=functions_in(sources)),
    }


# comparison


def identity_of(run: Run, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that a run's numbers follow from besides its seed, as plain data.

    `facts` is what the dataset says of itself.
    """
    return {
        **run.case["training"],
        "weights": run.weights.get("sha256"),
        "digest": facts.get("digest"),
        "device": str(run.environment.get("device")).partition(":")[0],
        "versions": {
            name: run.environment.get("packages", {}).get(name)
            for name in ("pytest-amlnn", "torch")
        },
        "precision": run.precision,
        "settings": run.environment.get("settings"),
        "accelerator": run.environment.get("accelerator"),
        "cuda": run.environment.get("cuda"),
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what differs between plain data then and now."""
    return [
        f"{name} was {shown(was)}, is {shown(new)}"
        for name, (was, new) in changes(then, now).items()
    ]


def changes(
    then: Mapping[str, Any], now: Mapping[str, Any], above: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Return what differs between plain data then and now, by names such as `recipe.epochs`.

    1, 1.0 and True differ, as 0.0 and -0.0 do: a builder can tell them apart.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for name in sorted({*then, *now}):
        was, new = then.get(name), now.get(name)
        if isinstance(was, Mapping) and isinstance(new, Mapping):
            found |= changes(was, new, f"{above}{name}.")
        elif json.dumps(was) != json.dumps(new) or (name in then) != (name in now):
            found[f"{above}{name}"] = (was, new)
    return found


def changes_in_words(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say what differs between plain data then and now, and how much more than is named."""
    found = differences(then, now)
    more = [f"and {len(found) - NAMED} more"] if len(found) > NAMED else []
    return "; ".join([*found[:NAMED], *more])


def shown(value: Any) -> str:
    """Return a value as text for a message, cut where it is very long."""
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
