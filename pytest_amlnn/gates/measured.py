"""What a case reached in another sweep: from its run directory, or from its summary.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_amlnn import answers, store
from pytest_amlnn.identity import identity_of
from pytest_amlnn.metrics import COMMON, Metric
from pytest_amlnn.result import Epoch, Result, Run, finite
from pytest_amlnn.statistics import mean_of

LARGEST = 1e100
"""Of values that are compared: their squares must be numbers."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What tells whether a run has the same bits as another, and since when it has not."""

    epochs: tuple[str, ...]
    """Of each epoch a digest of its losses, scores, learning rate and gradient norm."""
    end: str
    """Of the metrics and of the answers."""
    identity: str
    """Digest of all that the numbers follow from: training, data, environment."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The runs of one case of another sweep."""

    id: str
    task: str
    init: str
    dataset: str
    seeds: tuple[int, ...]
    values: Mapping[str, tuple[float | None, ...]]
    """By metric, one a run."""
    metric: Mapping[str, Any]
    """The one that the case is judged by, as plain data."""
    trouble: str = ""
    """What went wrong with a run that did not finish."""
    digests: tuple[str | None, ...] = ()
    """Of the data, one a run; nothing where a summary does not say."""
    machines: tuple[str, ...] = ()
    contended: bool = False
    training: Mapping[str, Any] | None = None
    """None where a summary is all there is."""
    traces: tuple[Trace, ...] = ()
    right: str = ""
    """Of a single run of a classifier: which test examples were right, a bit each, in hex."""

    def numbers(self, name: str) -> list[float]:
        """Return the values of a metric if every run has one, else nothing."""
        values = self.values.get(name, ())
        known = [v for v in values if v is not None and abs(v) < LARGEST]
        return known if len(known) == len(values) else []

    def mean(self, name: str) -> float | None:
        """Return the mean of a metric over the runs; None where one has no value."""
        known = self.numbers(name)
        return mean_of(known) if known else None


# runs


def measured(result: Result, folder: Path | None = None, *, traces: bool = True) -> Measured:
    """Return what a result says to a later one; `folder` is where its answers lie."""
    from pytest_amlnn.gates.calibration import machine_of, values_of

    found = [values_of(run) for run in result.runs]
    names = sorted({name for values in found for name in values})
    single = len(result.runs) == 1
    return Measured(
        id=result.id,
        task=str(result.training["task"]),
        init=result.runs[0].init,
        dataset=str(result.training["dataset"]),
        seeds=result.seeds,
        values={name: tuple(values.get(name) for values in found) for name in names},
        metric=asdict(main_metric_of(result)),
        trouble="; ".join(result.troubles),
        digests=tuple(text_or_none(run.data.get("digest")) for run in result.runs),
        machines=tuple(machine_of(run) for run in result.runs),
        contended=result.contended,
        training=result.training,
        traces=tuple(map(trace_of, result.runs)) if traces else (),
        right=right_answers(folder, result.runs[0]) if folder and single else "",
    )


def text_or_none(value: Any) -> str | None:
    """Return a value of a record as text, None where there is none."""
    return None if value is None else str(value)


def machine_of_all(result: Measured) -> str:
    """Return the class of machines that all runs are of; nothing where they are of several."""
    return result.machines[0] if len({*result.machines}) == 1 else ""


def trace_of(run: Run) -> Trace:
    """Return the trace of a run."""
    known = [*COMMON, *(Metric(**plain) for plain in run.task["metrics"])]
    of_machine = {metric.name for metric in known if metric.of_machine}
    kept = {name: value for name, value in run.metrics.items() if name not in of_machine}
    identity = {**identity_of(run, run.data), "environment": stable(run.environment)}
    return Trace(
        epochs=tuple(digest_of(bits_of(epoch))[:16] for epoch in run.epochs),
        end=digest_of([kept, run.answers, run.best_epoch])[:16],
        identity=digest_of(identity)[:16],
    )


def stable(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an environment says of what numbers follow from."""
    return {
        name: environment.get(name)
        for name in ("packages", "python", "platform", "processor", "cpu_capability", "threads")
    }


def bits_of(epoch: Epoch) -> list[Any]:
    """Return everything of an epoch but its times."""
    return [
        dict(epoch.train),
        dict(epoch.validation),
        epoch.learning_rate,
        epoch.gradient_norm,
        epoch.steps,
    ]


def digest_of(plain: Any) -> str:
    """Return the SHA-256 of plain data."""
    text = json.dumps(finite(plain), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def right_answers(folder: Path, run: Run) -> str:
    """Return which test examples a classifier got right, in hex; nothing of other tasks."""
    if run.answers is None:
        return ""
    try:
        _, arrays = answers.load_answers(folder, run.id, run.seed)
    except (
        store.StoreError
    ):  # of a baseline it is said before; ours are not needed for a report
        return ""
    if not {"label", "predicted"} <= arrays.keys():
        return ""
    import numpy as np

    bits = np.packbits(arrays["label"] == arrays["predicted"])
    return f"{len(arrays['label'])}:{bits.tobytes().hex()}"


def right_of(text: str) -> list[bool]:
    """Return what `right_answers` was made of."""
    import numpy as np

    if not text:
        return []
    count, _, digits = text.partition(":")
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8))
    return [bool(bit) for bit in bits[: int(count)]]


def main_metric_of(result: Result) -> Metric:
    """Return the metric that a case is judged by: the first essential one of its task."""
    mine = [metric for metric in result.known.values() if metric.better != "neither"]
    return next((metric for metric in mine if metric.essential), mine[0])


# plain data


def to_plain(found: Measured) -> dict[str, Any]:
    """Return it as JSON-ready data."""
    plain: dict[str, Any] = finite(asdict(found))
    return plain


def from_plain(plain: Mapping[str, Any]) -> Measured:
    """Return what `to_plain` was given."""
    return Measured(
        **{
            **plain,
            "seeds": tuple(plain["seeds"]),
            "values": {name: tuple(values) for name, values in plain["values"].items()},
            "digests": tuple(plain["digests"]),
            "machines": tuple(plain["machines"]),
            "traces": tuple(
                Trace(**{**trace, "epochs": tuple(trace["epochs"])})
                for trace in plain["traces"]
            ),
        }
    )
