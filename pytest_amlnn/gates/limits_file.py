"""A file of limits, updated by `amlnn calibrate`: what was written by hand stays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_amlnn import disk, store
from pytest_amlnn.gates import calibration
from pytest_amlnn.gates.calibrate import Calibrated
from pytest_amlnn.gates.calibration import Calibration, CalibrationError
from pytest_amlnn.gates.limits import CALIBRATION, OF_REFERENCE, GateError, parse
from pytest_amlnn.options import is_there

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def write(file: Path, profile: str, found: Sequence[Calibrated]) -> list[str]:
    """Write limits into a file, which keeps what was written by hand; say what changed.

    Raises GateError for a file that cannot be read.
    """
    import tomlkit

    file = file.resolve()  # of a link what it leads to is written
    text, mark, ends = "", "", "\n"
    if is_there(file):
        if not file.is_file():
            raise CalibrationError(f"--out {file}: is no file of limits")
        raw = file.read_bytes().decode(errors="replace")
        mark = "\ufeff" if raw.startswith("\ufeff") else ""
        ends = "\r\n" if "\r\n" in raw else "\n"
        text = raw.removeprefix(mark).replace("\r\n", "\n")
    try:
        parse(file, without_references(text, profile, found))  # which says what is wrong
        document = tomlkit.parse(text)
        words = [line for one in found for line in put(document, profile, one)]
        made = tomlkit.dumps(document)
    except ValueError as error:  # a table in a form that nothing can be added to
        raise CalibrationError(f"{file}: {error}: {AS_TABLES}") from error
    try:
        parse(file, made)  # what nobody could read is not written
    except GateError as error:
        raise CalibrationError(
            f"{file}: with the limits of these runs: {error}: mend the bounds by hand, or"
            f" {AS_TABLES}"
        ) from error
    mode = file.stat().st_mode if is_there(file) else None
    disk.write(file, (mark + made).replace("\n", ends).encode())
    if mode is not None:
        file.chmod(mode)
    return words


AS_TABLES = 'write each case as a table of its own, [quick."CASE"]'


def without_references(text: str, profile: str, found: Iterable[Calibrated]) -> str:
    """Return a file of limits without what these runs give anew, to see if it is whole."""
    import tomlkit

    try:
        document = tomlkit.parse(text)
    except ValueError:
        return text  # whose fault is said with its line when it is read
    for one in found:
        case = document.get(profile, {}).get(one.case, {})
        for metric in [name for name in case if isinstance(case[name], dict)]:
            if metric == CALIBRATION:
                case.remove(metric)
            else:
                forget_reference(case, metric)
    return tomlkit.dumps(document)


def text_of(profile: str, found: Iterable[Calibrated]) -> str:
    """Return limits as the text of a file."""
    import tomlkit

    document = tomlkit.document()
    for one in found:
        put(document, profile, one)
    return tomlkit.dumps(document)


def put(document: TOMLDocument, profile: str, found: Calibrated) -> list[str]:
    """Put the limits of one case into a document; bounds that stand there stay."""
    import tomlkit

    cases = document.setdefault(profile, tomlkit.table(is_super_table=True))
    case = cases.setdefault(found.case, tomlkit.table())
    said = []
    known = case.get(CALIBRATION, {})
    earlier = {*known.get("constants", {}), *known.get("runs", {})}
    for metric in [name for name in case if name not in {*found.limits, CALIBRATION}]:
        if "reference" in case[metric] and metric in earlier:  # of runs that are gone
            said.append(f"{metric}: its reference is gone: --metric {metric} makes a new one")
            forget_reference(case, metric)
    for metric, limit in found.limits.items():
        before = dict(case.get(metric, {}))
        bounds = ("at_least", "at_most", *(() if "exactly" in limit else ("exactly",)))
        kept = {name: before[name] for name in bounds if name in before}
        if "exactly" in before and "exactly" in limit and metric not in earlier:
            if before["exactly"] != limit["exactly"]:
                said.append(f"{metric} stays exactly {before['exactly']}, as somebody wrote")
            continue
        if "margin" in before and "told_by" not in before:  # somebody set it
            limit = {**limit, "margin": before["margin"]}
            limit.pop("told_by", None)
        new = tomlkit.inline_table()
        new.update({**kept, **limit})
        case[metric] = new
        if "reference" in before and before["reference"] != limit.get("reference"):
            said.append(f"{metric} was {before['reference']:.4g}, is {limit['reference']:.4g}")
    case[CALIBRATION] = calibration_table(found.known)
    changes = f" (before: {'; '.join(said)})" if said else ""
    return [f"{line}{changes}" for line in found.words]


def forget_reference(case: Any, metric: str) -> None:
    """Leave nothing of a limit but its bounds by hand."""
    for name in ("reference", "margin", *OF_REFERENCE):
        case[metric].pop(name, None)
    if not case[metric]:
        case.remove(metric)


def calibration_table(known: Calibration) -> Any:
    """Return a calibration as a table of TOML."""
    import tomlkit

    plain = calibration.to_plain(known)
    training = json.dumps(store.as_stored(plain["training"]), sort_keys=True)
    plain["training"] = tomlkit.string(training, literal="'" not in training)
    made = tomlkit.table()
    for name, value in plain.items():
        if isinstance(value, dict):
            inner = tomlkit.table() if name == "runs" else tomlkit.inline_table()
            for key, entry in value.items():
                inner[key] = [list(mine) for mine in entry] if name == "runs" else entry
            if name == "runs":
                inner.add(tomlkit.nl())
            made[name] = inner
        else:
            made[name] = (
                [list(part) if isinstance(part, tuple) else part for part in value]
                if isinstance(value, list | tuple)
                else value
            )
    return made
