"""The digest of the code that a function reaches, in packages written for the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.metadata import version
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch.nn import functional

from pytest_amlnn import CLASSIFICATION
from pytest_amlnn.reached_code import READ, code_of

MODELS = '''
    """Nets of somebody else."""
    import HERE.layers as parts
    from HERE.sizes import WIDTH

    DEPTH = 3


    def build(outputs):
        """Build a net."""
        return helper(parts.Layer(outputs, WIDTH))


    def helper(net):
        return [net] * DEPTH


    def unrelated():
        return 1
'''
LAYERS = '''
    class Layer:
        """A layer."""

        def __init__(self, outputs, width):
            self.size = outputs * width


    def unrelated():
        return 2
'''
SIZES = "WIDTH = 8\nHEIGHT = 9\n"
TICKS = count(1)


@dataclass
class Package:
    """A package of local modules, whose files can be written anew."""

    folder: Path
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name that it is imported by, other than those of all other tests."""
        return self.folder.name

    def write(self, **texts: str) -> Package:
        """Write modules by name; HERE stands for the package."""
        for name, text in texts.items():
            path = self.folder / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.texts[name] = dedent(text)
            path.write_text(self.texts[name].replace("HERE", self.name))
            os.utime(path, ns=(0, next(TICKS) * 10**9))  # file systems tell no microseconds
        return self

    def edit(self, name: str, before: str, after: str) -> None:
        """Replace a part of a module, which has to be there once."""
        assert self.texts[name].count(before) == 1
        self.write(**{name: self.texts[name].replace(before, after)})

    def __getattr__(self, name: str) -> Any:
        """Give a function of the module `models`."""
        return getattr(import_module(f"{self.name}.models"), name)

    def code(self, *roots: Any) -> dict[str, str]:
        """Give the digests of what `build` or other roots reach, by module."""
        READ.clear()  # as in a process that begins now
        found = code_of(roots or [self.build])
        return {name.removeprefix(f"{self.name}."): text for name, text in found.items()}


@pytest.fixture
def package(tmp_path, monkeypatch) -> Package:
    """An empty package."""
    folder = tmp_path / f"written_for_{tmp_path.name}"
    monkeypatch.syspath_prepend(tmp_path)
    return Package(folder).write(__init__="")


