"""Thousands of damaged or hostile files: each ends in words, or in what is right."""

from __future__ import annotations

import io
import os
import resource
import shutil
import struct
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from pictures_on_disk import ANNOTATIONS, jpeg, original, write_folder, zipped
from PIL import Image
from safetensors.torch import save
from sweeps import ENDURANCE, rounds

from amlnn_datasets import tiny_imagenet
from amlnn_models import weights
from pytest_amlnn.data import DataError

WHOLE = original(train=2, val=1)
ASKED = {"size": 3, "classes": 3, "validation": 1}
EACH = 100 if ENDURANCE else 30
"""Files that a round damages, each in a way of its own."""
SLOWEST, LARGEST = 10.0, 256 << 20
"""Seconds that one file may take, and bytes that all of a round may add to the memory."""


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


RIGHT = {Path(name).name: pixels_of(data) for name, data in WHOLE.items() if "images" in name}
LABELS = dict(line.split("\t")[:2] for line in WHOLE[ANNOTATIONS].decode().splitlines())


def flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 3, 20))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data))]


def blank(data: bytes, random: Random) -> bytes:
    start = random.randrange(len(data))
    length = random.choice((1, 16, 512, 4096))
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def swap(data: bytes, random: Random) -> bytes:
    a, b = sorted(random.randrange(len(data)) for _ in range(2))
    return data[:a] + data[b:] + data[a:b]


def extreme(data: bytes, random: Random) -> bytes:
    """Write an extreme number where there may be a size or an offset."""
    size = random.choice((2, 4, 8))
    start = random.randrange(len(data) - size)
    number = random.choice(
        (0, 1, (1 << (8 * size)) - 1, 1 << (8 * size - 1), 10 << 8 * size - 8)
    )
    return (
        data[:start]
        + (number % (1 << 8 * size)).to_bytes(size, "little")
        + data[start + size :]
    )


DAMAGE = (flip, cut, blank, swap, extreme)
NAMES = (
    *("../x.JPEG", "/etc/passwd", "C:\\x.JPEG", "train/../../x.JPEG", "Thumbs.db", "README"),
    *("train/n10/images/.x.JPEG", "train/n10/images/x.png", "val/images/x.JPEG", "a/train/b"),
    *("train/n10/images/\u202ex.JPEG", "__MACOSX/._x", "train/n10/images/N10_0.JPEG", "train"),
    *("wnids.txt", "words.txt", "train/n10", "train/n10/images/a/b/c/d/e.JPEG", "\x1b[2J", ""),
)


def renamed(random: Random) -> dict[str, bytes]:
    """Move, double or drop members."""
    files = dict(WHOLE)
    for _ in range(random.choice((1, 1, 3))):
        name = random.choice([*files])
        data = files.pop(name)
        if random.random() < 0.8:
            files[random.choice(NAMES) or name + random.choice(("/", "~", "\n", "x"))] = data
    return files


def rewritten(random: Random) -> dict[str, bytes]:
    """Replace what some file holds: a list in another encoding, another kind of picture."""
    files = dict(WHOLE)
    name = random.choice([*files])
    if name.endswith(".txt"):
        text = files[name].decode() or "x"
        encoding = random.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp500"))
        end = random.choice(("\n", "\r\n", "\r", "\n\n", " \n", "\x85", "\u2028", "\0"))
        files[name] = text.replace("\n", end).encode(encoding, "replace")
    else:
        side = struct.pack(">HH", *(random.choice((1, 63, 60_000, 65_535)) for _ in range(2)))
        start = files[name].index(b"\xff\xc0") + 5
        hostile = files[name][:start] + side + files[name][start + 4 :]
        other = io.BytesIO()
        Image.new("RGB", (64, 64)).save(other, random.choice(("PNG", "GIF", "BMP", "WEBP")))
        damaged = random.choice(DAMAGE)(files[name], random)
        files[name] = random.choice((hostile, other.getvalue(), damaged, b"", b"<html>"))
    return files


