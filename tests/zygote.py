"""A process that has torch and pytest loaded, and forks one process for each request.

An import of torch costs seconds; what is killed here costs a tenth of one. Requests come
as lines of JSON on stdin, answers go out likewise:

    {"arguments": [...], "folder": "...", "output": "..."}  ->  the process id
    {"wait": 123}  ->  the exit status, negative for the signal that ended it
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn


def main() -> None:
    """Serve requests until stdin ends."""
    import pytest  # noqa: F401
    import scipy.special  # noqa: F401
    from small_cases import pictures_net, small_case, trained

    import pytest_amlnn.engines.inline
    import pytest_amlnn.report.benchmark
    import pytest_amlnn.report.markdown
    import pytest_amlnn.report.summary  # noqa: F401

    # what torch sets up at first use; with one thread there is no pool that a fork would lose
    with tempfile.TemporaryDirectory() as place:
        trained(small_case(build=pictures_net, optimizer="adamw"), place=Path(place))
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork() or run(**request)
        print(json.dumps(answer), flush=True)


def run(
    arguments: list[str], folder: str, output: str, file_bytes: int | None = None
) -> NoReturn:
    """Be pytest with these arguments, in a process group of its own."""
    code: Any = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (out, 1), (out, 2)):
            os.dup2(source, target)
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        import pytest

        code = pytest.main(arguments)
    finally:
        sys.stdout.flush()
        os._exit(int(code))


if __name__ == "__main__":
    main()
