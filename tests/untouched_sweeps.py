"""What the gate says of sweeps in which nothing was changed.

    python tests/untouched_sweeps.py GATES SEEDS DIR...

The runs of all folders are dealt out to sweeps with so many seeds a case, in the order of their
seeds, and each sweep is judged by a file of limits as the plugin judges it. A case that has
fewer runs than others is in fewer sweeps.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pytest_amlnn import store
from pytest_amlnn.gates.gate import Gate, judge_all
from pytest_amlnn.gates.limits import load
from pytest_amlnn.gates.verdict import RED
from pytest_amlnn.result import Result, gather


def dealt(folders: Sequence[Path], seeds: int) -> list[list[Result]]:
    """Give the sweeps."""
    runs = [run for folder in folders for run in store.read_runs(folder)[0]]
    whole = gather({(run.id, run.seed): run for run in runs}.values())
    most = max(len(result.runs) for result in whole) // seeds
    return [
        gather(
            run
            for result in whole
            for run in result.runs[number * seeds : (number + 1) * seeds]
            if len(result.runs) >= (number + 1) * seeds
        )
        for number in range(most)
    ]


def main(gates: Path, seeds: int, folders: Sequence[Path]) -> None:
    """Print how many sweeps are red, and what is said of their cases."""
    held, red = load(gates, "quick"), 0
    verdicts: Counter[str] = Counter()
    sweeps = dealt(folders, seeds)
    for sweep in sweeps:
        gate = Gate(held=held, planned={result.id: seeds for result in sweep})
        found = judge_all(sweep, gate)
        red += any(verdict.name in RED for verdict in found.values())
        verdicts.update(str(verdict.name) for verdict in found.values())
        for verdict in found.values():
            if verdict.name in RED:
                print(verdict.message)
    cases = Counter(result.id for sweep in sweeps for result in sweep)
    print(f"{len(sweeps)} sweeps of {seeds} seeds, {red} red; cases: {dict(verdicts)}")
    print(", ".join(f"{case} in {count}" for case, count in cases.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
