"""The series generator and its splits."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amlnn_datasets import series
from amlnn_datasets.series import PRESETS, Generated, generate
from pytest_amlnn.data import Series, Split

GOLDEN = json.loads((Path(__file__).parent / "data" / "nike_golden.json").read_text())
DIGESTS = {
    "trend_seasonal": "655e49f9fbb0cc5c70e9acf9620fbd3f",
    "multi_seasonal": "d1379281fb6731a5fd110d500197cd19",
    "ar": "98ce91926dcd73fa2296e27b97e2f135",
    "regime": "832811915655145a326789a06a8a0717",
    "heteroscedastic": "3ce1bc9015712f93b08bcc2db4212b68",
    "nike": "92f6131b8ea6f686721009fb70e20c72",
    "pure_noise": "9d8c76c957063169ddbf4824d33a6a5e",
    "noise_free": "f77b41eb3d56a75cefe7b5f8f47b6705",
}
NOISY = [name for name in PRESETS if name != "noise_free"]
PREFIX_STABLE = [name for name in PRESETS if name != "nike"]
SEEDS = st.integers(0, 2**32 - 1)

splits = partial(series.splits, points=3000, longest=3000, test=1000, window=32, seed=0)
small = partial(splits, points=100, longest=150, test=20, window=6)


def arrays(made: Generated) -> tuple[bytes, ...]:
    """Take the exact bits of a series, its oracle and its noise scale."""
    return made.values.tobytes(), made.oracle.tobytes(), made.noise_scale.tobytes()


def times(split: Split) -> list[int]:
    """Read the points in time of the targets from their names."""
    return [int(name.removeprefix("t=")) for name in split.names]


def squares(forecast, split: Split):
    """Square the errors of a forecast."""
    return (forecast - split.targets) ** 2


def doubt(losses) -> float:
    """Give four standard errors of a mean."""
    return 4 * float(np.std(losses)) / len(losses) ** 0.5


@pytest.fixture
def tamper(monkeypatch):
    """Change the values that `splits` sees."""

    def patch(change) -> None:
        def changed(preset: str, *, points: int, seed: int) -> Generated:
            made = generate(preset, points=points, seed=seed)
            return replace(made, values=change(made.values))

        monkeypatch.setattr(series, "generate", changed)

    return patch


@given(
    preset=st.sampled_from(PREFIX_STABLE),
    points=st.integers(1, 300),
    more=st.integers(1, 300),
    seed=SEEDS,
)
def test_longer_series_starts_with_shorter_one(preset, points, more, seed):
    """The first n points of n + m are the series of n points, bit for bit."""
    short = generate(preset, points=points, seed=seed)
    long = generate(preset, points=points + more, seed=seed)
    start = replace(
        long,
        values=long.values[:points],
        oracle=long.oracle[:points],
        noise_scale=long.noise_scale[:points],
    )

    assert arrays(start) == arrays(short)


def test_nike_slope_belongs_to_the_range():
    """A longer `nike` series rises more slowly, as the package's do."""
    short = generate("nike", points=1000, seed=0)
    long = generate("nike", points=3000, seed=0)

    assert long.values[999] < short.values[999]


@given(preset=st.sampled_from(list(PRESETS)), seed=SEEDS)
def test_same_seed_gives_same_series(preset, seed):
    """A series follows from preset, length and seed alone."""
    again = [generate(preset, points=50, seed=seed) for _ in range(2)]

    assert arrays(again[0]) == arrays(again[1])


@given(preset=st.sampled_from(NOISY), seeds=st.lists(SEEDS, min_size=2, unique=True))
@settings(max_examples=30)
def test_different_seeds_give_different_noise(preset, seeds):
    """Two seeds share no value."""
    one, other = (generate(preset, points=50, seed=seed).values for seed in seeds[:2])

    assert (one != other).all()


@pytest.mark.parametrize("preset", NOISY)
def test_seed_zero_is_a_seed(preset):
    """Seed 0 is drawn again the same, and is not seed 1."""
    zero, again, one = (generate(preset, points=50, seed=seed) for seed in (0, 0, 1))

    assert arrays(zero) == arrays(again)
    assert (zero.values != one.values).all()