@pytest.fixture
def whole(package) -> Package:
    """A package of three modules, of which `models.build` reaches a part."""
    return package.write(models=MODELS, layers=LAYERS, sizes=SIZES)


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Give the modules whose digests differ."""
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def test_digest_is_one_of_each_module(whole):
    """Each module that is reached has a digest, and none that is not."""
    whole.write(alone="VALUE = 1")
    found = whole.code()

    assert found.keys() == {"models", "layers", "sizes"}
    assert {len(digest) for digest in found.values()} == {64}


@pytest.mark.parametrize(
    ("module", "before", "after"),
    [
        ("models", "parts.Layer(outputs, WIDTH)", "parts.Layer(outputs, 2 * WIDTH)"),
        ("models", "[net] * DEPTH", "[net, net]"),
        ("models", "DEPTH = 3", "DEPTH = 4"),
        ("models", "def helper(net):", "def helper(net, *others):"),
        ("layers", "outputs * width", "outputs + width"),
        ("layers", "class Layer:", "class Layer(list):"),
        ("sizes", "WIDTH = 8", "WIDTH = 16"),
        ("sizes", "WIDTH = 8\n", "WIDTH = 8\nWIDTH += 1\n"),
        ("sizes", "WIDTH = 8\n", "WIDTH = 8\nprint(WIDTH)\n"),
    ],
    ids=[
        *("builder", "helper", "constant", "signature", "class elsewhere", "base"),
        *("constant elsewhere", "augmented", "statement"),
    ],
)
def test_change_of_what_is_reached_changes_its_module_alone(whole, module, before, after):
    """A builder, what it calls, and the constants that they use count where they stand."""
    then = whole.code()
    whole.edit(module, before, after)

    assert changed(then, whole.code()) == {module}


@pytest.mark.parametrize(
    ("module", "before", "after"),
    [
        ("models", '"""Build a net."""', '"""Build another net."""'),
        ("models", '"""Nets of somebody else."""', ""),
        ("models", "[net] * DEPTH", "[net] * DEPTH  # deep"),
        ("models", "return [net] * DEPTH", "return (\n        [net]\n        * DEPTH\n    )"),
        ("models", "return 1", "return 11"),
        ("models", "DEPTH = 3\n", "DEPTH = 3\n\ndef test_build():\n    assert build(1)\n"),
        ("models", "DEPTH = 3\n", "DEPTH = 3\n\nif __name__ == '__main__':\n    build(1)\n"),
        ("layers", '"""A layer."""', '"""The layer."""'),
        ("layers", "return 2", "return 22"),
        ("layers", "class Layer", "def another():\n    return 3\n\n\nclass Layer"),
        ("sizes", "HEIGHT = 9", "HEIGHT = 10"),
        ("sizes", "HEIGHT = 9", "HEIGHT = 9\nBREADTH = 10"),
    ],
    ids=[
        *("docstring", "docstring of module", "comment", "layout", "unrelated", "test"),
        *("script", "docstring of class", "unrelated elsewhere", "added elsewhere"),
        *("constant", "constant added"),
    ],
)
def test_change_of_nothing_that_is_reached_changes_nothing(whole, module, before, after):
    """Comments, docstrings, layout, and definitions that nothing leads to do not count."""
    then = whole.code()
    whole.edit(module, before, after)

    assert whole.code() == then


USES = {
    "as": "import HERE.layers as c\ndef build(n): return c.Layer(n)",
    "dotted": "import HERE.layers\ndef build(n): return HERE.layers.Layer(n)",
    "from": "from HERE.layers import Layer\ndef build(n): return Layer(n)",
    "renamed": "from HERE.layers import Layer as L\ndef build(n): return L(n)",
    "module": "from HERE import layers\ndef build(n): return layers.Layer(n)",
    "relative": "from .layers import Layer\ndef build(n): return Layer(n)",
    "package": "from . import layers\ndef build(n): return layers.Layer(n)",
    "inside": "def build(n):\n    from HERE.layers import Layer\n    return Layer(n)",
    "star": "from HERE.layers import *\ndef build(n): return Layer(n)",
    "attempt": "try:\n    from HERE.layers import Layer\nexcept ImportError:\n"
    "    from HERE.sizes import WIDTH as Layer\ndef build(n): return Layer(n)",
    "two names": "def other():\n    from HERE.layers import Layer as x\n    return x\n"
    "def build(n):\n    from HERE.sizes import WIDTH as x\n    return x, other()",
    "exported": "from HERE.exporting import Layer\ndef build(n): return Layer(n)",
    "exported module": "import HERE.exporting as e\ndef build(n): return e.Layer(n)",
    "star exported": "from HERE.exporting import *\ndef build(n): return Layer(n)",
    "starred export": "from HERE.starring import Layer\ndef build(n): return Layer(n)",
    "base": "from HERE.layers import Layer\nclass Own(Layer): pass\ndef build(n): return Own",
    "method": "from HERE.layers import Layer\nclass Own:\n    def f(self): return Layer(1)\n"
    "def build(n): return Own()",
    "decorator": "import HERE.layers as c\ndef d(f): return c.Layer and f\n@d\n"
    "def build(n): return n",
    "default": "from HERE.layers import Layer\ndef build(n, kind=Layer): return kind(n)",
    "constant": "from HERE.layers import Layer\nKINDS = [Layer]\ndef build(n): return KINDS",
    "unpacked": "from HERE.layers import Layer\nKIND, N = Layer, 1\ndef build(n): return KIND",
    "annotated": "from HERE.layers import Layer\nKIND: type = Layer\ndef build(n): return KIND",
    "late": "import HERE.layers as c\nSIZES = {}\nSIZES['a'] = c.Layer\n"
    "def build(n): return SIZES['a']",
    "condition": "import HERE.layers as c\nif c.Layer:\n    KIND = c.Layer\n"
    "def build(n): return KIND",
    "loop": "import HERE.layers as c\nfor KIND in [c.Layer]: pass\ndef build(n): return KIND",
    "whole module": "import HERE.layers as c\ndef build(n): return vars(c)['Layer'](n)",
    "whole package": "import HERE.exporting as e\ndef build(n): return vars(e)['Layer'](n)",
}


@pytest.mark.parametrize("text", USES.values(), ids=USES.keys())
def test_names_are_followed_however_they_are_imported(package, text):
    """A class in another local module counts, whichever way its name takes to the builder."""
    package.write(layers=LAYERS, sizes=SIZES)
    package.write(exporting="from HERE.layers import Layer", starring="from .layers import *")
    package.write(models=text)
    then = package.code()
    package.edit("layers", "outputs * width", "outputs + width")

    assert changed(then, package.code()) == {"layers"}


@pytest.mark.parametrize("text", [USES[name] for name in ("as", "dotted", "module", "star")])
def test_imported_module_counts_by_the_names_that_are_used(package, text):
    """What is not used of an imported module does not count, though it is imported whole."""
    package.write(layers=LAYERS, models=text)
    then = package.code()
    package.edit("layers", "return 2", "return 22")

    assert package.code() == then


def test_module_in_a_folder_below_is_followed(package):
    """Names are followed through packages, and a package's own file counts where it is used."""
    package.write(below__in____init__="SIZE = 1", below__in__deep="def layer(): return 1")
    package.write(models="import HERE.below\ndef build(n): return HERE.below.deep.layer()")
    import_module(f"{package.name}.below.deep")
    then = package.code()
    package.edit("below__in__deep", "return 1", "return 2")

    assert changed(then, package.code()) == {"below.deep"}


