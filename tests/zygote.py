"""A process that has torch and pytest loaded, and forks one process for each request.

An import of torch costs seconds; what is killed here costs a tenth of one. Requests come
as lines of JSON on stdin, answers go out likewise:

    {"arguments": [...], "folder": "...", "output": "..."}  ->  the process id
    {"wait": 123}  ->  the exit status, negative for the signal that ended it
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn


def main() -> None:
    """Serve requests until stdin ends."""
    import hypothesis  # noqa: F401  # its plugin would have pytest rewrite it in each process
    import pytest  # noqa: F401
    import scipy.special  # noqa: F401
    import timm  # noqa: F401
    import torchvision  # noqa: F401
    from small_cases import pictures_net, small_case, trained
    from small_runs import small_epoch, small_run, sweep

    import amlnn_models.vgg  # noqa: F401
    from pytest_amlnn import report

    # what torch and reports set up at first use; one thread has no pool that a fork would lose
    with tempfile.TemporaryDirectory() as place:
        trained(small_case(build=pictures_net, optimizer="adamw"), place=Path(place))
        two = small_epoch(), small_epoch()  # a curve
        report.write(sweep(Path(place) / "sweep", [small_run(epochs=two), small_run(seed=1)]))
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    gc.collect()
    gc.freeze()  # each pytest collects garbage as it ends, and need not look through all this
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork() or run(**request)
        print(json.dumps(answer), flush=True)


def run(
    arguments: list[str],
    folder: str,
    output: str,
    full: tuple[float, int] | None = None,
    variables: dict[str, str] | None = None,
) -> NoReturn:
    """Be pytest with these arguments, in a process group of its own.

    What it prints takes the way through another process: only its own files may be too large.
    Where `output` is a terminal, pytest itself has it.
    """
    code: Any = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDONLY)
        os.environ.update(variables or {})
        with Path(output).open("wb", buffering=0) as file:
            printer = None if file.isatty() else print_to(file)
            sink = printer.stdin if printer else file
            for source, target in ((null, 0), (sink.fileno(), 1), (1, 2)):
                os.dup2(source, target)
            sink.close()
        if full:
            limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (full[1], full[1]))
            timer = threading.Timer(full[0], limit)
            timer.daemon = True
            timer.start()
        import pytest
        from forked_workers import fork_workers

        fork_workers(pytest.MonkeyPatch())  # for as long as this process lives
        code = pytest.main(arguments)
        sys.stdout.flush()
        os.dup2(null, 1)
        os.dup2(null, 2)
        if printer:
            printer.wait()  # all is printed when this process is gone
    except BaseException:
        traceback.print_exc()  # where the test that waits finds it
        raise
    finally:
        os._exit(int(code))


def print_to(file: Any) -> subprocess.Popen[bytes]:
    """Start a process that writes its input to a file."""
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)


if __name__ == "__main__":
    main()
