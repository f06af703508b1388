"""What is trained, and how it is listed as a case."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Literal

from pytest_amlnn.data import Source, name_of
from pytest_amlnn.errors import UserError
from pytest_amlnn.fields import NAME, Bound, check_field, check_fields
from pytest_amlnn.metrics import Metric, Paired
from pytest_amlnn.recipe import Recipe, with_changes
from pytest_amlnn.search import Search
from pytest_amlnn.tasks import Task

if TYPE_CHECKING:
    from torch import nn

Profile = Literal["quick", "seed", "lab", "full"]


class CaseError(UserError):
    """A case that cannot be trained; the message says what of its net to change."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a run's numbers follow from, besides its seed: plain data, compared as a whole."""

    model: str
    build: Callable[..., nn.Module]
    """Builds the net, with so many outputs, from torch's global random state. One that starts
    from trained weights also takes what the task says (`Task.builder_arguments`)."""
    recipe: Recipe
    task: Task
    data: Source
    start: str = "random"
    """Where the weights come from: `random`, or a word such as `imagenet`."""

    def __repr__(self) -> str:
        """Return what tells it from others, in the same words in every process."""
        return (
            f"{type(self).__qualname__}({self.model!r}, build={name_of(self.build)},"
            f" task={self.task.name!r}, data={self.data.name!r}, start={self.start!r},"
            f" epochs={self.recipe.epochs})"
        )

    def __post_init__(self) -> None:
        """Refuse what can be neither trained nor recorded."""
        of = f"training {self.model}"
        for name in ("model", "start"):
            check_field(of, name, getattr(self, name), str, NAME)
        check_field(of, "build", self.build, Any, BUILDER)
        check_field(of, "recipe", self.recipe, Recipe)
        check_field(of, "task", self.task, Any, TASK)
        check_field(of, "data", self.data, Source, SOURCE)
        for name in ("metrics", "columns"):
            found = getattr(self.task, name, None)
            check_field(of, f"task.{name}", found, tuple[Metric | Paired, ...])


BUILDER: Bound = (
    "a function that builds a new net with so many outputs, as build(10)",
    # a net can be called as well, and would be trained on by every seed
    lambda build: callable(build) and (isinstance(build, type) or not is_net(build)),
)
TASK: Bound = (
    "an object of a class that derives from Task, as CLASSIFICATION, and not the class",
    lambda task: Task in type(task).__mro__,
)
SOURCE: Bound = ("a Source, as in Source(name='digits', open=splits)", lambda data: True)


def is_net(value: object) -> bool:
    """Return whether a value is a net of torch, which is not imported for that."""
    return any(kind.__module__ == "torch.nn.modules.module" for kind in type(value).__mro__)


@dataclass(frozen=True, kw_only=True)
class Improvement:
    """What a case changes of another one, its base, with which it is compared seed by seed."""

    name: str
    """Of the change, as in `epochs_x2`."""
    base: Case
    advice: str = ""
    """Which advice it puts to the test, in the words of who gave it."""
    search: Search | None = None
    """How the number is found that it changes; None where the case has it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be compared or recorded."""
        of = f"improvement {self.name}"
        check_field(of, "name", self.name, str, NAME)
        check_field(of, "base", self.base, Any, BASE)
        check_field(of, "advice", self.advice, str)
        check_field(of, "search", self.search, Search | None)