def test_generating_leaves_the_global_stream_alone():
    """No preset draws from numpy's global stream, or seeds it."""
    before = np.random.get_state()[1].tobytes(), np.random.get_state()[2]
    for preset in PRESETS:
        generate(preset, points=10, seed=0)

    assert (np.random.get_state()[1].tobytes(), np.random.get_state()[2]) == before


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_order_of_terms_does_not_matter(preset):
    """Terms listed the other way round give the same bits."""
    turned = replace(preset, terms=dict(reversed(preset.terms.items())))

    assert arrays(series.compose(turned, points=200, seed=5)) == arrays(
        series.compose(preset, points=200, seed=5)
    )


def test_each_term_has_its_own_stream():
    """A second noise leaves the draws of the first alone, and differs from it."""
    one = partial(series.noise, scale=1)
    alone, beside, both = (
        series.compose(series.Preset(name="x", terms=terms), points=200, seed=0).values
        for terms in ({"a": one}, {"b": one}, {"a": one, "b": one})
    )

    assert (both == alone + beside).all()
    assert abs(np.corrcoef(alone, beside)[0, 1]) < 0.3


@pytest.mark.parametrize("preset", PRESETS)
def test_series_are_the_ones_published(preset):
    """Seed 0 gives the values it gave when results were first recorded."""
    made = generate(preset, points=1000, seed=0)

    assert series.digest(made.values).startswith(DIGESTS[preset])


def test_digest_forgives_the_last_bits():
    """A neighbouring float and the sign of zero leave the digest; a change does not."""
    values = np.array([0.0, 1.25, 30.1])

    assert series.digest(np.nextafter(values, -1)) == series.digest(values)
    assert series.digest(values + 1e-4) != series.digest(values)


@pytest.mark.parametrize("points", [1000, 3000])
def test_nike_equals_the_real_package(points):
    """Values and factors agree with timeseries-generator 0.1.0 to 1e-12."""
    golden = GOLDEN[str(points)]
    made = generate("nike", points=points, seed=0)
    index = golden["index"]
    product = 10 * np.prod([golden[name] for name in ("lt", "wk", "yr")], axis=0)

    assert made.values[index] == pytest.approx(golden["value"], rel=1e-12)
    assert made.oracle[index] == pytest.approx(product, rel=1e-12)
    assert made.values.sum() == pytest.approx(golden["sum"], rel=1e-12)


@pytest.mark.parametrize("preset", NOISY)
def test_oracle_leaves_white_noise_of_the_stated_scale(preset):
    """What the oracle misses has mean 0, the stated scale, and no memory."""
    made = generate(preset, points=10_000, seed=3)
    rest = (made.values - made.oracle) / made.noise_scale

    assert abs(rest.mean()) < 0.04
    assert rest.std() == pytest.approx(1, abs=0.03)
    assert abs(np.corrcoef(rest[1:], rest[:-1])[0, 1]) < 0.04


def test_oracle_of_noise_free_never_errs():
    """Without noise the oracle is the series itself."""
    made = generate("noise_free", points=1000, seed=0)

    assert (made.values == made.oracle).all()
    assert not made.noise_scale.any()


def test_trend_seasonal_is_a_rise_and_a_season():
    """The oracle of the default preset is its formula, with a slope per step."""
    made = generate("trend_seasonal", points=1000, seed=0)
    step = np.arange(1000)

    assert made.oracle == pytest.approx(0.0002 * step + np.sin(np.pi * step / 12))


def test_oracle_of_ar_uses_the_past():
    """The forecast of `ar` follows from the two values before it."""
    made = generate("ar", points=500, seed=0)
    past = made.values - 5

    assert made.oracle[2:] == pytest.approx(5 + 1.5588 * past[1:-1] - 0.81 * past[:-2])


def test_regimes_are_hidden_sticky_and_opposite():
    """`regime` is marked as a bound; its sign of memory stays for about 100 steps."""
    made = generate("regime", points=28_000, seed=0)
    memory = made.oracle[1:] / made.values[:-1]

    assert made.bound
    assert np.abs(memory) == pytest.approx(np.full(27_999, 0.9))
    assert 200 < (np.diff(np.sign(memory)) != 0).sum() < 360
    assert [name for name in PRESETS if PRESETS[name].bound] == ["regime"]


