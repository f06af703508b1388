"""What a training looked like: whether it is as before, and what changed where it is not."""

from __future__ import annotations

from dataclasses import replace

from pytest_amlnn.gates import bounds, causes
from pytest_amlnn.gates.bounds import Levels
from pytest_amlnn.gates.calibration import SHAPE, Calibration
from pytest_amlnn.gates.comparable import changed
from pytest_amlnn.gates.measured import Measured, machine_of_all
from pytest_amlnn.gates.verdict import INCONCLUSIVE, KEPT, RED, REGRESSED, SUSPICIOUS, Judgement
from pytest_amlnn.statistics import mean_of


def with_shape(
    found: Judgement, result: Measured, calibration: Calibration, levels: Levels
) -> Judgement:
    """Suspect a result whose training looks otherwise than before; give the reasons."""
    worse = (found.value or 0.0) < (found.reference or 0.0)  # a net that fails has no gap
    names = [name for name in SHAPE if name != "gap" or not worse]
    odd = [name for name in names if is_odd(name, result, calibration, levels)]
    why = (*found.why, *(odd_in_words(name, result, calibration) for name in odd))
    verdict = SUSPICIOUS if odd and found.verdict != REGRESSED else found.verdict
    needs = found.needs_seeds if verdict == INCONCLUSIVE else None
    judged = replace(found, verdict=verdict, why=why, needs_seeds=needs)
    return judged if verdict in KEPT else with_reasons(judged, result, calibration)


def with_reasons(found: Judgement, result: Measured, calibration: Calibration) -> Judgement:
    """Say what changed since the reference, and the likely cause."""
    machines = sorted({*result.machines} - {*calibration.machines})
    fields = changed(calibration.training, result.training)
    cause = causes.likely(result, calibration.known) if found.verdict in RED else ""
    said = (
        f"changed: {fields}" if fields else "",
        f"another machine than the reference's: {machines[0]}" if machines else "",
        f"likely cause: {cause}" if cause else "",
    )
    return replace(found, why=(*found.why, *filter(None, said)))


def is_odd(name: str, result: Measured, calibration: Calibration, levels: Levels) -> bool:
    """Return whether a training's shape is another one than before, by more than chance.

    A gap between training and test that closes says that the test examples are not new; a net
    whose accuracy before training is another one starts from other weights.
    """
    values = [value for value in result.values.get(name, ()) if value is not None]
    if not calibration.has(name) or not values:
        return False
    reference = calibration.reference(name, machine_of_all(result))
    level = levels.shape / (2 * len(SHAPE))
    turned = [-value for value in values]
    fall = bounds.least_gain(turned, reference.turned(), level)
    rise = None if name == "gap" else bounds.least_gain(values, reference, level)
    return any(away is not None and away > 0.01 for away in (fall, rise))


def odd_in_words(name: str, result: Measured, calibration: Calibration) -> str:
    """Say what of a training's shape is not as it was."""
    values = [value for value in result.values[name] if value is not None]
    mean = mean_of(values)
    before = calibration.reference(name, machine_of_all(result)).mean
    if name == "gap":
        return (
            f"training exceeds the test by {mean:.3g}, and did by {before:.3g}: are test"
            " examples among those that it was trained on?"
        )
    return (
        f"{name} is {mean:.4g} before training, and was {before:.4g}: it starts from other"
        " weights, or sees its pictures in another way"
    )
