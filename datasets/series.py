"""Series whose best one-step forecast is known, and their splits in order of time.

A preset is a sum of terms. Each term says what it adds, what the past tells of that,
and how far the two can differ; so the floor of every forecast is known.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import MT19937, RandomState, SeedSequence

from pytest_amlnn.data import Series, Source, Split

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one term adds to a series; every array is (n,)."""

    values: Floats
    expected: Floats
    """Best forecast of each value, given the generator and the values before it."""
    scale: Floats
    """Standard deviation of `values - expected`."""


Term = Callable[[int, RandomState], Part]
"""The first n steps of a term, drawn from the stream that is its own."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named sum of terms; all but the noise is fixed, whatever the seed."""

    name: str
    terms: Mapping[str, Term]
    period: int = 1
    """Length of the season in steps; 1 without a season."""
    bound: bool = False
    """A term's `expected` uses what the past hides: no forecast need be that good."""
    legacy: bool = False
    """Draw as after `np.random.seed(seed)`, which Nike's package relies on."""


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A series with the floor of its forecasts; every array is (n,)."""

    values: Floats
    oracle: Floats
    """Best forecast of each value, given the generator and the values before it."""
    noise_scale: Floats
    """Standard deviation of `values - oracle`."""
    period: int
    """Length of the season in steps; 1 without a season."""
    bound: bool
    """The oracle uses what the past hides: no forecast need be that good."""


def certain(values: Floats) -> Part:
    """Wrap values that hold no noise."""
    return Part(values=values, expected=values, scale=np.zeros_like(values))


def trend(points: int, _stream: RandomState, *, slope: float, start: float = 0) -> Part:
    """Rise by `slope` at each step, however long the series."""
    return certain(start + slope * steps(points))


def season(points: int, _stream: RandomState, *, period: float, amplitude: float) -> Part:
    """Repeat a sine every `period` steps."""
    return certain(amplitude * wave(points, period))


def wave(points: int, period: float) -> Floats:
    """Sample a unit sine that starts at zero."""
    sine: Floats = np.sin(2 * np.pi * steps(points) / period)
    return sine


def steps(points: int) -> Floats:
    """Count the steps from zero."""
    return np.arange(points, dtype=np.float64)


def noise(
    points: int,
    stream: RandomState,
    *,
    scale: float,
    swing: float = 0,
    period: float = 1,
) -> Part:
    """Draw white noise whose scale swings by that share of itself, once a `period`."""
    scales = scale * (1 + swing * wave(points, period))
    return Part(
        values=scales * stream.standard_normal(points),
        expected=np.zeros(points),
        scale=scales,
    )


def autoregression(
    points: int, stream: RandomState, *, coefficients: Sequence[float], scale: float
) -> Part:
    """Continue the last values, the latest one times the first coefficient."""
    shocks = scale * stream.standard_normal(points)
    return follow(shocks, [coefficients] * points, scale=scale)


def regime(
    points: int,
    stream: RandomState,
    *,
    coefficients: tuple[Sequence[float], Sequence[float]],
    threshold: float,
    scale: float,
) -> Part:
    """Switch between two autoregressions when a normal draw exceeds `threshold`."""
    # drawn in pairs, one pair a step: two blocks would shift with the length
    switches, shocks = stream.standard_normal((points, 2)).T
    now = np.cumsum(switches > threshold) % 2
    return follow(scale * shocks, [coefficients[one] for one in now], scale=scale)


def follow(shocks: Floats, coefficients: Sequence[Sequence[float]], *, scale: float) -> Part:
    """Run a linear recursion from rest, with the coefficients of each step."""
    past = [0.0] * len(coefficients[0])
    expected = np.empty_like(shocks)
    for step, weights in enumerate(coefficients):
        expected[step] = sum(w * p for w, p in zip(weights, past, strict=True))
        past = [float(expected[step] + shocks[step]), *past[:-1]]
    return Part(
        values=expected + shocks,
        expected=expected,
        scale=np.full_like(shocks, scale),
    )


def nike(
    points: int,
    stream: RandomState,
    *,
    base: float,
    offset: float,
    coef: float,
    sines: Mapping[float, float],
    stdev: float,
) -> Part:
    """Multiply as Nike's timeseries-generator 0.1.0 does: `coef` is per whole range.

    `sines` gives the amplitude of each wavelength.
    """
    expected = base * (coef / points * steps(points) + 1 + offset)
    for wavelength, amplitude in sines.items():
        expected = expected * (amplitude * wave(points, wavelength) + 1)
    factor = 1 + stdev * stream.standard_normal(points)
    return Part(values=expected * factor, expected=expected, scale=expected * stdev)


# so slight because the test block lies above what training saw: at 0.0007 an LSTM with
# 50 units loses to the seasonal naive forecast
RISE = partial(trend, slope=0.0002)
DAY = partial(season, period=24, amplitude=1)
TIDE = partial(season, period=12.42, amplitude=0.5)

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="trend_seasonal",
            terms={"trend": RISE, "day": DAY, "noise": partial(noise, scale=0.2)},
            period=24,
        ),
        Preset(
            name="multi_seasonal",
            terms={"day": DAY, "tide": TIDE, "noise": partial(noise, scale=0.2)},
            period=24,
        ),
        Preset(
            name="ar",
            terms={
                "level": partial(trend, slope=0, start=5),
                # a damped cycle of 12 steps: 2 r cos(2 pi / 12) and -r^2, r = 0.9
                "cycle": partial(autoregression, coefficients=(1.5588, -0.81), scale=0.2),
            },
        ),
        Preset(
            name="regime",
            terms={
                "switching": partial(
                    regime,
                    coefficients=((0.9,), (-0.9,)),
                    threshold=2.33,  # one step in a hundred
                    scale=0.2,
                )
            },
            bound=True,
        ),
        Preset(
            name="heteroscedastic",
            terms={
                "day": DAY,
                "noise": partial(noise, scale=0.2, swing=0.8, period=168),
            },
            period=24,
        ),
        Preset(
            name="nike",
            terms={
                "product": partial(
                    nike,
                    base=10,
                    offset=1,
                    coef=2,
                    sines={7: 0.2, 365.25: 0.5},
                    stdev=0.05,
                )
            },
            period=7,
            legacy=True,
        ),
        Preset(name="pure_noise", terms={"noise": partial(noise, scale=1)}),
        Preset(name="noise_free", terms={"trend": RISE, "day": DAY}, period=24),
    )
}


def generate(preset: str, *, points: int, seed: int) -> Generated:
    """Generate the first `points` values of a preset.

    A longer series starts with the shorter one (but for `nike`). Raises ValueError for
    an unknown preset, no points, or a seed outside 0..2**32 - 1.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset is {preset!r}, must be one of {', '.join(PRESETS)}")
    demand("points", points, least=1)
    demand("seed", seed, least=0, most=2**32 - 1)
    return compose(PRESETS[preset], points=points, seed=seed)


