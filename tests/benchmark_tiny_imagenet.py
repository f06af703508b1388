"""Measure what the first and the next start cost on an archive of Tiny ImageNet.

Usage: python tests/benchmark_tiny_imagenet.py ../shared/tiny-imagenet-200.zip
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from amlnn_datasets import tiny_imagenet


def main() -> None:
    """Start twice in fresh processes, with a cache that is empty at first."""
    with tempfile.TemporaryDirectory() as cache:
        for label in ("first start", "next start"):
            print(f"{label}: ", end="", flush=True)
            subprocess.run(
                [sys.executable, __file__, "start", sys.argv[1]],
                env={**os.environ, "AMLNN_CACHE": cache},
                check=True,
            )


def start(path: Path) -> None:
    """Print the seconds and the peak of private memory that one start takes."""
    before, peaks, done = private_mib(), [0.0], threading.Event()
    sampler = threading.Thread(target=sample, args=(peaks, done))
    sampler.start()
    begin = time.perf_counter()
    tiny_imagenet.check(path)
    tiny_imagenet.splits(path, size=200, classes=200, validation=10)
    seconds = time.perf_counter() - begin
    done.set()
    sampler.join()
    print(f"{seconds:.2f} s, {max(peaks):.0f} MiB private ({before:.0f} at its begin)")


def sample(peaks: list[float], done: threading.Event) -> None:
    """Note the private memory a hundred times a second."""
    while not done.wait(0.01):
        peaks.append(private_mib())


def private_mib() -> float:
    """Return this process's own memory, without its maps of files."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+)", status)[0]) / 1024


if __name__ == "__main__":
    if sys.argv[1] == "start":
        start(Path(sys.argv[2]))
    else:
        main()
