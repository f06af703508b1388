"""torch's recurrent cells, computed on the CPU with as few calls as possible.

At the size of these nets a step of torch's own cells is spent on calls and on copies, not on
arithmetic. Here a layer, both of its ways at once, is one function. All that it needs lies in
buffers whose views are made once: the state, a row of ones and the inputs under each other, so
that one product a step gives all sums, and one product for all steps gives all gradients of
weights and biases. The factors of the way back are computed for all steps together. The numbers
are torch's but for rounding.

Time comes first, then the ways, then features, then the batch: (time, ways, features, n).
Instead of a state its half, (1 + state) / 2, is kept: tanh(x) is 2 sigmoid(2 x) - 1, and
torch's sigmoid takes less than half the time of its tanh. The weights are prepared for that by
one linear map, and their gradients come back through its transpose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

PARAMETERS = ("weight_hh", "bias_hh", "bias_ih", "weight_ih")
sigmoid_slope = torch.ops.aten.sigmoid_backward.grad_input
"""Of (gradient, sigmoid, grad_input=where to): gradient * sigmoid * (1 - sigmoid)."""


class RNN(nn.RNN):
    """Simple recurrent cells, one or more layers, one way or both."""

    def final(self, inputs: Tensor) -> Tensor:
        """Map (n, time, features) to the final states (layers and ways, n, hidden) alone."""
        return final_states(self, SimplePass, inputs)


class GRU(nn.GRU):
    """Gated recurrent units, one or more layers, one way or both."""

    def final(self, inputs: Tensor) -> Tensor:
        """Map (n, time, features) to the final states (layers and ways, n, hidden) alone."""
        return final_states(self, GatedPass, inputs)


class LSTM(nn.LSTM):
    """Long short-term memory as torch has it: one call of oneDNN, and faster than this way."""

    def final(self, inputs: Tensor) -> Tensor:
        """Map (n, time, features) to the final states (layers and ways, n, hidden) alone."""
        states: Tensor = self(inputs)[1][0]
        return states


def fits(cells: nn.RNNBase, inputs: Tensor) -> bool:
    """Return whether the cells are of the kind that is computed here; torch takes the rest."""
    return (
        inputs.device.type == "cpu"
        and inputs.dim() == 3
        and cells.batch_first
        and cells.bias
        and not (cells.dropout or cells.proj_size)
        and getattr(cells, "nonlinearity", "tanh") == "tanh"
    )


def final_states(cells: nn.RNN | nn.GRU, kind: type[Pass], inputs: Tensor) -> Tensor:
    """Return what torch's module has for final states."""
    if not fits(cells, inputs):
        states: Tensor = cells(inputs)[1]
        return states
    flow, finals = inputs.permute(1, 2, 0), []
    ways = ("", "_reverse") if cells.bidirectional else ("",)
    for depth in range(cells.num_layers):
        weights = [
            getattr(cells, f"{name}_l{depth}{way}") for way in ways for name in PARAMETERS
        ]
        flow, final = Layer.apply(flow, kind, depth + 1 < cells.num_layers, *weights)
        finals.append(final)
    return torch.cat(finals).transpose(1, 2)


