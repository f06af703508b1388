"""Several sweeps in the order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pytest_amlnn import plans
from pytest_amlnn.errors import UserError
from pytest_amlnn.report.sweep import Sweep, read


class HistoryError(UserError):
    """Sweeps that make no history; the message says which, and why."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A sweep, and when it was."""

    name: str
    """Of its run directory."""
    begun: datetime | None
    """None where neither its plan nor its name says."""
    sweep: Sweep

    @property
    def commit(self) -> str:
        """The first digits of its commit, `+` where files were changed; "" without one."""
        return plans.commit_of(self.sweep.plan)

    @property
    def label(self) -> str:
        """Name and commit, for a sentence."""
        return f"{self.name} (commit {self.commit})" if self.commit else self.name

    @property
    def profile(self) -> str:
        """How much is trained: cases of other profiles are others."""
        return str(self.sweep.plan["options"]["profile"])


def read_all(folders: Sequence[Path]) -> list[Moment]:
    """Read run directories, in order of time; HistoryError names all that cannot be.

    Where one does not say when it was begun, they stay in the order in which they are given.
    """
    refuse_twice(folders)
    found, wrong = list[Moment](), list[str]()
    for folder in folders:
        try:
            sweep = read(folder)
        except UserError as error:
            said = str(error)
            wrong.append(said if str(folder) in said else f"{folder}: {said}")
        else:
            begun = plans.begun(folder, sweep.plan)
            found.append(Moment(name=folder.resolve().name, begun=begun, sweep=sweep))
    if wrong:
        raise HistoryError("\n".join(wrong))
    refuse_copies(found, folders)
    return in_order(with_own_names(found, folders))


def refuse_twice(folders: Sequence[Path]) -> None:
    """Raise HistoryError where a folder is named twice."""
    seen: dict[Path, Path] = {}
    for folder in folders:
        whole = folder.resolve()
        if whole in seen:
            raise HistoryError(f"{folder} is given twice: name each sweep once")
        seen[whole] = folder


def refuse_copies(found: Sequence[Moment], folders: Sequence[Path]) -> None:
    """Raise HistoryError where two folders hold the same sweep."""
    seen: dict[str, Path] = {}
    for moment, folder in zip(found, folders, strict=True):
        token = str(moment.sweep.plan.get("sweep") or folder)
        if token in seen:
            raise HistoryError(f"{folder} holds the same sweep as {seen[token]}: name one")
        seen[token] = folder


def with_own_names(found: Sequence[Moment], folders: Sequence[Path]) -> list[Moment]:
    """Return sweeps whose names differ: where those of folders do not, by their paths."""
    names = [moment.name for moment in found]
    return [
        moment if names.count(moment.name) == 1 else replace(moment, name=str(folder))
        for moment, folder in zip(found, folders, strict=True)
    ]


def in_order(found: Sequence[Moment]) -> list[Moment]:
    """Return sweeps in order of time if all say when they were, else as they are."""
    times = [moment.begun for moment in found if moment.begun is not None]
    if len(times) < len(found):
        return [*found]
    return [moment for _, moment in sorted(zip(times, found, strict=True), key=lambda p: p[0])]