def test_nothing_is_imported_to_be_read(package):
    """A module that the builder imports when it is called is read, and not run before that."""
    package.write(
        models="def build(n):\n    from HERE.heavy import net\n    return net(n)",
        heavy="raise SystemExit\ndef net(n): return n",
    )

    assert package.code().keys() == {"models", "heavy"}
    assert f"{package.name}.heavy" not in sys.modules


def test_modules_that_need_each_other_are_read_once(package):
    """Names that lead back to where they came from end there."""
    package.write(
        models="def build(n):\n    from HERE.layers import layer\n    return layer(n)",
        layers="def layer(n):\n    from HERE.models import build\n    return n or build(n)",
    )

    assert package.code().keys() == {"models", "layers"}


PATCHES = {
    "method": "def forward(self): return 1\nlayers.Layer.forward = forward",
    "anonymous method": "layers.Layer.forward = lambda self: 1",
    "class method": "layers.Layer.make = classmethod(lambda kind: 1)",
    "property": "layers.Layer.size = property(lambda self: 1)",
    "class": "class Layer:\n    size = 1\nlayers.Layer = Layer",
    "function": "def helper(net): return 1\nmodels.helper = helper",
    "wrapped": "def wrap(f):\n    def call(*given): return f(*given) or 1\n    return call\n"
    "models.helper = wrap(models.helper)",
    "function of torch": "def relu(x): return x * 1\nfunctional.relu = relu",
    "method of torch": "def forward(self, x): return x * 1\nLinear.forward = forward",
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES.keys())
def test_what_another_module_replaced_counts(package, patch, monkeypatch):
    """A function or method that was put in the place of another one counts by its own code."""
    monkeypatch.setattr(functional, "relu", functional.relu)  # restored in the end
    monkeypatch.setattr(torch.nn.Linear, "forward", torch.nn.Linear.forward)
    package.write(
        layers=LAYERS,
        models="import HERE.layers as parts\nfrom torch.nn import Linear\n"
        "from torch.nn import functional\ndef helper(net): return net\n"
        "def build(n): return helper(parts.Layer(n, Linear(n, n), functional.relu))",
    )
    assert package.code().keys() >= {"models", "layers"}
    package.write(
        patches="from torch.nn import Linear, functional\n"
        f"from HERE import layers, models\n{patch}"
    )
    import_module(f"{package.name}.patches")
    then = package.code()
    package.write(patches=f"{package.texts['patches'].replace('1', '2')}")

    assert "patches" in then
    assert changed(then, package.code()) == {"patches"}


