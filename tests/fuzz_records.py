"""Thousands of run directories that a stranger changed: `pytest -s tests/fuzz_records.py`.

Each change ends in words or in a right report, within bounds of time and memory, and nothing
outside of the run directory is touched. `tox -e endurance` makes every change there is; without
AMLNN_ENDURANCE it is a hundredth of them. The counts are printed.
"""

from __future__ import annotations

import random
import resource
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from changed_records import (
    assert_harmless,
    assert_reported,
    assert_resumed,
    changes,
    put_back,
    quickly,
    records,
    swept,
)
from sweeps import ENDURANCE

PARTS = 10
"""Of the changed fields, so that processes can share them."""
CHANGED, DAMAGED = (10**6, 1000) if ENDURANCE else (40, 10)
"""At most so many in each part."""
MORE_MEMORY = 2**30
"""In bytes: by so much the process may grow over all changes."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A small sweep, as it was written."""
    return swept(tmp_path_factory.mktemp("whole") / "sweep")


@pytest.fixture
def folder(whole, tmp_path) -> Iterator[Path]:
    """A copy of it that is changed; the process takes little more memory meanwhile."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with quickly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of answers whose runs are repeated
        yield shutil.copytree(whole, tmp_path / "sweep")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert (after - before) * 1024 < MORE_MEMORY


def say(what: str, outcomes: Counter[str]) -> None:
    """Print how many changes ended how."""
    total = sum(outcomes.values()) // 2
    print(f"\n{what}: {total:,} changes, each reported and resumed: {dict(outcomes)}")


def kind(outcome: tuple[str, str]) -> str:
    """Return what is counted of one act."""
    act, words = outcome
    return f"{act} {'in words' if words else 'without a word'}"


@pytest.mark.endurance
@pytest.mark.parametrize("part", range(PARTS))
def test_changed_fields(part, whole, folder):
    """Every field of every record takes every nasty value, and is left out."""
    every = changes(whole)
    random.Random(0).shuffle(every)
    outcomes = Counter[str]()
    for change in every[part::PARTS][:CHANGED]:
        words = assert_harmless(whole, change, folder)
        outcomes.update(map(kind, zip(("reported", "resumed"), words, strict=True)))
    say("fields", outcomes)


def damaged(content: bytes, generator: random.Random) -> bytes:
    """Return a file's content with some of it gone, doubled, swapped or set to other bytes."""
    start, end = sorted(generator.choices(range(len(content) + 1), k=2))
    end = min(end, start + generator.choice((1, 8, 64, len(content))))
    middle = generator.choice(
        (
            b"",
            content[start:end] * 2,
            content[start:end][::-1],
            generator.randbytes(end - start),
            bytes(b ^ (1 << generator.randrange(8)) for b in content[start:end]),
            bytes(generator.choice(b'{}[]",:0123456789eE+-.\\u') for _ in content[start:end]),
        )
    )
    return content[:start] + middle + content[end:]


@pytest.mark.endurance
@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_bytes(part, whole, folder):
    """Bytes of records and answers are lost, doubled, turned round and made up."""
    files = [
        *records(whole),
        *(path for path in sorted(whole.rglob("*.safetensors")) if path.parent.name != "0"),
    ]
    outcomes = Counter[str]()
    for number in range(DAMAGED):
        generator = random.Random(number * PARTS + part)
        file = generator.choice(files)
        content = damaged(file.read_bytes(), generator)
        for act in (assert_reported, assert_resumed):
            put_back(folder, whole)
            (folder / file.relative_to(whole)).write_bytes(content)
            outcomes[kind((act.__name__.removeprefix("assert_"), act(folder)))] += 1

        assert [*folder.parent.iterdir()] == [folder]
    say("bytes", outcomes)


@pytest.mark.endurance
def test_swapped_records(whole, folder):
    """Any record in the place of any other is refused, or is the same."""
    outcomes = Counter[str]()
    names = [path.relative_to(whole) for path in records(whole)]
    for one in names:
        for other in names:
            for act in (assert_reported, assert_resumed):
                put_back(folder, whole)
                shutil.copy(whole / other, folder / one)
                outcomes[kind((act.__name__.removeprefix("assert_"), act(folder)))] += 1
    say("swaps", outcomes)