class Layer(torch.autograd.Function):
    """One layer of cells of any kind."""

    @staticmethod
    def forward(
        context: Any, flow: Tensor, kind: type[Pass], whole: bool, *weights: Tensor
    ) -> Any:
        """Map inputs (time, features, n) to all states, if wanted, and the final ones.

        They are (time, ways * hidden, n) and (ways, hidden, n). The weights come in the
        order of PARAMETERS, way by way.
        """
        hidden, ways = weights[0].shape[1], len(weights) // len(PARAMETERS)
        columns = [weight if weight.ndim > 1 else weight[:, None] for weight in weights]
        matrices = torch.cat(columns, 1).view(len(columns[0]), ways, -1)
        context.weights = matrices.transpose(0, 1)
        context.lease = Lease(kind, flow, hidden, ways)
        made = context.lease.buffers
        made.run(context.weights)
        context.set_materialize_grads(False)
        states = torch.cat(in_time_order(made.after), 1).mul_(2).sub_(1) if whole else None
        return states, made.after[-1].mul(2).sub_(1)

    @staticmethod
    @once_differentiable
    def backward(context: Any, outer: Tensor | None, last: Tensor | None) -> Any:
        """Return the gradients of inputs and weights."""
        made, weights = context.lease.buffers, context.weights
        hidden = made.hidden
        carry = torch.zeros_like(made.after[0]) if last is None else last.clone()
        outers: Sequence[Any] = [None] * len(made.nexts)
        if outer is not None:
            parts = in_time_order(outer.reshape(len(outer), -1, hidden, outer.shape[2]))
            outers = by_step(torch.stack(parts, 1))[::-1]
        made.run_back(weights[..., :hidden], carry.squeeze(0), outers)
        gradients = [
            part
            for way in made.summed()
            for part in (
                way[:, :hidden],
                way[:, hidden],
                way[:, hidden + 1],
                way[:, hidden + 2 :],
            )
        ]
        inputs = None
        if context.needs_input_grad[0]:
            inputs = sum(in_time_order(made.outward(weights[..., hidden + 2 :])))
        return inputs, None, None, *gradients


# buffers


FREE: defaultdict[object, list[Any]] = defaultdict(list)
"""Buffers that no pass is using, by kind and shape."""
SHAPES_KEPT = 12
"""As many as a case needs: full and last batches of three splits, on two layers."""


class Lease:
    """Buffers, until nothing remembers the pass that they were taken for."""

    def __init__(self, kind: type[Pass], flow: Tensor, hidden: int, ways: int) -> None:
        self.key = (kind, hidden, ways, *flow.shape, flow.dtype)
        while len(FREE) > SHAPES_KEPT:
            del FREE[next(iter(FREE))]  # of a case before this one, probably
        free = FREE[self.key]
        with torch.inference_mode(False):  # training may get them later
            self.buffers: Any = free.pop() if free else kind(flow, hidden, ways)
        for way, inputs in enumerate(self.buffers.inputs.unbind(1)):
            inputs.copy_(flow.flip(0) if way else flow)

    def __del__(self) -> None:
        FREE[self.key].append(self.buffers)


