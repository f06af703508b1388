"""Which item goes to which worker of pytest-xdist: the costliest first.

A worker starts an item only when it knows the one after it, so what is dealt second waits
behind what was dealt first. xdist deals neighbours, which puts two long trainings on one
worker while others have nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xdist.scheduler import LoadScheduling, WorkStealingScheduling

from pytest_amlnn.store import as_stored


class CostliestFirst:
    """Deal by the costs in the plan; without a plan leave all to xdist's own scheduler."""

    read_plan: Callable[[], Mapping[str, Any] | None]
    """Returns the plan, once the workers have collected; None where nothing trains."""
    costs: Any = None
    """By node id."""

    def schedule(self: Any) -> None:
        """Deal each worker a costly item and a cheap one to follow."""
        first = self.collection is None and self._check_nodes_have_same_collection()
        plan = self.read_plan() if first else None
        if plan is not None:
            self.costs = dict(plan["costs"])
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


SCHEDULERS = {
    LoadScheduling: CostliestFirstLoad,
    WorkStealingScheduling: CostliestFirstSteal,
}


def costliest_first(own: Any, read_plan: Callable[[], Mapping[str, Any] | None]) -> Any:
    """Return the scheduler in place of one of xdist's own that deals items one by one.

    Those that keep items together, and those of other plugins, are returned as they are.
    """
    kind = SCHEDULERS.get(type(own))
    if kind is None:
        return own
    scheduler: Any = kind(own.config, own.log)
    scheduler.read_plan = read_plan
    return scheduler