@pytest.mark.parametrize(
    ("place", "value"),
    [("WIDTH", 9), ("WIDTH", 8.0), ("WIDTH", True), ("SIDES", (8, 9)), ("Size.width", 9)],
)
def test_number_that_another_module_set_counts(package, monkeypatch, place, value):
    """A number counts as it is, though its module says otherwise."""
    package.write(
        sizes="WIDTH: int = 8\nSIDES = (8, 8)\nclass Size:\n    width = 8",
        models="from HERE import sizes\n"
        "def build(n): return sizes.WIDTH, sizes.SIDES, sizes.Size.width",
    )
    unloaded = package.code()
    then = package.code(package.build)
    monkeypatch.setattr(f"{package.name}.sizes.{place}", value)

    assert then == unloaded
    assert changed(then, package.code()) == {"sizes"}


def test_numbers_that_a_module_counts_in_do_not_count(package):
    """How many nets were built before in this process makes no other training."""
    package.write(
        models="BUILT = 0\nclass Net:\n    count = 0\n    def __init__(self):\n"
        "        Net.count += 1\n"
        "def build(n):\n    global BUILT\n    BUILT += 1\n    return Net()"
    )
    then = package.code()
    package.build(1)

    assert (package.BUILT, package.Net.count) == (1, 1)
    assert package.code() == then


@pytest.mark.slow
def test_digest_does_not_follow_from_what_is_loaded():
    """A module that is imported late has one digest, before it is loaded and afterwards."""
    ask = (
        "import sys; from pytest_amlnn import FORECAST, CLASSIFICATION\n"
        "from pytest_amlnn.reached_code import code_of\n"
        "kinds = [type(CLASSIFICATION), type(FORECAST)]\n"
        "before, late = code_of(kinds), 'pytest_amlnn.tasks.pictures'\n"
        "print(late in before, late in sys.modules)\n"
        "import torch, pytest_amlnn.tasks.pictures\n"
        "print(before == code_of(kinds))"
    )
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)

    assert said.stdout.split() == ["True", "False", "True"], said.stderr


def test_object_that_answers_to_no_name_is_left_alone(package):
    """What a module names, such as `pytest.mark`, is not asked for what it may not have."""
    package.write(
        models="class Strict:\n    def __getattr__(self, name): raise SystemExit(name)\n"
        "STRICT = Strict()\ndef build(n): return STRICT"
    )

    assert package.code().keys() == {"models"}


def test_anonymous_function_counts_by_its_text(package):
    """A lambda counts, and what it names; tests and lambdas that stand beside it do not."""
    package.write(
        sizes="WIDTH = 1\n",
        models="from .sizes import *\nSIZE = 2\ndef make(n): return n\n"
        "build = [lambda n: (make(n.real), 1), lambda n: 5]\n"
        "def test_it(): return 1",
    )
    first = package.build[0]
    then = package.code(first)
    package.edit("models", "return 1", "return 2")
    package.edit("models", "SIZE = 2", "SIZE = 3")
    package.edit("models", "n: 5", "n: 6")

    assert changed(then, package.code(first)) == set()

    package.edit("models", "return n", "return -n")

    assert changed(then, package.code(first)) == {"models"}

    package.edit("models", "return -n", "return n")
    package.edit("models", ", 1)", ", 3)")

    assert changed(then, package.code(first)) == {"models"}