def compose(preset: Preset, *, points: int, seed: int) -> Generated:
    """Add up the terms of a preset, in the order of their names."""
    parts = [
        term(points, stream(preset, name, seed)) for name, term in sorted(preset.terms.items())
    ]
    return Generated(
        values=np.sum([part.values for part in parts], axis=0),
        oracle=np.sum([part.expected for part in parts], axis=0),
        noise_scale=np.sqrt(np.sum([part.scale**2 for part in parts], axis=0)),
        period=preset.period,
        bound=preset.bound,
    )


def stream(preset: Preset, term: str, seed: int) -> RandomState:
    """Open the random stream of one term, the same in every process and order."""
    if preset.legacy:
        return RandomState(seed)
    key = zlib.crc32(f"{preset.name}/{term}".encode())
    # RandomState and not Generator: numpy has frozen its streams for good
    return RandomState(MT19937(SeedSequence(entropy=seed, spawn_key=(key,))))


def digest(values: Floats) -> str:
    """Hash values to six decimals, as libms differ in the last bits of a sine."""
    rounded = np.round(values, 6) + 0.0  # turns -0.0, which has other bits, into 0.0
    return hashlib.sha256(rounded.astype("<f4").tobytes()).hexdigest()


def demand(name: str, value: int, *, least: int, most: int | None = None) -> None:
    """Raise ValueError, in words, unless `value` lies within its limits."""
    if value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"{least} to {most}"
        raise ValueError(f"{name} is {value}, must be {limits}")


def source(preset: str, *, points: int, longest: int, test: int, window: int) -> Source:
    """Return what opens `splits` of these sizes in any process; the seed draws the noise."""
    sizes = {"points": points, "longest": longest, "test": test, "window": window}
    return Source(name=preset, open=splits, arguments={"preset": preset, **sizes}, seeded=True)


def splits(
    preset: str, *, points: int, longest: int, test: int, window: int, seed: int
) -> Series:
    """Split the `points` values before the test block, and the block, into windows.

    The block is the last `test` of `longest + test` values, the same for every
    `points`; 80 % of the points train and the rest validate. A window may start in the
    earlier split, its target never does. Raises ValueError for sizes that do not fit.
    """
    for name, value in {"longest": longest, "test": test, "window": window}.items():
        demand(name, value, least=1)
    made = generate(preset, points=longest + test, seed=seed)
    demand("points", points, least=fewest(window, made.period), most=longest)
    values, period = made.values[longest - points :], made.period
    trained = points * 4 // 5
    train, validation, block = (
        cut(values, window, start, stop, first=longest - points)
        for start, stop in pairwise((window, trained, points, points + test))
    )
    fitted = values[:trained]
    return Series(
        train=train,
        validation=validation,
        test=block,
        center=float(fitted.mean()),
        scale=float(fitted.std()) or 1.0,
        naive_error=float(np.abs(fitted[period:] - fitted[:-period]).mean()),
        forecasts={
            "oracle": made.oracle[longest:],
            "last_value": values[points - 1 : -1],
            "seasonal_naive": values[points - period : -period],
            "autoregression": linear(train, block),
        },
        noise_scale=made.noise_scale[longest:],
        facts={
            "name": preset,
            "digest": digest(values),
            "counts": {
                "train": len(train),
                "validation": len(validation),
                "test": len(block),
            },
            "period": period,
            "window": window,
            "oracle": "bound" if made.bound else "exact",
            "seed": seed,
        },
    )


def fewest(window: int, period: int) -> int:
    """Count the points of which 80 % hold one target after a window and a season."""
    return math.ceil(5 * (max(window, period) + 1) / 4)


def cut(values: Floats, window: int, start: int, stop: int, *, first: int) -> Split:
    """Pair the targets `start` to `stop` with the windows before them.

    `first` is the point in time of `values[0]`.
    """
    return Split(
        inputs=sliding_window_view(values[:-1], window),
        rows=np.arange(start - window, stop - window),
        targets=values[start:stop],
        names=[f"t={first + step}" for step in range(start, stop)],
    )


def linear(train: Split, test: Split) -> Floats:
    """Forecast the test targets linearly: least squares, with intercept, on `train`."""
    center = train.targets.mean()

    def lags(split: Split) -> Floats:
        windows = split.inputs[split.rows] - center
        return np.column_stack([windows, np.ones(len(split))])

    # not by normal equations: without noise the lags are linearly dependent
    weights = np.linalg.lstsq(lags(train), train.targets - center, rcond=None)[0]
    forecasts: Floats = lags(test) @ weights + center
    return forecasts
