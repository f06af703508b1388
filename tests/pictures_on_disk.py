"""Small archives in Tiny ImageNet's layout, as a zip or as a folder."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = ("n30", "n10", "n20")
"""In the order of wnids.txt, which is not sorted."""
ANNOTATIONS = "val/val_annotations.txt"


def jpeg(seed: int, *, side: int = 64, mode: str = "RGB") -> bytes:
    """Return a small picture that differs from seed to seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(noise).resize((side, side)).convert(mode)
    picture.save(file, "JPEG")
    return file.getvalue()


def original(*, train: int = 12, val: int = 2) -> dict[str, bytes]:
    """Return the files of an archive with `train` and `val` pictures a class."""
    files = {
        "wnids.txt": "\n".join(WNIDS).encode(),
        "words.txt": b"n10\tgoldfish\nn20\tbullfrog, frog\nn30\tlion\nn99\tunused\n",
    }
    for place, wnid in enumerate(WNIDS):
        files[f"train/{wnid}/{wnid}_boxes.txt"] = b""
        for number in range(train):
            name = f"train/{wnid}/images/{wnid}_{number}.JPEG"
            files[name] = jpeg(1000 * place + number)
    lines = []
    for number in range(val * len(WNIDS)):
        files[f"val/images/val_{number}.JPEG"] = jpeg(9000 + number)
        lines.append(f"val_{number}.JPEG\t{WNIDS[number % 3]}\t0\t0\t9\t9\n")
    files[ANNOTATIONS] = "".join(lines).encode()
    return files


def zipped(files: dict[str, bytes], root: str = "tiny-imagenet-200/") -> bytes:
    """Return the files as a zip, stored below a root folder."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{root}{name}", data)
    return memory.getvalue()


def write_zip(path: Path, files: dict[str, bytes], **options: str) -> Path:
    """Write the files as a zip."""
    path.write_bytes(zipped(files, **options))
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    """Write the files as a folder."""
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def write(folder: Path, kind: str, files: dict[str, bytes]) -> Path:
    """Write the files as a "zip" or as a "folder" in `folder`."""
    if kind == "zip":
        return write_zip(folder / "pictures.zip", files)
    return write_folder(folder / "pictures", files)