def bomb(random: Random) -> bytes:
    """Claim to be larger than is, or be it; overlap; be encrypted; be a link."""
    memory = io.BytesIO(zipped(WHOLE))
    with zipfile.ZipFile(memory, "a") as archive:
        info = zipfile.ZipInfo(f"tiny-imagenet-200/train/n10/images/{random.randrange(9)}.JPEG")
        info.compress_type = random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))
        if random.random() < 0.2:
            info.external_attr = 0o120777 << 16
        archive.writestr(info, bytes(random.choice((0, 1 << 20, 8 << 20))))
    data = bytearray(memory.getvalue())
    entry = data.rindex(b"PK\x01\x02")
    where, what = random.choice(
        ((24, 10 << 28), (24, 1000), (20, 1 << 31), (42, 0), (42, 1 << 30), (8, 1), (10, 12))
    )
    length = 2 if where in {8, 10} else 4
    data[entry + where : entry + where + length] = what.to_bytes(length, "little")
    return bytes(data)


def hostile_zip(random: Random, folder: Path) -> Path:
    path = folder / "pictures.zip"
    kind = random.randrange(4)
    if kind == 0:
        with warnings.catch_warnings(action="ignore"):
            path.write_bytes(zipped(renamed(random)))
    elif kind == 1:
        path.write_bytes(zipped(rewritten(random)))
    elif kind == 2:
        path.write_bytes(bomb(random))
    else:
        path.write_bytes(random.choice(DAMAGE)(zipped(WHOLE), random))
    return path


def hostile_folder(random: Random, folder: Path) -> Path:
    path = write_folder(
        folder / "pictures", rewritten(random) if random.random() < 0.4 else WHOLE
    )
    victim = path / random.choice([*WHOLE])
    victim.unlink()
    match random.randrange(8):
        case 0:
            os.mkfifo(victim)
        case 1:
            victim.symlink_to("/dev/zero")
        case 2:
            victim.symlink_to(victim)
        case 3:
            victim.symlink_to("/nowhere")
        case 4:
            victim.mkdir()
        case 5:
            (victim.parent / "ring").symlink_to(path)
        case 6:
            Path(os.fsdecode(bytes(victim.parent) + b"/\xe9\x1b[2J.JPEG")).write_bytes(jpeg(0))
        case 7:
            victim.write_bytes(bytes(2 << 20))
    return path


def check_pictures(path: Path) -> str:
    """Open an archive; say how that ended, after comparing what it gave."""
    try:
        tiny_imagenet.check(path)
        tiny_imagenet.unavailable(path, **ASKED)
        found = tiny_imagenet.splits(path, **ASKED)
    except DataError as error:
        str(error).encode()  # can be printed
        return "refused"
    for split in (found.train, found.validation, found.test):
        for row, label, name in zip(split.rows, split.targets, split.names, strict=True):
            if name in RIGHT and name in LABELS:
                assert found.classes[label] == LABELS[name]
            name.encode()
            assert split.inputs[row].shape == (64, 64, 3)
    return "opened"


