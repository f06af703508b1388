"""Which item goes to which worker of pytest-xdist: the costliest first.

A worker starts an item only when it knows the one after it, so what is dealt second waits
behind what was dealt first. xdist deals neighbours, which puts two long trainings on one
worker while others have nothing to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xdist.scheduler import LoadScheduling, WorkStealingScheduling

from pytest_amlnn import plans
from pytest_amlnn.store import as_stored


class CostliestFirst:
    """Deal by the costs in the plan; without a plan leave all to xdist's own scheduler."""

    out: Path
    """The run directory."""
    costs: Any = None
    """By node id; known once the workers have collected."""

    def schedule(self: Any) -> None:
        """Deal each worker a costly item and a cheap one to follow."""
        first = self.collection is None and self._check_nodes_have_same_collection()
        if first and (self.out / plans.PLAN).exists():
            self.costs = dict(plans.load(self.out)["costs"])
            collection = next(iter(self.node2collection.values()))
            self.collection, self.pending[:] = collection, range(len(collection))
        super().schedule()  # type: ignore[misc]

    def check_schedule(self: Any, *arguments: Any, **named: Any) -> None:
        """See that every worker has an item to run and one to follow."""
        if self.costs is None:
            super().check_schedule(*arguments, **named)  # type: ignore[misc]
            return
        self.pending.sort(key=self.cost, reverse=True)
        for wanted in (1, 2):
            for node in [node for node in self.nodes if not node.shutting_down]:
                queue = self.node2pending[node]
                if not self.pending and len(queue) < 2:
                    node.shutdown()  # nothing follows: it may run its last item
                elif len(queue) < wanted:
                    self.send(node, follows=queue)

    def send(self: Any, node: Any, follows: list[int]) -> None:
        """Send the costliest item; behind one that is costlier still, the cheapest."""
        behind = follows and self.cost(follows[-1]) >= self.cost(self.pending[0])
        item = self.pending.pop(-1 if behind else 0)
        self.node2pending[node].append(item)
        node.send_runtest_some([item])

    def cost(self: Any, item: int) -> float:
        """Return the cost of an item; one that trains nothing has none."""
        cost: float = self.costs.get(as_stored(self.collection[item]), 0.0)
        return cost


class CostliestFirstLoad(CostliestFirst, LoadScheduling):  # type: ignore[misc]
    """For --dist load."""


class CostliestFirstSteal(CostliestFirst, WorkStealingScheduling):  # type: ignore[misc]
    """For --dist worksteal."""


SCHEDULERS = {"load": CostliestFirstLoad, "worksteal": CostliestFirstSteal}


def scheduler_for(config: Any, log: Any, out: Path) -> Any:
    """Return the scheduler for --dist; None for kinds that keep items together."""
    kind = SCHEDULERS.get(config.getvalue("dist"))
    if kind is None:
        return None
    scheduler = kind(config, log)
    scheduler.out = out
    return scheduler
