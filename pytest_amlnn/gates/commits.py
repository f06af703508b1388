"""Two commits of a repository, checked out side by side, each with its own code in front."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pytest_amlnn.errors import UserError

OF_CI = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")
"""Variables by which a side would report to a CI system as if it were the whole."""


class SideError(UserError):
    """Two commits that cannot be compared; the message says which and why."""


def commit_of(name: str) -> str:
    """Return the full name of a commit; SideError where there is none in this repository."""
    found = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", check=False)
    if found:
        return found
    shallow = git("rev-parse", "--is-shallow-repository", check=False) == "true"
    remedy = "; this clone is shallow: git fetch --unshallow" if shallow else ""
    raise SideError(f"{name} is no commit of this repository{remedy}")


def git(*arguments: str, check: bool = True) -> str:
    """Return what git prints; SideError where it fails, or is not there."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    except OSError as error:
        raise SideError(f"git cannot be run: {error.strerror}") from error
    if done.returncode and check:
        raise SideError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return "" if done.returncode else done.stdout.strip()


def top_folder() -> Path:
    """Return the repository's folder; SideError where there is no repository."""
    found = git("rev-parse", "--show-toplevel", check=False)
    if not found:
        raise SideError(f"{Path.cwd()} is in no git repository")
    return Path(found)


def notes(base: str, head: str) -> list[str]:
    """Say what a reader should know of the two commits before anything is checked out.

    Raises SideError where there are changes that neither side would have.
    """
    changed = git("diff", "--name-only", "HEAD").splitlines()
    if changed:
        raise SideError(
            f"{len(changed)} changed file{'s' * (len(changed) > 1)} ({changed[0]}) in no"
            " commit, so on neither side: commit them first"
        )
    if base == head:
        return ["both sides are the same commit: what differs is chance"]
    meet = git("merge-base", base, head, check=False)
    if meet == base:
        return []
    if not meet:
        return [f"{base[:12]} and {head[:12]} have no commit in common"]
    count = git("rev-list", "--count", f"{meet}..{base}")
    return [
        f"{base[:12]} is no ancestor of {head[:12]}: its {count} commits since"
        f" {meet[:12]} count as well; amlnn ab {meet[:12]} leaves them out"
    ]


# checking out


@contextmanager
def checked_out(commits: Mapping[str, str]) -> Iterator[dict[str, Path]]:
    """Check out both commits, and leave nothing behind."""
    top = top_folder()
    with tempfile.TemporaryDirectory(prefix="amlnn-ab-", ignore_cleanup_errors=True) as place:
        trees = {side: Path(place) / side for side in commits}
        try:
            for side, tree in trees.items():
                git(
                    "-C",
                    str(top),
                    "worktree",
                    "add",
                    "--detach",
                    str(tree),
                    commits[side],
                )
            yield trees
        finally:
            for tree in trees.values():
                git("-C", str(top), "worktree", "remove", "--force", str(tree), check=False)


def environment_of(tree: Path, top: Path) -> dict[str, str]:
    """Return the environment in which a checkout's code is found before any other.

    Projects that are installed from this repository are installed anew from the checkout, into
    a folder of its own; any other is found where pytest is started.
    """
    places = [tree, *([tree / "src"] if (tree / "src").is_dir() else [])]
    projects = [name for name in installed_from(top) if (tree / name).is_dir()]
    site = tree.with_name(f"{tree.name}-site")
    for project in projects:
        install(tree / project, site)
    if projects:
        places.insert(0, site)
    given = [Path(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    theirs = [tree / p.relative_to(top) if p.is_relative_to(top) else p for p in given]
    paths = [*map(str, places), *map(str, theirs)]
    kept = {name: value for name, value in os.environ.items() if name not in OF_CI}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def installed_from(top: Path) -> list[Path]:
    """Return the projects of a repository that this environment has, as folders below it.

    A wheel that was built within a project is that project's.
    """
    found: set[Path] = set()
    for one in distributions():
        text, url = one.read_text("direct_url.json"), ""
        with suppress(ValueError, AttributeError):
            url = str(json.loads(text or "{}").get("url", ""))
        place = Path(unquote(urlsplit(url).path)).resolve()
        if url.startswith("file:") and place.is_relative_to(top):
            found |= {place} if place.is_dir() else {*projects_above(place, top)[:1]}
    return sorted(folder.relative_to(top) for folder in found)


def projects_above(wheel: Path, top: Path) -> list[Path]:
    """Return the projects that a wheel lies in, not above `top`, the innermost first."""
    folders = [folder for folder in wheel.parents if folder.is_relative_to(top)]
    return [folder for folder in folders if (folder / "pyproject.toml").is_file()]


def install(tree: Path, site: Path) -> None:
    """Install a checkout into a folder, without what it depends on; raises SideError."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--target", str(site), str(tree)]
    done = subprocess.run([*command, "--no-build-isolation"], capture_output=True, text=True)
    if done.returncode:
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["pip said nothing"]
        raise SideError(f"{tree.name} cannot be installed: {said[-1]}")