@pytest.mark.parametrize("kind", ["zip", "folder"])
@pytest.mark.parametrize("round", rounds(1, 20, quick=0))
def test_hostile_archives_end_in_words(round, kind, tmp_path, monkeypatch):
    """A changed archive is refused in words or opened, soon and in bounded memory."""
    make, random = {"zip": hostile_zip, "folder": hostile_folder}[kind], Random(round)
    ends: list[str] = []
    monkeypatch.setenv("AMLNN_CACHE", str(tmp_path / "cache"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(EACH):
        place = tmp_path / str(number)
        place.mkdir()
        start = time.monotonic()
        ends.append(check_pictures(make(random, place)))
        assert time.monotonic() - start < SLOWEST
        shutil.rmtree(place)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    print(f"{kind}: {dict(Counter(ends))}, {grown / 1024:.0f} MiB more")
    assert grown * 1024 < LARGEST
    assert {*ends} == {"refused", "opened"}


@pytest.mark.parametrize("round", rounds(1, 20, quick=0))
def test_damaged_caches_are_not_believed(round, tmp_path, monkeypatch):
    """Whatever is done to any file of the cache, pictures and labels are the archive's."""
    monkeypatch.setenv("AMLNN_CACHE", str(tmp_path / "cache"))
    random, done = Random(round), Counter()
    path = tmp_path / "pictures.zip"
    path.write_bytes(zipped(WHOLE))
    for _ in range(EACH // 4):
        found = tiny_imagenet.splits(path, **ASKED)
        for split in (found.train, found.validation, found.test):
            for row, label, name in zip(split.rows, split.targets, split.names, strict=True):
                assert np.array_equal(split.inputs[row], RIGHT[name])
                assert found.classes[label] == (LABELS.get(name) or name.partition("_")[0])
        files = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
        files = [file for file in files if file.name != "build.lock"]
        victim = random.choice(files)
        status, data = victim.stat(), victim.read_bytes()
        harm = random.choice((*DAMAGE, "link", "folder", "gone", "pipe"))
        done[str(getattr(harm, "__name__", harm))] += 1
        if callable(harm) and data:
            with victim.open("r+b") as file:
                file.write(harm(data, random) if len(data) > 8 else b"")
                file.truncate()
            os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
        else:
            victim.unlink()
            match harm:
                case "link":
                    victim.symlink_to("/dev/zero")
                case "folder":
                    victim.mkdir()
                case "pipe":
                    os.mkfifo(victim)
    print(f"cache: {dict(done)}")


STATE = {"a.weight": torch.ones(4, 3), "b.running_var": torch.ones(4)}


def hostile_weights(random: Random, folder: Path) -> Path:
    state = dict(STATE)
    odd = (
        *(torch.ones(4, 3).double(), torch.ones(4, 3).half(), torch.ones(4, 3).to(torch.int8)),
        *(torch.ones(4, 3) * float("nan"), torch.ones(1, 1).expand(4, 3), torch.ones(0, 3)),
        *(torch.ones(4, 3).to_sparse(), torch.ones(4, 3, device="meta"), torch.ones(4, 3) > 0),
        *(torch.ones(1).expand(1 << 40, 3), torch.ones(4, 3) * 1j, {"x": 1}, "text", None),
        *(torch.quantize_per_tensor(torch.ones(4, 3), 0.1, 0, torch.qint8), [torch.ones(1)]),
    )
    if random.random() < 0.5:
        state[random.choice(("a.weight", "module.a.weight", "c", "\x1b"))] = random.choice(odd)
    end = random.choice((".pth", ".safetensors"))
    if end == ".safetensors":
        data = save(STATE)
    else:
        memory = io.BytesIO()
        torch.save(state, memory, _use_new_zipfile_serialization=random.random() < 0.7)
        data = memory.getvalue()
    if random.random() < 0.7:
        data = random.choice(DAMAGE)(data, random)
    path = folder / f"net{end}"
    path.write_bytes(data)
    return path


class Net(torch.nn.Module):
    """As large as the weights above."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Linear(3, 4, bias=False)
        self.b = torch.nn.Module()
        self.b.register_buffer("running_var", torch.ones(4))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("round", rounds(1, 20, quick=0))
def test_hostile_weights_end_in_words(round, tmp_path):
    """A file of weights changed in any way is refused in words, or loads finite float32."""
    random, ends = Random(round), []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(EACH):
        path = hostile_weights(random, tmp_path)
        start = time.monotonic()
        try:
            net = Net()
            net.load_state_dict(weights.match_names(weights.read(path), net, "net", path))
            assert all(tensor.isfinite().all() for tensor in net.state_dict().values())
            ends.append("loaded")
        except DataError as error:
            ends.append("refused" if "weights_only" not in str(error) else "advised")
        assert time.monotonic() - start < SLOWEST
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    print(f"weights: {dict(Counter(ends))}, {grown / 1024:.0f} MiB more")
    assert grown * 1024 < LARGEST
    assert {*ends} == {"refused", "loaded"}
