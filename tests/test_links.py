"""What lies outside of a run directory stays as it is, whatever lies in the run directory."""

from __future__ import annotations

import os
import shutil
import socket
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from changed_records import ID, assert_reported, assert_resumed, job, quickly, swept, tree
from hypothesis import given
from hypothesis import strategies as st
from small_runs import small_run

from pytest_amlnn import disk, store
from pytest_amlnn.disk import PART, DiskError
from pytest_amlnn.engines import inline
from pytest_amlnn.progress import Silent
from pytest_amlnn.store import StoreError

KEY = store.key(ID)
PLACES = (
    *("runs", f"runs/{KEY}", f"runs/{KEY}/0.json", f"runs/{KEY}/0.safetensors"),
    *("checkpoints", f"checkpoints/{KEY}", f"checkpoints/{KEY}/2"),
    *(f"checkpoints/{KEY}/2/begun.json", f"checkpoints/{KEY}/0", f"checkpoints/{KEY}/1"),
    *(".locks", f".locks/{KEY}", ".locks/plan.json", ".locks/environment.json"),
    *("plan.json", "environment.json", "report.md", "summary.json", "benchmark.json"),
)
BEGUN = f"checkpoints/{KEY}/2/begun.json"
READ = (
    f"runs/{KEY}/0.json",
    "plan.json",
    "environment.json",
    BEGUN,
    f"runs/{KEY}/0.safetensors",
)
FILES = [name for name in PLACES if name.endswith((".json", ".safetensors", ".md"))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A small sweep, as it was written."""
    return swept(tmp_path_factory.mktemp("whole") / "sweep")


@pytest.fixture
def outside(tmp_path) -> Path:
    """Files of the user, among them what a run directory may be mistaken for."""
    place = tmp_path / "outside"
    (place / "0").mkdir(parents=True)
    for name in ("0.json", "begun.json", f"{PART}1", ".hidden", "0/begun.json", "0/mine"):
        (place / name).write_text("mine")
    shutil.copytree(place, place / KEY)
    return place


def put(path: Path, make: Callable[[Path], object]) -> None:
    """Put something in the place of what there is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)


def use(folder: Path) -> None:
    """Do with a run directory all that reports and resumed trainings do with it."""
    with quickly():
        assert_reported(folder)
        assert_resumed(folder)
        for act in (
            lambda: store.forget(folder, ID, 2),
            lambda: store.give_up(folder, ID, "it died"),
            lambda: store.save_run(folder, small_run(ID), {}, []),
            lambda: store.begin(folder, small_run(ID, 1)),
        ):
            with suppress(StoreError, DiskError):
                act()
        store.tidy(folder)


@pytest.mark.parametrize(
    ("place", "target"),
    [(place, "") for place in PLACES]
    + [
        pytest.param(place, target, marks=pytest.mark.slow)
        for place in FILES
        for target in ("0.json", "not there")
    ],
)
def test_no_link_leads_out_of_a_run_directory(place, target, whole, outside, tmp_path):
    """A link in any place is neither written through nor removed through."""
    folder = shutil.copytree(whole, tmp_path / "sweep")
    put(folder / place, lambda path: path.symlink_to(outside / target))
    before = tree(outside)
    use(folder)

    assert tree(outside) == before


def test_training_follows_no_link(whole, outside, tmp_path):
    """A training that is begun anew ends in words where its checkpoints would be elsewhere."""
    before = tree(outside)
    for place in (f"checkpoints/{KEY}", f"runs/{KEY}", ".locks"):
        folder = shutil.copytree(whole, tmp_path / place.replace("/", "-"))
        store.run_file(folder, ID, 0).unlink()
        put(folder / place, lambda path: path.symlink_to(outside))
        with pytest.raises(DiskError, match="is a link: nothing of a run directory is"):
            list(inline.compute(job(folder), lambda seeds: Silent()))

    assert tree(outside) == before


def test_names_of_unfinished_files_cannot_be_guessed(tmp_path, outside):
    """Links under the names that a writer might choose are not written through."""
    names = ("report.md", "probe", "plan.json", "0.json", "0001.safetensors")
    for name in names:
        for number in range(os.getpid() - 40, os.getpid() + 40):
            (tmp_path / f".{name}.{number}").symlink_to(outside / "mine")
            (tmp_path / f"{PART}{number}").unlink(missing_ok=True)
            (tmp_path / f"{PART}{number}").symlink_to(outside / "mine")
    for name in names:
        disk.write(tmp_path / name, b"new")

    assert not (outside / "mine").exists()
    assert [(tmp_path / name).read_bytes() for name in names] == [b"new"] * len(names)


def test_run_directory_itself_may_be_reached_through_links(whole, tmp_path):
    """Whoever names a link to a run directory means what it leads to."""
    folder = shutil.copytree(whole, tmp_path / "sweep")
    (tmp_path / "link").symlink_to(folder)

    assert assert_reported(tmp_path / "link") == ""
    assert assert_resumed(tmp_path / "link") == ""
    assert (folder / "report.md").exists()


