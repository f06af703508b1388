"""Pictures that a net got wrong, with what it said of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from pytest_amlnn.answers import right_of_answers
from pytest_amlnn.errors import UserError
from pytest_amlnn.report.details import names_of_classes
from pytest_amlnn.report.differences import ranked
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.groups import largest
from pytest_amlnn.report.sweep import Sweep
from pytest_amlnn.report.words import percent

if TYPE_CHECKING:
    import numpy as np

PICTURES = "pytest_amlnn.pictures"
"""Entry point group: by the name of a dataset, a function of the arguments on record that
returns its Source."""
SHOWN = 24
"""Pictures of a grid."""
MOST_GENERATED = 20_000
"""Pictures that are made for a report: what a stranger's record asks for may be any number."""


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """One picture that was got wrong."""

    address: str
    """The picture itself, as a data URI."""
    label: str
    said: str


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Pictures that a case got wrong, the surest answers first; or why there are none."""

    case: str
    pictures: tuple[Wrong, ...] = ()
    reason: str = ""


def wrong_pictures(sweep: Sweep) -> list[Grid]:
    """Return a grid for the best model of each dataset of pictures, on its largest size."""
    known = [case for case in sweep.findings.sound if case.classified]
    best = [ranked(group)[0] for group in largest(known).values()]
    return [grid for case in best if (grid := grid_of(case, sweep))]


def grid_of(case: Facts, sweep: Sweep) -> Grid | None:
    """Return the grid of a case; None where its dataset is none of pictures."""
    found = [
        entry
        for entry in entry_points(group=PICTURES)
        if entry.name == case.result.training["dataset"]
    ]
    if not found:
        return None
    pictures = test_pictures(case, found[0].load(), sweep.places)
    if isinstance(pictures, str):
        return Grid(case=case.name, reason=pictures)
    named, said = names_of_classes(case, sweep.environment), case.answers[0]
    wrong = (~right_of_answers(said)).nonzero()[0]
    surest = sorted(wrong.tolist(), key=lambda row: -float(said["confidence"][row]))[:SHOWN]
    return Grid(
        case=f"{case.name}, seed {case.result.seeds[0]}",
        pictures=tuple(
            Wrong(
                address=address_of(picture),
                label=named.get(int(said["label"][row]), "?"),
                said=f"{named.get(int(said['predicted'][row]), '?')},"
                f" {percent(float(said['confidence'][row]))}",
            )
            for row in surest
            if (picture := pictures.get(said["names"][row])) is not None
        ),
    )


def test_pictures(
    case: Facts, source_of: Any, places: Mapping[str, str]
) -> Mapping[str, np.ndarray] | str:
    """Return the test pictures by name; in words why they are not at hand."""
    training, run = case.result.training, case.result.runs[0]
    try:
        source = source_of(**training["data"])
        source = source.at(places.get(source.name))
        if reason := source.unavailable():
            return f"the pictures are not here: {reason}"
        counts = [value for value in training["data"].values() if type(value) is int]
        if not source.placed and max(counts, default=0) > MOST_GENERATED:
            return "they would have to be generated anew, and are too many"
        splits = source(run.seed)
    except (OSError, KeyError, ValueError, TypeError, UserError) as error:
        return f"the pictures cannot be read: {error}"
    if splits.facts.get("digest") != run.data.get("digest"):
        return "the pictures on this machine are not those that were tested"
    inputs, rows = splits.test.inputs, splits.test.rows
    return {name: inputs[row] for name, row in zip(splits.test.names, rows, strict=True)}


def address_of(picture: np.ndarray) -> str:
    """Return a picture, uint8 (height, width, 3), as a data URI."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
