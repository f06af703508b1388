"""Pictures decoded to pixels; what cannot be is said to be what it is."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from PIL import Image, ImageFile
from rich.console import Console
from rich.progress import Progress

from amlnn_datasets.picture_archive import Archive
from amlnn_datasets.picture_files import kind_of
from pytest_amlnn.escapes import visible
from pytest_amlnn.preparing import counted, is_shown

SIDE = 64
LISTED = 20
OTHER_FILES = "save as 64x64 JPEG, or remove, what is another kind of file"


def decode_run(archive: Archive, names: Sequence[str]) -> tuple[bytes, list[str]]:
    """Return the pixels of the pictures, and what is wrong with those that are bad."""
    pixels, faults = [], []
    for name in names:
        data = None
        try:
            data = archive.read(name)
            pixels.append(decode(data))
        except Exception as error:  # whatever a decoder raises, the picture is bad
            kind = kind_of(data) if data is not None else None
            reason = f"{kind}, not a JPEG" if kind else visible(error) or type(error).__name__
            faults.append(f"{visible(name)} ({reason})")
    return b"".join(pixels), faults


def decode(data: bytes) -> bytes:
    """Decode a JPEG, gray ones too, to the bytes of (64, 64, 3)."""
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"millions of pixels, not {SIDE}x{SIDE}") from error
    with image:
        if image.size != (SIDE, SIDE):  # before anything large is decoded
            raise ValueError(f"{image.width}x{image.height}, not {SIDE}x{SIDE}")
        colors = image if image.mode == "RGB" else image.convert("RGB")
        return colors.tobytes()


@contextmanager
def strict_decoder() -> Iterator[None]:
    """Refuse cut pictures even where another library has Pillow fill them with gray."""
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def listing(path: Path, faults: Sequence[str]) -> str:
    """Name bad pictures, each with what is wrong, and say what to do."""
    foreign = sum(fault.endswith(", not a JPEG)") for fault in faults)
    remedies = [OTHER_FILES] * bool(foreign)
    remedies += ["get the archive again"] * (foreign < len(faults))
    lines = [f"{visible(path)}: {len(faults):,} bad pictures; {'; '.join(remedies)}:"]
    lines += faults[:LISTED]
    if len(faults) > LISTED:
        lines.append(f"and {len(faults) - LISTED:,} more")
    return "\n  ".join(lines)


@contextmanager
def decoding_progress(total: int, home: Path) -> Iterator[Callable[[int], None]]:
    """Show how far the decoding is, and yield what counts further pictures.

    While a case trains it is shown as its progress; elsewhere a terminal gets a bar, and a
    file one line.
    """
    if is_shown():
        with counted(home.name, total, "pictures") as advance:
            yield advance
        return
    terminal = sys.stderr.isatty()
    if not terminal:
        print(f"amlnn: decoding {total:,} pictures into {visible(home)}", file=sys.stderr)
    console = Console(stderr=True)
    with Progress(console=console, disable=not terminal) as progress:
        task = progress.add_task("Decoding pictures, once", total=total)
        yield partial(progress.advance, task)
