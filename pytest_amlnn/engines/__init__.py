"""Where runs are computed.

An engine is a module with a function `compute(job: Job, show: Show) -> Iterator[Run]`, which
yields the job's runs in order of their seeds, each stored in the run directory.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from pytest_amlnn.progress import Progress

Show = Callable[[Sequence[int]], AbstractContextManager[Progress]]
"""Opens what shows how far the runs with these seeds are."""