REGISTRIES = {
    "a dict": "KNOWN = {}\ndef register(one): KNOWN[one.__name__] = one; return one\n",
    "an object": "class Registry:\n    def __init__(self): self.known = {}\n"
    "    def __call__(self, one): self.known[one.__name__] = one; return one\n"
    "KNOWN = register = Registry()\n",
    "a class": "class KNOWN:\n    known = []\ndef register(one): KNOWN.known.append(one)\n",
}


@pytest.mark.parametrize("registry", REGISTRIES.values(), ids=[*REGISTRIES])
def test_registered_function_counts(package, registry):
    """A function that only a decorator put into a registry counts where that is reached."""
    package.write(
        models=f"{registry}@register\ndef relu(x): return 1\ndef build(n): return KNOWN"
    )
    package.build(1)
    then = package.code()
    package.edit("models", "return 1", "return 2")

    assert changed(then, package.code()) == {"models"}


def test_method_counts_with_its_class(package):
    """Of a method given as a builder the class counts, and what that reaches."""
    package.write(layers=LAYERS)
    package.write(
        models="from .layers import Layer\nclass Net:\n    def build(self): return Layer"
    )
    net = package.Net()

    assert package.code(net.build).keys() == {"models", "layers"}
    assert package.code(net.build) == package.code(package.Net)


def test_order_of_roots_does_not_matter(whole):
    """Several roots reach what each of them reaches, in whatever order."""
    roots = [whole.build, whole.unrelated]

    assert whole.code(*roots) == whole.code(*reversed(roots))
    assert changed(whole.code(), whole.code(*roots)) == {"models"}


def test_order_of_definitions_does_not_matter(package):
    """Definitions that change places in their file are the same code."""
    first, second = "def build(n): return helper(n)\n", "def helper(n): return n\n"
    package.write(models=first + second)
    then = package.code()
    package.write(models=second + first)

    assert package.code() == then


def test_installed_packages_count_by_their_version(package):
    """What is installed is not read: its version stands for it, by the name pip knows."""
    package.write(
        models="import torch, timm.layers\nfrom PIL import Image\n"
        "def build(n): return torch.nn.Linear(n), timm.layers.DropPath(), Image"
    )
    found = package.code()
    packages = {name: found[name] for name in found if name != "models"}

    assert packages == {
        name: f"version {version(name)}" for name in ("torch", "timm", "pillow")
    }


def test_python_itself_and_the_engine_do_not_count(package):
    """Python's version is on record elsewhere, and the engine's own code is no training's."""
    package.write(
        models="import math, os.path\nfrom pytest_amlnn import Recipe, steps\n"
        "def build(n): return math.sqrt(n), os.path.join, Recipe, steps.rate, len"
    )

    assert package.code().keys() == {"models"}


def test_tasks_count():
    """A loss and a score are part of what is trained, so their modules are followed."""
    found = code_of([type(CLASSIFICATION)])

    assert found.keys() >= {
        "pytest_amlnn.tasks",
        "pytest_amlnn.tasks.classification",
        "pytest_amlnn.tasks.pictures",
    }
    assert "pytest_amlnn.tasks.forecast" not in found
    assert not [name for name in found if name in ("pytest_amlnn", "pytest_amlnn.steps")]


@pytest.mark.parametrize("root", [len, list, partial, [].append, Path.exists])
def test_what_has_no_code_of_ours_has_no_digest(root):
    """Functions and classes of Python itself are named by the record, and not read."""
    assert code_of([root]) == {}


def test_code_is_that_which_is_loaded(package):
    """A file that is edited while its module is in use changes no digest in this process."""
    package.write(models="def build(outputs):\n    return outputs\n")
    before = package.code()
    package.edit("models", "return outputs", "return outputs + 1")
    during = code_of([package.build])

    assert {*during.values()} == {*before.values()}
    assert package.code() != before
