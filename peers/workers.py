"""Processes that hold one side of a comparison each, and compute only when asked.

A process is asked for one thing at a time and answers before the next is asked, so sides
can take turns without sharing the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

Ask = Callable[..., Any]


@contextmanager
def worker(module: str, **environment: str) -> Iterator[Ask]:
    """Start `python -m module`; what it gives takes a function's name and its arguments."""
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    asking, answers = process.stdin, process.stdout

    def ask(name: str, **arguments: object) -> Any:
        print(json.dumps([name, arguments]), file=asking, flush=True)
        answer = answers.readline()
        if not answer:
            raise RuntimeError(f"{module} died over {name}({arguments}); its words are above")
        return json.loads(answer)

    try:
        yield ask
    finally:
        asking.close()
        process.wait()


def serve(functions: Mapping[str, Callable[..., object]]) -> None:
    """Answer until nobody asks any more; what a function prints goes to the error output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(functions[name](**arguments)), file=answers, flush=True)
