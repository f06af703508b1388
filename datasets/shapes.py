"""Shapes: an embedded picture set, generated on the spot, for runs without a download.

Pictures are 64x64 RGB, as Tiny ImageNet's are. A class is an outline filled with a
pattern, such as `star-dots`. Place, size, angle and all colours are drawn for each
picture, and so is the other pattern behind the outline: neither a pixel's value nor a
mean colour tells the class, so a linear model on pixels stays far behind a small
convolutional net.

Only additions, products, quotients, roots and comparisons are used: IEEE 754 rounds
these alike everywhere, so the pictures are equal on every machine, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from pytest_amlnn.data import Pictures, Source, Split

Grid = npt.NDArray[np.float64]

SIDE = 64
"""Width and height in pixels."""
TEST_PER_CLASS = 50
"""Test pictures of each class, as many as the official Tiny ImageNet has."""


def disc(x: Grid, y: Grid) -> Grid:
    """Grow from 0 at the centre to 1 at the rim of a circle."""
    return np.sqrt(x * x + y * y)


def square(x: Grid, y: Grid) -> Grid:
    """Grow to 1 at the rim of a square with the circle's area."""
    return np.maximum(np.abs(x), np.abs(y)) / 0.886


def triangle(x: Grid, y: Grid) -> Grid:
    """Grow to 1 at the rim of an equilateral triangle, point up."""
    return np.maximum(np.maximum(y, -0.5 * y + 0.866 * x), -0.5 * y - 0.866 * x) / 0.7


def ring(x: Grid, y: Grid) -> Grid:
    """Grow to 1 at both rims of a ring."""
    return np.abs(disc(x, y) - 0.8) / 0.35


def cross(x: Grid, y: Grid) -> Grid:
    """Grow to 1 at the rim of an upright cross."""
    bar = np.maximum(np.abs(x) / 1.15, np.abs(y) / 0.38)
    return np.minimum(bar, np.maximum(np.abs(y) / 1.15, np.abs(x) / 0.38))


def star(x: Grid, y: Grid) -> Grid:
    """Grow to 1 at the rim of a star with four points."""
    return (np.sqrt(np.abs(x)) + np.sqrt(np.abs(y))) ** 2 / 1.45


def moon(x: Grid, y: Grid) -> Grid:
    """Grow to 1 at the rim of a crescent."""
    return np.maximum(disc(x, y) / 1.15, (2 - disc(x - 0.75, y)) / 1.15)


def bars(x: Grid, y: Grid) -> Grid:
    """Grow to 1 at the rims of two parallel bars."""
    return np.maximum(np.abs(np.abs(x) - 0.62) / 0.33, np.abs(y) / 1.1)


OUTLINES: tuple[Callable[[Grid, Grid], Grid], ...] = (
    disc, square, triangle, ring, cross, star, moon, bars,
)  # fmt: skip


def wave(x: Grid) -> Grid:
    """Go up and down between 0 and 1 with period 1, in straight lines."""
    return np.abs(2 * (x - np.floor(x)) - 1)


def plain(x: Grid, y: Grid) -> Grid:
    """Fill evenly."""
    return np.ones_like(x)


def stripes(x: Grid, y: Grid) -> Grid:
    """Fill with broad stripes."""
    return np.where(wave(1.7 * x) > 0.5, 1.0, 0.0)


def dots(x: Grid, y: Grid) -> Grid:
    """Fill with round dots."""
    u, v = wave(2.2 * x) - 0.5, wave(2.2 * y) - 0.5
    return np.where(u * u + v * v < 0.09, 0.0, 1.0)


def checks(x: Grid, y: Grid) -> Grid:
    """Fill with a chequerboard."""
    return np.where((wave(1.3 * x) > 0.5) == (wave(1.3 * y) > 0.5), 1.0, 0.0)


def target(x: Grid, y: Grid) -> Grid:
    """Fill with circles about the centre."""
    return np.where(wave(2.1 * disc(x, y)) > 0.5, 1.0, 0.0)


PATTERNS: tuple[Callable[[Grid, Grid], Grid], ...] = (
    plain, stripes, dots, checks, target,
)  # fmt: skip

KINDS = tuple(
    (OUTLINES[i % len(OUTLINES)], PATTERNS[i % len(PATTERNS)])
    for i in range(len(OUTLINES) * len(PATTERNS))
)
"""All 40 pairs: 8 and 5 have no common factor, so neighbours differ in both."""
CLASSES = tuple(f"{outline.__name__}-{pattern.__name__}" for outline, pattern in KINDS)