def test_regime_rewards_a_forecast_that_is_not_linear():
    """Guessing the regime from the last three steps beats linear autoregression."""
    found = splits("regime", test=10_000)
    windows = found.test.inputs[found.test.rows]
    sign = np.sign((windows[:, -3:] * windows[:, -4:-1]).sum(axis=1))
    guess = squares(0.9 * sign * windows[:, -1], found.test)
    linear = squares(found.forecasts["autoregression"], found.test)

    assert (linear - guess).mean() > doubt(linear - guess)


def test_heteroscedastic_noise_swings():
    """The known scale of the noise changes ninefold."""
    made = generate("heteroscedastic", points=1000, seed=0)

    assert made.noise_scale.max() / made.noise_scale.min() == pytest.approx(9, rel=0.01)


@pytest.mark.parametrize("preset", NOISY)
@pytest.mark.parametrize("seed", range(3))
def test_oracle_is_unbeaten(preset, seed):
    """The oracle's MSE is the floor, and no forecast is significantly below it."""
    found = splits(preset, seed=seed)
    losses = {name: squares(f, found.test) for name, f in found.forecasts.items()}
    floor = (found.noise_scale**2).mean()

    assert losses["oracle"].mean() == pytest.approx(floor, rel=0.2)
    for name, loss in losses.items():
        excess = loss - losses["oracle"]
        assert excess.mean() >= -doubt(excess), name


def test_noise_free_is_learnt_to_the_last_digits():
    """Without noise autoregression is exact, though its lags are dependent."""
    found = splits("noise_free")

    assert squares(found.forecasts["oracle"], found.test).max() == 0
    assert squares(found.forecasts["autoregression"], found.test).max() < 1e-20


@pytest.mark.parametrize("seed", range(3))
def test_nobody_beats_the_mean_of_pure_noise(seed):
    """The training mean is as good as any forecast of noise."""
    found = splits("pure_noise", seed=seed)
    mean = squares(found.center, found.test)
    gains = [mean - squares(f, found.test) for f in found.forecasts.values()]

    assert all(gain.mean() <= doubt(gain) for gain in gains)


@given(
    preset=st.sampled_from(list(PRESETS)),
    points=st.integers(60, 200),
    spare=st.integers(0, 50),
    test=st.integers(1, 40),
    window=st.integers(1, 40),
    seed=SEEDS,
)
def test_windows_precede_their_targets(preset, points, spare, test, window, seed):
    """Splits follow each other, share no target, and see only what was before."""
    longest = points + spare
    found = splits(preset, points=points, longest=longest, test=test, window=window, seed=seed)
    values = generate(preset, points=longest + test, seed=seed).values
    parts = found.train, found.validation, found.test

    assert [time for part in parts for time in times(part)] == list(
        range(spare + window, longest + test)
    )
    for part in parts:
        for time, row, target in zip(times(part), part.rows, part.targets, strict=True):
            assert target == values[time]
            assert (part.inputs[row] == values[time - window : time]).all()


def test_sizes_of_the_splits():
    """Four fifths train, less one window; the rest validate; the block tests."""
    found = small("ar")

    assert [len(part) for part in (found.train, found.validation, found.test)] == [
        100 * 4 // 5 - 6,
        20,
        20,
    ]
    assert times(found.test)[0] == 150


def test_inputs_are_a_view():
    """Windows overlap in memory: none is copied, none can be written."""
    inputs = small("ar").train.inputs

    assert inputs.strides == (8, 8)
    assert not inputs.flags.writeable


@pytest.mark.parametrize("preset", PRESETS)
def test_test_block_is_the_same_for_all_sizes(preset):
    """Sizes differ in what they learn from, not in what they are tested on."""
    short, long = (small(preset, points=points) for points in (50, 150))

    assert short.test.names == long.test.names
    assert (short.test.targets == long.test.targets).all()
    assert (short.noise_scale == long.noise_scale).all()
    for name in ("oracle", "last_value", "seasonal_naive"):
        assert (short.forecasts[name] == long.forecasts[name]).all()
    assert (short.test.inputs[short.test.rows] == long.test.inputs[long.test.rows]).all()


def fitted(found: Series) -> tuple[float, float, float]:
    """Give what is fitted on the training points."""
    return found.center, found.scale, found.naive_error