class Pass:
    """What one pass over a batch is computed in, and the views of its steps.

    s is what is kept of a state h: s = (1 + h) / 2. Sums are weights @ [h, 1, 1, inputs], with
    a one for each bias; that is weights @ spread @ [s, 1, inputs].
    """

    times: ClassVar[tuple[float, ...]]
    """By what the weights of each gate are multiplied."""
    slopes: ClassVar[tuple[float, ...]]
    """By what each gate's changes are to be multiplied to be the gradients of its sums."""
    others: ClassVar[int] = 0
    """Blocks of changes that come before those of the gates."""

    def __init__(self, flow: Tensor, hidden: int, ways: int) -> None:
        steps, inputs, n = flow.shape
        self.hidden = hidden
        # of each step: the state before it, ones for the biases, and its inputs
        self.fed = flow.new_ones(steps + 1, ways, hidden + 1 + inputs, n)
        self.fed[0, :, :hidden] = 0.5
        self.inputs = self.fed[:steps, :, hidden + 1 :]
        self.before, self.after = self.fed[:steps, :, :hidden], self.fed[1:, :, :hidden]
        self.spread = flow.new_zeros(hidden + 2 + inputs, hidden + 1 + inputs)
        self.spread[:hidden, :hidden].fill_diagonal_(2)
        self.spread[:hidden, hidden] = -1
        self.spread[hidden, hidden] = 1
        self.spread[hidden + 1 :, hidden:].fill_diagonal_(1)
        self.factor, self.scale = (
            flow.new_tensor(each).repeat_interleave(hidden)[:, None]
            for each in (self.times, self.slopes)
        )
        blocks = self.others + len(self.times)
        self.factors = flow.new_zeros(steps, ways, blocks, hidden, n)
        self.changes = torch.zeros_like(self.factors)
        # products of one way alone are those of plain matrices
        self.product = torch.bmm if ways > 1 else torch.mm
        self.feeds, self.nexts = by_step(self.fed[:steps]), by_step(self.after)

    def run(self, weights: Tensor) -> None:
        """Go through all steps with weights (ways, gates * hidden, hidden + 2 + inputs)."""
        raise NotImplementedError

    def run_back(self, recurrent: Tensor, carry: Tensor, outer: Sequence[Any]) -> None:
        """Find all changes.

        `carry` is the gradient of the last state, and what it becomes step by step; `outer`
        are those of each state from outside, or None.
        """
        raise NotImplementedError

    def prepared(self, weights: Tensor) -> Tensor:
        """Return the matrix that gives a step's sums from what it is fed."""
        matrix = (self.factor * weights) @ self.spread
        return matrix.squeeze(0)

    def way_back(self, recurrent: Tensor) -> Tensor:
        """Return the matrix that gives a state's gradient from the changes after it."""
        return (self.scale * recurrent).mT.contiguous().squeeze(0)

    def summed(self) -> Tensor:
        """Return the gradients of the weights, the sums over all steps and the batch."""
        fed, changes = batched(self.fed[:-1]), batched(self.changes.flatten(2, 3))
        of_fed: Tensor = fed @ changes.mT
        return self.scale * (of_fed.mT @ self.spread.T)

    def outward(self, weight: Tensor) -> Tensor:
        """Return the gradients of the inputs (time, ways, features, n), as each way read."""
        back: Tensor = (self.scale * weight).mT @ self.changes.flatten(2, 3)
        return back


def by_step(of_all: Tensor) -> tuple[Tensor, ...]:
    """Return the views of each step, without the dimension of ways where there is one."""
    return of_all.squeeze(1).unbind(0)


def batched(of_all: Tensor) -> Tensor:
    """Return (time, ways, rows, n) as (ways, rows, time * n)."""
    return of_all.permute(1, 2, 0, 3).flatten(2)


def in_time_order(of_all: Tensor) -> list[Tensor]:
    """Return each way's part of (time, ways, rows, n), first things first."""
    return [part.flip(0) if way else part for way, part in enumerate(of_all.unbind(1))]


# kinds


class SimplePass(Pass):
    """Of simple cells: h' = tanh(sum)."""

    times, slopes = (2,), (4,)

    def run(self, weights: Tensor) -> None:
        """Go through all steps."""
        matrix, product = self.prepared(weights), self.product
        for feed, state in zip(self.feeds, self.nexts, strict=True):
            product(matrix, feed, out=state).sigmoid_()

    @cached_property
    def views(self) -> list[tuple[Tensor, ...]]:
        """Of each step, last step first: factor and change."""
        views = (by_step(of_all[:, :, 0]) for of_all in (self.factors, self.changes))
        return [*zip(*views, strict=True)][::-1]

    def run_back(self, recurrent: Tensor, carry: Tensor, outer: Sequence[Any]) -> None:
        """Find all changes."""
        one = torch.ones((), dtype=carry.dtype)
        sigmoid_slope(one, self.after, grad_input=self.factors[:, :, 0])
        back, product = self.way_back(recurrent), self.product
        for (factor, change), other in zip(self.views, outer, strict=True):
            if other is not None:
                carry.add_(other)
            torch.mul(carry, factor, out=change)
            product(back, change, out=carry)


