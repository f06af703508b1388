"""torch's recurrent cells, computed on the CPU with as few calls as possible.

At the size of these nets a step of torch's own cells is spent on calls and on copies, not on
arithmetic. Here a layer, both of its ways at once, is one function. All that it needs lies in
buffers whose views are made once: the state, a row of ones and the inputs under each other, so
that one product a step gives all sums, and one product for all steps gives all gradients of
weights and biases. The factors of the way back are computed for all steps together. The numbers
are torch's but for rounding.

Time comes first, then nets and ways, then features, then the batch:
(time, readers, features, n).
Instead of a state its half, (1 + state) / 2, is kept: tanh(x) is 2 sigmoid(2 x) - 1, and
torch's sigmoid takes less than half the time of its tanh. The weights are prepared for that by
one linear map, and their gradients come back through its transpose.
"""

from __future__ import annotations

import weakref
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


def final_states(cells: Sequence[RNN | GRU | LSTM], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return torch's final states of several cells of one kind, each of its own inputs.

    They are (layers and ways, n, hidden) of inputs (n, time, features). Which cells are
    computed together does not change a bit.
    """
    first = cells[0]
    if not fits(first, inputs[0]):
        found = [one(given)[1] for one, given in zip(cells, inputs, strict=True)]
        return [pair[0] if isinstance(pair, tuple) else pair for pair in found]  # of an LSTM
    flow = torch.stack([given.permute(1, 2, 0) for given in inputs], 1)
    ways = ("", "_reverse") if first.bidirectional else ("",)
    finals = []
    for depth in range(first.num_layers):
        names = [f"{name}_l{depth}{way}" for way in ways for name in PARAMETERS]
        weights = [getattr(one, name) for one in cells for name in names]
        whole = depth + 1 < first.num_layers
        with torch.autocast("cpu", enabled=False):  # buffers are of the weights' precision
            flow, final = Layer.apply(flow, first.kind, len(ways), whole, *weights)
        finals.append(final)
    return [*torch.cat(finals, 1).mT]


def fits(cells: nn.RNNBase, inputs: Tensor) -> bool:
    """Return whether the cells are of the kind that is computed here; torch takes the rest."""
    return (
        isinstance(cells, RNN | GRU | LSTM)
        and inputs.device.type == "cpu"
        and inputs.dim() == 3
        and cells.batch_first
        and cells.bias
        and not (cells.dropout or cells.proj_size)
        and getattr(cells, "nonlinearity", "tanh") == "tanh"
    )


class Layer(torch.autograd.Function):
    """One layer of cells of any kind, of several nets at once."""

    @staticmethod
    def forward(
        context: Any, flow: Tensor, kind: type[Pass], ways: int, whole: bool, *weights: Tensor
    ) -> Any:
        """Map inputs (time, nets, features, n) to all states, if wanted, and the final ones.

        They are (time, nets, ways * hidden, n) and (nets, ways, hidden, n). The weights come
        in the order of PARAMETERS, net by net and way by way.
        """
        hidden, n = weights[0].shape[1], flow.shape[3]
        columns = [weight if weight.ndim > 1 else weight[:, None] for weight in weights]
        readers = len(weights) // len(PARAMETERS)
        matrices = torch.cat(columns, 1).view(len(columns[0]), readers, -1)
        context.weights, context.ways, context.n = matrices.transpose(0, 1), ways, n
        context.lease = Lease(kind, flow, hidden, ways)
        made = context.lease.buffers
        made.run(context.weights)
        context.set_materialize_grads(False)
        after = made.after[..., :n]
        final = after[-1].mul(2).sub_(made.start).view(-1, ways, hidden, n)
        if not whole:
            return None, final
        return torch.cat(in_time_order(after, ways), 2).mul_(2).sub_(made.start), final

    @staticmethod
    @once_differentiable
    def backward(context: Any, outer: Tensor | None, last: Tensor | None) -> Any:
        """Return the gradients of inputs and weights."""
        made, weights = context.lease.buffers, context.weights
        ways, n = context.ways, context.n
        steps, readers, hidden, padded = made.after.shape
        carry = weights.new_zeros(readers, hidden, padded)
        if last is not None:
            carry[..., :n] = last.flatten(0, 1)
        outers: Sequence[Any] = [None] * steps
        if outer is not None:
            parts = in_time_order(outer.reshape(steps, readers, hidden, n), ways)
            whole = torch.stack(parts, 2).view(steps, readers, hidden, n)
            outers = nn.functional.pad(whole, (0, padded - n)).unbind(0)[::-1]
        made.run_back(weights[..., :hidden], carry, outers)
        gradients = [
            part
            for of_one in made.weight_gradients()
            for part in (
                of_one[:, :hidden],
                of_one[:, hidden],
                of_one[:, hidden + 1],
                of_one[:, hidden + 2 :],
            )
        ]
        inputs = None
        if context.needs_input_grad[0]:
            found = made.input_gradients(weights[..., hidden + 2 :])[..., :n]
            inputs = sum(in_time_order(found, ways))
        return inputs, None, None, None, *gradients


def in_time_order(of_all: Tensor, ways: int) -> list[Tensor]:
    """Return each way's part of (time, nets and ways, rows, n), first things first."""
    steps, readers, rows, n = of_all.shape
    parts = of_all.reshape(steps, readers // ways, ways, rows, n).unbind(2)
    return [part.flip(0) if way else part for way, part in enumerate(parts)]


# buffers


FREE: defaultdict[object, list[Any]] = defaultdict(list)
"""Buffers that no pass is using, by kind and shape."""
VECTOR = 32
"""torch computes so many floats at a time, or fewer; a rest would be rounded in another way,
and where one is left would depend on which nets are computed together."""
SHAPES_KEPT = 12
"""As many as a case needs: full and last batches of three splits, on two layers."""


class Lease:
    """Buffers, until nothing remembers the pass that they were taken for."""

    def __init__(self, kind: type[Pass], flow: Tensor, hidden: int, ways: int) -> None:
        key = (kind, hidden, ways, *flow.shape, flow.dtype)
        steps, nets, inputs, n = flow.shape
        while len(FREE) > SHAPES_KEPT:
            del FREE[next(iter(FREE))]  # of a case before this one, probably
        free = FREE[key]
        with torch.inference_mode(False):  # training may get them later
            self.buffers: Any = free.pop() if free else kind(flow, hidden, ways)
        places = self.buffers.inputs[..., :n].view(steps, nets, ways, inputs, n).unbind(2)
        for way, place in enumerate(places):
            place.copy_(flow.flip(0) if way else flow)
        weakref.finalize(self, free.append, self.buffers)


class Pass:
    """What one pass over a batch is computed in, and the views of its steps.

    It is made for so many readers: one for each net and way. s is what is kept of a state h:
    s = (start + h) / 2. Sums are weights @ [h, 1, 1, inputs], with a one for each bias; that
    is weights @ spread @ [s, 1, inputs].
    """

    start: ClassVar[float] = 1.0

    times: ClassVar[tuple[float, ...]]
    """By what the weights of each gate are multiplied."""
    slopes: ClassVar[tuple[float, ...]]
    """By what each gate's changes are to be multiplied to be the gradients of its sums."""
    others: ClassVar[int] = 0
    """Blocks of changes that come before those of the gates."""

    def __init__(self, flow: Tensor, hidden: int, ways: int) -> None:
        steps, nets, inputs, n = flow.shape
        readers, n = nets * ways, -(-n // VECTOR) * VECTOR
        # of each step: the state before it, ones for the biases, and its inputs
        self.fed = flow.new_ones(steps + 1, readers, hidden + 1 + inputs, n)
        self.fed[0, :, :hidden] = self.start / 2
        self.inputs = self.fed[:steps, :, hidden + 1 :].zero_()
        self.before, self.after = self.fed[:steps, :, :hidden], self.fed[1:, :, :hidden]
        self.feeds, self.nexts = self.fed[:steps].unbind(0), self.after.unbind(0)
        spread = flow.new_zeros(hidden + 2 + inputs, hidden + 1 + inputs)
        spread[:hidden, :hidden].fill_diagonal_(2)
        spread[:hidden, hidden] = -self.start
        spread[hidden, hidden] = 1
        spread[hidden + 1 :, hidden:].fill_diagonal_(1)
        self.spread = spread.expand(readers, -1, -1)
        self.factor, self.scale = (
            flow.new_tensor(each).repeat_interleave(hidden)[:, None]
            for each in (self.times, self.slopes)
        )

    # what the way back alone needs: evaluation never has one

    @cached_property
    def factors(self) -> Tensor:
        """Of every sum the gradient's factor that lies in its own step."""
        steps, readers, hidden, n = self.before.shape
        blocks = self.others + len(self.times)
        return self.fed.new_empty(steps, readers, blocks, hidden, n)

    @cached_property
    def changes(self) -> Tensor:
        """Of every sum its gradient, but for a factor that is the same for a whole gate."""
        return torch.empty_like(self.factors)

    def run(self, weights: Tensor) -> None:
        """Go through all steps with weights (readers, gates * hidden, hidden + 2 + inputs)."""
        raise NotImplementedError

    def run_back(self, recurrent: Tensor, carry: Tensor, outer: Sequence[Any]) -> None:
        """Find all changes.

        `carry` is the gradient of the last state, and what it becomes step by step; `outer`
        are those of each state from outside, or None.
        """
        raise NotImplementedError

    def step_matrices(self, weights: Tensor) -> Tensor:
        """Return the matrices that give a step's sums from what it is fed."""
        return torch.bmm(self.factor * weights, self.spread)

    def back_matrices(self, recurrent: Tensor) -> Tensor:
        """Return the matrices that give a state's gradient from the changes after it."""
        return (self.scale * recurrent).mT.contiguous()

    def weight_gradients(self) -> Tensor:
        """Return the gradients of the weights, the sums over all steps and the batch."""
        of_fed = torch.bmm(by_reader(self.fed[:-1]), by_reader(self.changes.flatten(2, 3)).mT)
        return self.scale * torch.bmm(of_fed.mT, self.spread.mT)

    def input_gradients(self, weight: Tensor) -> Tensor:
        """Return the gradients of the inputs (time, readers, features, n)."""
        back: Tensor = (self.scale * weight).mT @ self.changes.flatten(2, 3)
        return back


def by_reader(of_all: Tensor) -> Tensor:
    """Return (time, readers, rows, n) as (readers, rows, time * n)."""
    return of_all.permute(1, 2, 0, 3).flatten(2)


# kinds


class SimplePass(Pass):
    """Of simple cells: h' = tanh(sum)."""

    times, slopes = (2,), (4,)

    def run(self, weights: Tensor) -> None:
        """Go through all steps."""
        matrices = self.step_matrices(weights)
        for feed, state in zip(self.feeds, self.nexts, strict=True):
            torch.bmm(matrices, feed, out=state).sigmoid_()

    @cached_property
    def views(self) -> list[tuple[Tensor, ...]]:
        """Of each step, last step first: factor and change."""
        views = (of_all[:, :, 0].unbind(0) for of_all in (self.factors, self.changes))
        return [*zip(*views, strict=True)][::-1]

    def run_back(self, recurrent: Tensor, carry: Tensor, outer: Sequence[Any]) -> None:
        """Find all changes."""
        one = torch.ones((), dtype=carry.dtype)
        sigmoid_slope(one, self.after, grad_input=self.factors[:, :, 0])
        back = self.back_matrices(recurrent)
        for (factor, change), other in zip(self.views, outer, strict=True):
            if other is not None:
                carry.add_(other)
            torch.mul(carry, factor, out=change)
            torch.bmm(back, change, out=carry)


class GatedPass(Pass):
    """Of gated units: h' = (1 - update) * new + update * h, as torch and cuDNN have them.

    The new state's sum has two parts, of which only the recurrent one is reset. The other one
    is computed for all steps at once; its changes come first.
    """

    times, slopes, others = (1, 1, 2), (2, 2, 4), 1

    def __init__(self, flow: Tensor, hidden: int, ways: int) -> None:
        super().__init__(flow, hidden, ways)
        steps, readers, _, n = self.before.shape
        self.hidden = hidden
        self.sums = flow.new_empty(steps, readers, 3 * hidden, n)
        self.new = flow.new_empty(steps, readers, hidden, n)
        self.reset, self.update, self.reset_part = self.sums.chunk(3, 2)
        self.factor = self.factor.repeat(1, self.spread.shape[1])
        self.factor[2 * hidden :, hidden + 1 :] = 0
        of_all = (
            self.fed[:steps], self.sums, self.sums[:, :, : 2 * hidden], self.new,
            self.reset, self.reset_part, self.before, self.update, self.after,
        )  # fmt: skip
        self.steps = [*zip(*(part.unbind(0) for part in of_all), strict=True)]

    def run(self, weights: Tensor) -> None:
        """Go through all steps."""
        hidden, matrices = self.hidden, self.step_matrices(weights)
        fresh = 2 * weights[:, 2 * hidden :, hidden + 1 :]
        of_inputs = self.fed[:-1, :, hidden:].flatten(0, 1)
        fresh = fresh.repeat(len(self.steps), 1, 1)
        torch.bmm(fresh, of_inputs, out=self.new.flatten(0, 1))
        for feed, sums, gates, new, reset, part, state, update, following in self.steps:
            torch.bmm(matrices, feed, out=sums)
            gates.sigmoid_()
            new.addcmul_(reset, part).sigmoid_()
            torch.lerp(new, state, update, out=following)

    @cached_property
    def views(self) -> list[tuple[Tensor, ...]]:
        """Of each step, last step first: factors, changes, those of the gates, and update."""
        gates = self.changes[:, :, 1:].flatten(2, 3)
        views = (self.factors, self.changes, gates, self.update)
        return [*zip(*(part.unbind(0) for part in views), strict=True)][::-1]

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
        back, carried = self.back_matrices(recurrent), carry.unsqueeze(1)
        for (factors, changes, gates, update), other in zip(self.views, outer, strict=True):
            if other is not None:
                carry.add_(other)
            torch.mul(factors, carried, out=changes)
            carry.mul_(update).baddbmm_(back, gates)

    def weight_gradients(self) -> Tensor:
        """Return the gradients of the weights; those of the new state come by two ways."""
        hidden = self.hidden
        fed, changes = by_reader(self.fed[:-1]), by_reader(self.changes.flatten(2, 3))
        of_fed = torch.bmm(fed, changes[:, hidden:].mT)
        found = self.scale * torch.bmm(of_fed.mT, self.spread.mT)
        of_fresh = torch.bmm(fed[:, hidden:], changes[:, :hidden].mT)
        found[:, 2 * hidden :, hidden + 1 :] = 4 * of_fresh.mT
        return found

    def input_gradients(self, weight: Tensor) -> Tensor:
        """Return the gradients of the inputs (time, readers, features, n)."""
        # changes of the new state come first
        weight = (self.scale * weight).roll(self.hidden, 1)
        back: Tensor = weight.mT @ self.changes[:, :, :3].flatten(2, 3)
        return back


class LongShortPass(Pass):
    """Of long short-term memory: h' = output * tanh(cell'), of which torch has the rest.

    Of a cell its double is kept, of which the sigmoid gives the tanh.
    """

    times, slopes, start = (1, 1, 2, 1), (2, 0.5, 4, 2), 0.0

    def __init__(self, flow: Tensor, hidden: int, ways: int) -> None:
        super().__init__(flow, hidden, ways)
        steps, readers, _, n = self.before.shape
        self.sums = flow.new_empty(steps, readers, 4 * hidden, n)
        self.cells = flow.new_zeros(steps + 1, readers, hidden, n)
        self.squashed = flow.new_empty(steps, readers, hidden, n)
        self.input, self.forget, self.new, self.output = self.sums.chunk(4, 2)
        of_all = (
            self.fed[:steps], self.sums, self.input, self.forget, self.new, self.output,
            self.cells[:steps], self.cells[1:], self.squashed, self.after,
        )  # fmt: skip
        self.steps = [*zip(*(part.unbind(0) for part in of_all), strict=True)]

    def run(self, weights: Tensor) -> None:
        """Go through all steps."""
        matrices = self.step_matrices(weights)
        for fed, sums, into, forget, new, out, cell, following, squashed, state in self.steps:
            torch.bmm(matrices, fed, out=sums)
            sums.sigmoid_()
            torch.mul(forget, cell, out=following)
            following.addcmul_(into, new, value=4).sub_(into, alpha=2)
            torch.sigmoid(following, out=squashed)
            torch.mul(out, squashed, out=state)
            state.sub_(out, alpha=0.5)

    @cached_property
    def by_cell(self) -> Tensor:
        """Of every cell the factor of its state's gradient."""
        return torch.empty_like(self.squashed)

    @cached_property
    def views(self) -> list[tuple[Tensor, ...]]:
        """Of each step, last step first, what its way back is computed from and in."""
        views = (
            self.by_cell, self.factors[:, :, :3], self.changes[:, :, :3],
            self.factors[:, :, 3], self.changes[:, :, 3], self.forget,
            self.changes.flatten(2, 3),
        )  # fmt: skip
        return [*zip(*(part.unbind(0) for part in views), strict=True)][::-1]

    def run_back(self, recurrent: Tensor, carry: Tensor, outer: Sequence[Any]) -> None:
        """Find all changes."""
        by_input, by_forget, by_new, by_output = self.factors.unbind(2)
        scratch = self.changes[:, :, 0]
        torch.sub(self.new, 0.5, out=scratch)
        sigmoid_slope(scratch, self.input, grad_input=by_input)
        sigmoid_slope(self.cells[:-1], self.forget, grad_input=by_forget)
        sigmoid_slope(self.input, self.new, grad_input=by_new)
        torch.sub(self.squashed, 0.5, out=scratch)
        sigmoid_slope(scratch, self.output, grad_input=by_output)
        sigmoid_slope(self.output, self.squashed, grad_input=self.by_cell)
        back, cell = self.back_matrices(recurrent), torch.zeros_like(carry)
        cells = cell.unsqueeze(1)
        for of_step, other in zip(self.views, outer, strict=True):
            by_cell, factors, changes, factor, change, forget, all_changes = of_step
            if other is not None:
                carry.add_(other)
            cell.addcmul_(carry, by_cell, value=4)
            torch.mul(factors, cells, out=changes)
            torch.mul(factor, carry, out=change)
            cell.mul_(forget)
            torch.bmm(back, all_changes, out=carry)


# modules


class RNN(nn.RNN):
    """Simple recurrent cells, one or more layers, one way or both."""

    kind = SimplePass


class GRU(nn.GRU):
    """Gated recurrent units, one or more layers, one way or both."""

    kind = GatedPass


class LSTM(nn.LSTM):
    """Long short-term memory, one or more layers, one way or both."""

    kind = LongShortPass
