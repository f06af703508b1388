"""The embedded picture set."""

from __future__ import annotations

import numpy as np
import pytest

from amlnn_datasets import shapes
from amlnn_datasets.shapes import CLASSES, splits
from pytest_amlnn.data import Pictures, Split

DIGESTS = {
    200: "389a2fd5fad44fdfb8e56c86f5a44697b3d811ab0bc109631c4d5fa4249ef4ef",
    600: "f4757fbeeb722fe621164e96800eb7bc0c62729861fb1c7194f192e3fd1884be",
}


@pytest.fixture(scope="module", params=[200, 600])
def found(request) -> Pictures:
    """Give the splits of both sizes of the quick profile."""
    return splits(size=request.param, classes=10, validation=10)


def parts(found: Pictures) -> dict[str, Split]:
    """Give the three splits by name."""
    return {"train": found.train, "validation": found.validation, "test": found.test}


def of_class(split: Split, number: int) -> list[bytes]:
    """Give the pictures of one class, in order."""
    return [split.inputs[row].tobytes() for row in split.rows[split.targets == number]]


def test_pictures_are_the_ones_published(found):
    """Every pixel is the one that results were first recorded with, on any machine."""
    assert found.facts["digest"] == DIGESTS[len(found.train)]


def test_pictures_are_drawn_again_the_same():
    """A picture follows from its class and number alone, whatever was drawn before."""
    first = shapes.draw(7, 3)
    shapes.draw(0, 0)

    assert (shapes.draw(7, 3) == first).all()


def test_drawing_leaves_the_global_stream_alone():
    """No picture draws from numpy's global stream, or seeds it."""
    before = np.random.get_state()[1].tobytes(), np.random.get_state()[2]
    shapes.draw(1, 1)

    assert (np.random.get_state()[1].tobytes(), np.random.get_state()[2]) == before


def test_counts_are_as_asked(found):
    """Training pictures as many as asked for, 10 and 50 a class to validate and test."""
    counts = {name: len(part) for name, part in parts(found).items()}

    assert counts == {"train": len(found.train), "validation": 100, "test": 500}
    assert found.facts["counts"] == counts
    for part in parts(found).values():
        assert len(set(np.bincount(part.targets))) == 1


def test_pictures_have_the_form_of_tiny_imagenet(found):
    """Pictures are 64x64 RGB in bytes, labels whole numbers, with a name each."""
    for part in parts(found).values():
        assert part.inputs[part.rows].shape == (len(part), 64, 64, 3)
        assert part.inputs.dtype == np.uint8
        assert part.targets.dtype == np.int64
        assert len(part.names) == len(set(part.names)) == len(part)


def test_names_tell_the_class(found):
    """A picture's label is the class in its name."""
    for part in parts(found).values():
        named = [found.classes[number] for number in part.targets]
        assert [name.rpartition("_")[0] for name in part.names] == named


def test_labels_are_right(found):
    """A picture under a class is the one that this class draws under its number."""
    for part in parts(found).values():
        for place in (0, len(part) // 2, len(part) - 1):
            index = int(part.names[place].rpartition("_")[2])
            picture = shapes.draw(part.targets[place], index)
            assert (part.inputs[part.rows[place]] == picture).all()


def test_no_picture_is_seen_twice(found):
    """Splits share no name and no picture, and none repeats one."""
    names = [name for part in parts(found).values() for name in part.names]
    pictures = [
        part.inputs[row].tobytes() for part in parts(found).values() for row in part.rows
    ]

    assert len(set(names)) == len(names)
    assert len(set(pictures)) == len(pictures)


def test_small_set_is_a_prefix_of_the_large():
    """The pictures of 200 are the first of 600's, class by class; the others are equal."""
    small, large = (splits(size=size, classes=10, validation=10) for size in (200, 600))

    for number in range(10):
        few, many = (of_class(found.train, number) for found in (small, large))
        assert (len(few), len(many)) == (20, 60)
        assert many[:20] == few
    for name in ("validation", "test"):
        assert (parts(small)[name].inputs == parts(large)[name].inputs).all()
        assert parts(small)[name].names == parts(large)[name].names


def test_no_pixel_tells_the_class():
    """A linear model on pixels, fitted to 600 pictures, is near chance on the test ones."""
    found = splits(size=600, classes=10, validation=10)

    def small(split: Split) -> np.ndarray:
        blocks = split.inputs.reshape(len(split), 8, 8, 8, 8, 3).mean(axis=(2, 4))
        return np.c_[blocks.reshape(len(split), -1) / 255, np.ones(len(split))]

    wanted = np.eye(10)[found.train.targets]
    inputs = small(found.train)
    weights = np.linalg.solve(inputs.T @ inputs + np.eye(inputs.shape[1]), inputs.T @ wanted)
    hits = (small(found.test) @ weights).argmax(axis=1) == found.test.targets

    assert hits.mean() < 0.35


def test_all_classes_can_be_had():
    """Forty classes, an outline with a pattern each, all drawn differently."""
    found = splits(size=40, classes=40, validation=1)

    assert found.classes == CLASSES
    assert len(set(CLASSES)) == 40
    assert sorted(set(found.test.targets)) == list(range(40))


def test_fewer_classes_are_the_first():
    """Two classes are the first two of forty, with words for a reader."""
    found = splits(size=4, classes=2, validation=1)

    assert found.classes == CLASSES[:2]
    assert found.facts["words"] == {
        "disc-plain": "disc with plain",
        "square-stripes": "square with stripes",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 205},
        {"size": 0},
        {"size": -10},
        {"size": 5},
        {"classes": 41, "size": 410},
        {"classes": 1},
        {"classes": 0},
        {"validation": 0},
        {"validation": -1},
    ],
    ids=str,
)
def test_bad_request_is_refused(wrong):
    """What cannot be had is refused with the number of classes that there are."""
    with pytest.raises(ValueError, match="shapes has 40 classes, .* cannot be had"):
        splits(**{"size": 200, "classes": 10, "validation": 10, **wrong})