class GatedPass(Pass):
    """Of gated units: h' = (1 - update) * new + update * h, as torch and cuDNN have them.

    The new state's sum has two parts, of which only the recurrent one is reset. The other one
    is computed for all steps at once; its changes come first.
    """

    times, slopes, others = (1, 1, 2), (2, 2, 4), 1

    def __init__(self, flow: Tensor, hidden: int, ways: int) -> None:
        super().__init__(flow, hidden, ways)
        steps, _, n = flow.shape
        self.sums = flow.new_empty(steps, ways, 3 * hidden, n)
        self.new = flow.new_empty(steps, ways, hidden, n)
        self.reset, self.update, self.reset_part = self.sums.chunk(3, 2)
        self.factor = self.factor.repeat(1, self.spread.shape[0])
        self.factor[2 * hidden :, hidden + 1 :] = 0
        of_all = (
            self.fed[:steps], self.sums, self.sums[:, :, : 2 * hidden], self.new,
            self.reset, self.reset_part, self.before, self.update, self.after,
        )  # fmt: skip
        self.steps = [*zip(*map(by_step, of_all), strict=True)]

    def run(self, weights: Tensor) -> None:
        """Go through all steps."""
        hidden, product = self.hidden, self.product
        matrix = self.prepared(weights)
        fresh = 2 * weights[:, 2 * hidden :, hidden + 1 :]
        of_inputs = self.fed[:-1, :, hidden:].flatten(0, 1)
        torch.bmm(fresh.repeat(len(self.steps), 1, 1), of_inputs, out=self.new.flatten(0, 1))
        for feed, sums, gates, new, reset, part, state, update, following in self.steps:
            product(matrix, feed, out=sums)
            gates.sigmoid_()
            new.addcmul_(reset, part).sigmoid_()
            torch.lerp(new, state, update, out=following)

    @cached_property
    def views(self) -> list[tuple[Tensor, ...]]:
        """Of each step, last step first: factors, changes, those of the gates, and update."""
        gates = self.changes[:, :, 1:].flatten(2, 3)
        views = map(by_step, (self.factors, self.changes, gates, self.update))
        return [*zip(*views, strict=True)][::-1]

    def run_back(self, recurrent: Tensor, carry: Tensor, outer: Sequence[Any]) -> None:
        """Find all changes."""
        by_new, by_reset, by_update, by_part = self.factors.unbind(2)
        scratch = self.changes[:, :, 0]
        torch.sub(1, self.update, out=scratch)
        sigmoid_slope(scratch, self.new, grad_input=by_new)
        torch.sub(self.before, self.new, out=scratch)
        sigmoid_slope(scratch, self.update, grad_input=by_update)
        torch.mul(by_new, self.reset_part, out=scratch)
        sigmoid_slope(scratch, self.reset, grad_input=by_reset)
        torch.mul(by_new, self.reset, out=by_part)
        back, carried = self.way_back(recurrent), carry.unsqueeze(-3)
        add_product = carry.baddbmm_ if self.product is torch.bmm else carry.addmm_
        for (factors, changes, gates, update), other in zip(self.views, outer, strict=True):
            if other is not None:
                carry.add_(other)
            torch.mul(factors, carried, out=changes)
            carry.mul_(update)
            add_product(back, gates)

    def summed(self) -> Tensor:
        """Return the gradients of the weights; those of the new state come by two ways."""
        hidden = self.hidden
        fed, changes = batched(self.fed[:-1]), batched(self.changes.flatten(2, 3))
        of_fed: Tensor = fed @ changes[:, hidden:].mT
        found = self.scale * (of_fed.mT @ self.spread.T)
        of_fresh: Tensor = fed[:, hidden:] @ changes[:, :hidden].mT
        found[:, 2 * hidden :, hidden + 1 :] = 4 * of_fresh.mT
        return found

    def outward(self, weight: Tensor) -> Tensor:
        """Return the gradients of the inputs (time, ways, features, n), as each way read."""
        weight = (self.scale * weight).roll(
            self.hidden, 1
        )  # changes of the new state are first
        back: Tensor = weight.mT @ self.changes[:, :, :3].flatten(2, 3)
        return back