BASE: Bound = (
    "a case that is no improvement itself, as CASES[0]",
    lambda base: isinstance(base, Case) and base.improvement is None,
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A training, and how it is listed: one pytest item."""

    training: Training
    size: int
    """Training examples, or points of a series."""
    label: str
    """The text between the brackets of the case id."""
    family: str
    """What `test_<family>` benchmarks select: `cnn`, `rnn`, or one of your own."""
    profile: str = "quick"
    """One of the words of `Profile`."""
    variant: str = ""
    """What tells it from the case with the same model, start and size."""
    repeats: int = 3
    """Seeds, where --amlnn-repeats does not say."""
    only_with: str = ""
    """Collected only where --amlnn-data names this dataset."""
    only_without: str = ""
    """Collected only where --amlnn-data does not name this dataset."""
    flops: float = 1.0
    """Operations of one example's forward pass, roughly: parallel sweeps begin with the
    cases that take longest."""
    seeds_at_once: bool = False
    """Train all seeds at once on a CPU: the net's class computes several nets in fewer calls,
    `forward_many(nets, inputs)`, and draws no random numbers."""
    cuda_graphs: bool = False
    """Capture the training passes as graphs on a CUDA device."""
    reference: Mapping[str, float] = field(default_factory=dict)
    """Metrics that another report gives for the same model and size, to stand beside ours."""
    improvement: Improvement | None = None
    """Of a case that is compared with its base, which is trained first, with the same seeds."""

    def __post_init__(self) -> None:
        """Refuse what can be neither listed nor recorded."""
        check_fields(self, f"case {self.label}", CASE_BOUNDS)
        check_field(f"case {self.label}", "profile", self.profile, Profile)

    @property
    def cost(self) -> float:
        """Operations of all forward passes that the budget allows for."""
        return self.flops * self.size * self.training.recipe.epochs

    @property
    def group(self) -> str:
        """Name of the table of times that it stands in: same data, same size."""
        return f"{self.family} {self.training.data.name} {self.size}"

    @property
    def id(self) -> str:
        """The id of its item in a test function that is named after its family."""
        return f"test_{self.family}[{self.label}]"

    def __str__(self) -> str:
        return self.label

    def __repr__(self) -> str:
        """Return family, profile and label: histories of tests tell parameters by this text."""
        return f"{type(self).__qualname__}({self.family}, {self.profile}, {self.label!r})"


CASE_BOUNDS: dict[str, Bound] = {
    **dict.fromkeys(("label", "family"), NAME),
    **{name: ("1 or more", lambda count: count >= 1) for name in ("size", "repeats")},
    "flops": ("0 or more", lambda count: count >= 0),
    "improvement": ("an Improvement, as variant_of makes one", lambda value: True),
}


def variant_of(
    base: Case,
    name: str,
    *,
    training: Mapping[str, Any] = MappingProxyType({}),
    recipe: Mapping[str, Any] = MappingProxyType({}),
    build: Mapping[str, Any] = MappingProxyType({}),
    data: Mapping[str, Any] = MappingProxyType({}),
    advice: str = "",
    search: Search | None = None,
    **listing: Any,
) -> Case:
    """Return the case that is `base` but for what is named: an improvement to be measured.

    `training` holds fields of `Training`, as another model with its builder, `recipe` those of
    the recipe or its transforms, `build` and `data` arguments of the builder and of what opens
    the data, `listing` fields of `Case`. Raises ValueError for what cannot be trained,
    TypeError for a field that there is not.
    """
    other = replace(base.training, **training)
    source = other.data
    changed = replace(
        other,
        recipe=with_changes(other.recipe, **recipe),
        build=partial(other.build, **build) if build else other.build,
        data=replace(source, arguments={**source.arguments, **data}),
    )
    fields = {"family": "improvement", "label": f"{name}-{base.label}", "reference": {}}
    return replace(
        base,
        training=changed,
        improvement=Improvement(name=name, base=base, advice=advice, search=search),
        **{**fields, **listing},
    )


def discover(package: ModuleType) -> list[Case]:
    """Return the `CASES` of every module in a package, sorted, for all profiles.

    The order is the same in every process, as pytest-xdist needs it.
    """
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    modules = [import_module(f"{package.__name__}.{name}") for name in names]
    found = [case for module in modules for case in getattr(module, "CASES", ())]
    return sorted(found, key=lambda c: (c.family, c.training.model, c.size, c.label))


def select(
    cases: Iterable[Case], *, family: str, profile: str, named: Collection[str]
) -> tuple[list[Case], list[Case]]:
    """Return the cases to collect, and all that exist in this family and profile.

    `named` are the datasets that --amlnn-data names.
    """
    known = [case for case in cases if (case.family, case.profile) == (family, profile)]
    chosen = [
        case
        for case in known
        if (not case.only_with or case.only_with in named) and case.only_without not in named
    ]
    return chosen, known