@pytest.mark.parametrize("seed", ['"../../../outside"', '"/etc"', "1", "-1", "0.0", "true"])
@pytest.mark.parametrize("name", [f"runs/{KEY}/0.json", f"checkpoints/{KEY}/2/begun.json"])
def test_seed_is_that_of_the_file(name, seed, whole, outside, tmp_path):
    """A record of another seed than its name says is refused, wherever it leads."""
    folder = shutil.copytree(whole, tmp_path / "sweep")
    file = folder / name
    own = 2 if "begun" in name else 0
    file.write_text(file.read_text().replace(f'"seed": {own},', f'"seed": {seed},', 1))
    before = tree(outside)
    with pytest.raises(StoreError, match="seed"):
        store.load_run(file)
    use(folder)

    assert tree(outside) == before


@pytest.mark.parametrize("id", ["../../outside", "test_small[other]", "/etc/passwd"])
def test_id_is_that_of_the_folder(id, whole, tmp_path):
    """A record of another case than its folder is refused, and the others are reported."""
    folder = shutil.copytree(whole, tmp_path / "sweep")
    file = folder / "runs" / KEY / "0.json"
    file.write_text(file.read_text().replace(f'"id": "{ID}"', f'"id": "{id}"', 1))

    assert f"{file} is of another case: {id}" in assert_reported(folder)


def make_socket(path: Path) -> None:
    """Put a socket there; its path may be too long for one."""
    here = Path.cwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def make_huge(path: Path) -> None:
    """Put a file of 2 GB there, that takes no room."""
    with path.open("wb") as file:
        file.truncate(2 * 10**9)


ODD = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "folder": Path.mkdir,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "silent": lambda path: path.symlink_to("/dev/stdin"),
    "itself": lambda path: path.symlink_to(path.name),
    "huge": make_huge,
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(b"\0" * 10_000),
    "mark": lambda path: path.write_bytes(b"\xef\xbb\xbf{}"),
    "latin": lambda path: path.write_bytes(b'{"schema": 3, "id": "\xe9"}'),
}


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        pytest.param(name, odd, marks=() if name == READ[0] else [pytest.mark.slow])
        for name in READ
        for odd in ODD
    ],
)
def test_what_is_no_file_of_ours_is_said(name, odd, whole, tmp_path):
    """Pipes, devices, folders and endless files in place of a record end in words, at once."""
    folder = shutil.copytree(whole, tmp_path / "sweep")
    put(folder / name, ODD[odd])
    with quickly(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        words = [assert_reported(folder), assert_resumed(folder)]

    assert any(words) or warned or (name, odd) == (BEGUN, "itself")
    assert name in " ".join([*words, *(str(w.message) for w in warned), name * ("self" in odd)])


@pytest.mark.parametrize("name", ["report.md", "summary.json", "benchmark.json"])
@pytest.mark.parametrize("odd", ["pipe", "folder", "endless"])
def test_reports_take_the_place_of_what_is_no_folder(name, odd, whole, tmp_path):
    """A report is written anew, whatever was in its place; a folder is left and named."""
    folder = shutil.copytree(whole, tmp_path / "sweep")
    put(folder / name, ODD[odd])
    words = assert_reported(folder)

    assert (folder / name).is_file() == (odd != "folder")
    assert (f"{name} cannot be written: Is a directory" in words) == (odd == "folder")
    assert not [path for path in folder.iterdir() if path.name.startswith(PART)]


@pytest.mark.parametrize("name", ["a\n::error::b", "a\x1b[31m", "a\u202eb", "a\udce9", "a\r"])
def test_names_that_a_stranger_gave_are_shown_in_one_visible_line(name, whole, tmp_path):
    """Line ends, escape sequences and marks in names reach no terminal and no log."""
    folder = shutil.copytree(whole, tmp_path / "sweep")
    shutil.copytree(folder / "runs" / KEY, folder / "runs" / name)
    (folder / "runs" / KEY / f"{name}.json").touch()
    words = assert_reported(folder)

    assert words.removesuffix("\n").isprintable()
    assert words.isascii()
    assert str(StoreError(name)).isprintable()


def test_folder_of_many_names_takes_no_long_time(whole, tmp_path):
    """Names that are no runs are told from those that are, and counted."""
    folder = shutil.copytree(whole, tmp_path / "sweep")
    for number in range(2000):
        (folder / "runs" / KEY / f"x{number}.json").touch()
    words = assert_reported(folder)

    assert "x0.json is not named by a seed" in words
    assert "and 1,900 more" in (folder / "report.md").read_text()


def test_no_more_records_are_read_than_there_may_be(whole, tmp_path, monkeypatch):
    """A run directory of more records than any sweep has is said to be one."""
    monkeypatch.setattr(store, "MOST_RUNS", 2)
    words = assert_reported(shutil.copytree(whole, tmp_path / "sweep"))

    assert "runs holds more than 2 records" in words


@given(parts=st.lists(st.text(max_size=5), max_size=4))
def test_nothing_is_below_but_names(parts, tmp_path_factory):
    """A path below a folder consists of plain names, or it is refused."""
    folder = tmp_path_factory.getbasetemp()
    try:
        found = disk.below(folder, *parts)
    except DiskError:
        assert any(part in ("", ".", "..") or {"/", "\0"} & {*part} for part in parts)
    else:
        assert found.parts == (*folder.parts, *parts)


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    """Unfinished files go; other hidden files, and folders that bear such a name, stay."""
    (tmp_path / f"{PART}dir").mkdir()
    for name in (f"{PART}1", ".mine", "0.json"):
        (tmp_path / name).write_text("x")
    disk.remove_parts(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{PART}dir",
        ".mine",
        "0.json",
    ]
