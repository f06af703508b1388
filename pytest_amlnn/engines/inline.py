"""Compute runs in this process, each once, going on where an earlier attempt ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pytest_amlnn import resume, store, training
from pytest_amlnn.case import Case
from pytest_amlnn.data import Data
from pytest_amlnn.device import resolve
from pytest_amlnn.lease import lease
from pytest_amlnn.progress import Progress
from pytest_amlnn.result import Run


def compute(
    case: Case,
    data: Data,
    *,
    id: str,
    seed: int,
    out: Path,
    device: str,
    progress: Progress,
    facts: Mapping[str, Any],
    contended: bool = False,
) -> Run:
    """Return the run as the run directory has it; where it does not, train and store it.

    `facts` is what environment.json says besides machine and datasets. Raises StoreError
    where the stored run or checkpoint is of another recipe, other data or another version.
    """
    with store.locked(out, id):
        stored = store.ended(out, id, seed)
        if stored is not None and stored.status in store.UNLUCKY:
            return stored  # it may have seen no data, and its checkpoints can be gone on from
        if stored is not None:
            run = training.begun(case, id=id, seed=seed, device=resolve(device))
            now, then = resume.about(run, data(seed).facts), resume.about(stored, stored.data)
            resume.check(store.run_file(out, id, seed), then, now)
            store.forget(out, id, seed)  # a kill may have come before
            return stored
        with lease(device, case.recipe.threads, progress.note) as where:
            run = training.begun(case, id=id, seed=seed, device=where, contended=contended)
            run = store.begin(out, run)
            place, words = store.place(out, id, seed), ""
            try:
                outcome = training.train(
                    case, data, run, device=where, progress=progress, place=place
                )
            except torch.OutOfMemoryError as error:
                words = str(error)
            if words:  # out here, where nothing holds the net any longer
                outcome = training.out_of_memory(case, data, run, where, words)
        run = outcome.run
        store.save_run(out, run, outcome.examples, outcome.names)
        dataset = {str(outcome.dataset.get("name", case.dataset)): dict(outcome.dataset)}
        store.save_environment(out, {**facts, **run.environment}, dataset)
        if run.status not in store.UNLUCKY:
            store.forget(out, id, seed)
        return run