def draw(kind: int, index: int) -> npt.NDArray[np.uint8]:
    """Draw picture `index` of a class, (64, 64, 3); the same one at every call."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([kind, index])))
    draws = random.random(32)
    x, y = place(draws[:4])
    outline, pattern = KINDS[kind]
    inside = np.clip((1 - outline(x, y)) * 6, 0, 1)[..., None]
    ink, paper, back, other = palette(draws[8:20])
    u, v = place(draws[4:8])
    behind = np.where(stripes(0.6 * u, v)[..., None] > 0.5, back, 0.7 * back + 0.3 * other)
    filled = np.where(pattern(x, y)[..., None] > 0.5, ink, paper)
    noise = (random.random((SIDE, SIDE, 3)) - 0.5) * 0.12
    picture = inside * filled + (1 - inside) * behind + noise
    return np.floor(np.clip(picture, 0, 1) * 255.0).astype(np.uint8)


def place(draws: npt.NDArray[np.float64]) -> tuple[Grid, Grid]:
    """Return the pixels' coordinates in an outline's own moved, turned and scaled frame."""
    axis = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    across, down = np.meshgrid(axis, axis)
    across, down = across - (draws[0] - 0.5) * 0.5, down - (draws[1] - 0.5) * 0.5
    half = (draws[2] - 0.5) * 0.5  # tangent of half the angle: at most 28 degrees
    cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    radius = 0.5 + 0.2 * draws[3]
    return (
        (cosine * across - sine * down) / radius,
        (sine * across + cosine * down) / radius,
    )


def palette(draws: npt.NDArray[np.float64]) -> tuple[Grid, Grid, Grid, Grid]:
    """Return colours for ink, paper, ground and its pattern; ink stands out from paper."""
    ink, paper, back, other = draws.reshape(4, 3)
    dark = draws[0] + draws[5] < 1  # which of the two is the darker is chance too
    low, high = 0.4 * ink, 0.6 + 0.4 * paper
    return (low, high, back, other) if dark else (high, low, back, other)


@lru_cache(maxsize=8)
def pictures(kinds: int, first: int, count: int) -> npt.NDArray[np.uint8]:
    """Draw pictures `first` and on of each of the first `kinds` classes, class by class."""
    drawn = [draw(kind, first + i) for kind in range(kinds) for i in range(count)]
    return np.stack(drawn)


def source(*, size: int, classes: int, validation: int) -> Source:
    """Return what opens `splits` of these sizes in any process; nothing is on disk."""
    sizes = {"size": size, "classes": classes, "validation": validation}
    return Source(name="shapes", open=splits, arguments=sizes)


def splits(*, size: int, classes: int, validation: int) -> Pictures:
    """Return `size` training pictures, and `validation` and 50 test pictures a class.

    A smaller training set is a prefix of a larger one, class by class; validation and
    test are the same for every size. Raises ValueError where `classes` exceeds the
    number of classes or does not divide `size`.
    """
    if not 2 <= classes <= len(CLASSES) or size % classes or min(size, validation) < 1:
        raise ValueError(
            f"shapes has {len(CLASSES)} classes, each with equally many pictures;"
            f" size={size} with classes={classes} and validation={validation} cannot be had"
        )
    tests = split("test", classes, 0, TEST_PER_CLASS)
    held_out = split("validation", classes, TEST_PER_CLASS, validation)
    training = split("train", classes, TEST_PER_CLASS + validation, size // classes)
    facts = {
        "name": "shapes",
        "digest": digest(training, held_out, tests),
        "counts": {"train": size, "validation": len(held_out), "test": len(tests)},
        "words": {name: name.replace("-", " with ") for name in CLASSES[:classes]},
    }
    return Pictures(
        train=training,
        validation=held_out,
        test=tests,
        classes=CLASSES[:classes],
        facts=facts,
    )


def split(name: str, classes: int, first: int, count: int) -> Split:
    """Return pictures `first` and on of each class as one split."""
    inputs = pictures(classes, first, count)
    return Split(
        inputs=inputs,
        rows=np.arange(len(inputs)),
        targets=np.repeat(np.arange(classes), count),
        names=[f"{CLASSES[k]}_{first + i}" for k in range(classes) for i in range(count)],
    )


def digest(*parts: Split) -> str:
    """Return the SHA-256 over the pixels of all splits, in hexadecimal."""
    total = sha256()
    for part in parts:
        total.update(part.inputs.tobytes())
    return total.hexdigest()