def test_scaler_is_fitted_on_training_points(tamper):
    """Only the 80 training points, 50 to 129 of 150, move the scaler."""
    before = fitted(small("ar"))
    tamper(lambda values: np.where(np.arange(170) < 130, values, 1e6))
    later = fitted(small("ar"))
    tamper(lambda values: np.where(np.arange(170) < 50, 1e6, values))
    earlier = fitted(small("ar"))
    tamper(lambda values: np.where(np.arange(170) == 129, 1e6, values))

    assert before == later == earlier
    assert all(a != b for a, b in zip(fitted(small("ar")), before, strict=True))


def test_constant_series_is_not_divided_by_zero(tamper):
    """A series without spread gets the scale 1."""
    tamper(np.ones_like)

    assert small("ar").scale == 1


def test_naive_error_is_that_of_the_season():
    """MASE's divisor is the mean error of repeating the season of training points."""
    found = small("trend_seasonal")
    values = generate("trend_seasonal", points=170, seed=0).values[50:130]
    errors = [abs(values[t] - values[t - 24]) for t in range(24, 80)]

    assert found.naive_error == pytest.approx(sum(errors) / len(errors))


def test_simple_forecasts_repeat_the_past():
    """Last value is one step back, seasonal naive one period back."""
    found = small("trend_seasonal")
    values = generate("trend_seasonal", points=170, seed=0).values

    assert (found.forecasts["last_value"] == values[149:169]).all()
    assert (found.forecasts["seasonal_naive"] == values[126:146]).all()


@pytest.mark.parametrize("preset", NOISY)
def test_autoregression_is_least_squares(preset):
    """Normal equations over the training points give the same forecasts."""
    found = small(preset, window=3)
    values = generate(preset, points=170, seed=0).values
    lags = np.array([[1, *values[t - 3 : t]] for t in range(53, 130)])
    weights = np.linalg.solve(lags.T @ lags, lags.T @ values[53:130])
    wanted = [weights @ [1, *values[t - 3 : t]] for t in range(150, 170)]

    assert found.forecasts["autoregression"] == pytest.approx(np.array(wanted))


def test_looking_one_step_further_hurts():
    """Autoregression errs as theory says two steps ahead: no window leaks a target."""
    found = splits("ar")

    def later(split: Split) -> Split:
        return replace(
            split,
            rows=split.rows[:-1],
            targets=split.targets[1:],
            names=split.names[1:],
        )

    near = squares(found.forecasts["autoregression"], found.test)
    far = squares(series.linear(later(found.train), later(found.test)), later(found.test))

    # two steps ahead the variance is 1 + 1.5588^2 times that of one step
    assert far.mean() / near.mean() == pytest.approx(3.43, rel=0.15)


def test_facts_say_what_was_seen():
    """The record can tell the dataset, and is plain."""
    facts = dict(small("regime", seed=4).facts)
    values = generate("regime", points=170, seed=4).values

    assert json.loads(json.dumps(facts)) == {
        "name": "regime",
        "digest": series.digest(values[50:]),
        "counts": {"train": 74, "validation": 20, "test": 20},
        "period": 1,
        "window": 6,
        "oracle": "bound",
        "seed": 4,
    }
    assert small("ar").facts["oracle"] == "exact"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"preset": "sine"}, "preset is 'sine', must be one of trend_seasonal, multi"),
        ({"points": 8}, "points is 8, must be 9 to 150"),
        ({"points": 151}, "points is 151, must be 9 to 150"),
        ({"points": 31, "preset": "noise_free"}, "points is 31, must be 32 to 150"),
        ({"points": -1}, "points is -1"),
        ({"longest": -5}, "longest is -5, must be at least 1"),
        ({"test": 0}, "test is 0, must be at least 1"),
        ({"window": 0}, "window is 0, must be at least 1"),
        ({"window": 80}, "points is 100, must be 102 to 150"),
        ({"seed": -1}, "seed is -1, must be 0 to 4294967295"),
        ({"seed": 2**32}, "seed is 4294967296, must be 0 to"),
    ],
)
def test_bad_input_is_named(wrong, words):
    """An impossible request names the parameter and its limits."""
    with pytest.raises(ValueError, match=words):
        small(**{"preset": "ar", **wrong})


def test_fewest_points_are_enough():
    """The least size named in the message leaves one training target."""
    found = small("ar", points=9)

    assert [len(part) for part in (found.train, found.validation)] == [1, 2]


def test_empty_series_is_refused():
    """A series has at least one point."""
    with pytest.raises(ValueError, match="points is 0, must be at least 1"):
        generate("ar", points=0, seed=0)
