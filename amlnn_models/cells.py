"""torch's recurrent cells, computed on the CPU with as few calls as possible.

At the size of these nets a step of torch's own cells is spent on calls and on copies, not on
arithmetic. Here a layer is one function. What all steps need lies in buffers whose views are
made once: the state, a row of ones and the inputs under each other, so that one product a step
gives all sums, and one product for all steps gives all gradients of weights and biases. The
factors of the way back are computed for all steps together. The numbers are torch's but for
rounding.

Features come first, then time, then the batch: (features, time, n). States are kept as
(1 + state) / 2 while a loop runs: tanh(x) is 2 sigmoid(2 x) - 1, torch's sigmoid takes less
than half the time of its tanh, and the rest of that formula goes into the weights beforehand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

sigmoid_slope = torch.ops.aten.sigmoid_backward.grad_input
"""Of (gradient, sigmoid, grad_input=where to): gradient * sigmoid * (1 - sigmoid)."""
tanh_slope = torch.ops.aten.tanh_backward.grad_input
"""Of (gradient, tanh, grad_input=where to): gradient * (1 - tanh ** 2)."""


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


def layers(
    cells: nn.RNNBase, layer: type[torch.autograd.Function], inputs: Tensor, *, whole: bool
) -> tuple[Tensor | None, Tensor]:
    """Run all layers and directions, and return what torch's module would.

    Without `whole` the outputs of the last layer are left out.
    """
    flow = inputs.permute(1, 2, 0)
    finals = []
    ways = ("", "_reverse") if cells.bidirectional else ("",)
    for depth in range(cells.num_layers):
        wanted = whole or depth + 1 < cells.num_layers
        outputs = []
        for way in ways:
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [getattr(cells, f"{name}_l{depth}{way}") for name in names]
            states, last = layer.apply(flow.flip(0) if way else flow, wanted, *weights)
            finals.append(last.T)
            outputs.append(states.flip(0) if way and wanted else states)
        if wanted:
            flow = torch.cat(outputs, 1) if len(outputs) > 1 else outputs[0]
    return flow.permute(2, 0, 1) if whole else None, torch.stack(finals)


# buffers


class Buffers:
    """What one pass over a batch is computed in, and the views of its steps."""

    gates: int
    """Blocks of rows that a product gives."""
    start = 0.0
    """What a state of zero is kept as while the loop runs."""

    def __init__(self, hidden: int, steps: int, inputs: int, n: int, like: Tensor) -> None:
        # of each step: the state before it, ones for the biases, and its inputs
        self.fed = like.new_ones(steps + 1, hidden + 1 + inputs, n)
        self.inputs = self.fed[:steps, hidden + 1 :]
        self.before, self.after = self.fed[:steps, :hidden], self.fed[1:, :hidden]
        self.sums = like.new_zeros(steps, self.gates, hidden, n)
        self.feeds, self.nexts = self.fed[:steps].unbind(0), self.after.unbind(0)

    @cached_property
    def factors(self) -> Tensor:
        """Of every sum the gradient's factor that lies in its own step."""
        return torch.zeros_like(self.sums)

    @cached_property
    def changes(self) -> Tensor:
        """Of every sum its gradient, but for a factor that is the same for a whole gate."""
        return torch.zeros_like(self.sums)

    def summed(self, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of recurrent weights, biases and input weights.

        They are the sums over steps and batch of changes, scaled row by row, times states,
        ones and inputs.
        """
        changes, fed = self.changes.flatten(1, 2), self.fed[:-1]
        rows, columns = (part.transpose(0, 1).flatten(1) for part in (changes, fed))
        hidden = self.sums.shape[2]
        product = scale[:, None] * (rows @ columns.T)
        by_states, by_ones, by_inputs = product.tensor_split((hidden, hidden + 1), 1)
        return by_states, by_ones[:, 0], by_inputs


FREE: defaultdict[object, list[Any]] = defaultdict(list)
"""Buffers that no pass is using, by kind and shape."""
SHAPES_KEPT = 12
"""As many as a case needs: full and last batches of three splits, on two layers."""


class Lease:
    """Buffers, until nothing remembers the pass that they were taken for."""

    def __init__(self, kind: type[Buffers], flow: Tensor, hidden: int) -> None:
        self.key = (kind, hidden, *flow.shape, flow.dtype)
        while len(FREE) > SHAPES_KEPT:
            del FREE[next(iter(FREE))]  # of a case before this one, probably
        free, (steps, inputs, n) = FREE[self.key], flow.shape
        with torch.inference_mode(False):  # training may get them later
            self.buffers: Any = free.pop() if free else kind(hidden, steps, inputs, n, flow)
        self.buffers.inputs.copy_(flow)
        self.buffers.before[0] = kind.start

    def __del__(self) -> None:
        FREE[self.key].append(self.buffers)


def unhalved(states: Tensor) -> None:
    """Bring back to their own scale what was kept as (1 + state) / 2."""
    states.mul_(2).sub_(1)


def back_in_time(*parts: Sequence[Tensor], outer: Tensor | None) -> Iterator[Any]:
    """Yield the views of each step, last step first, with the gradient from outside."""
    outers = [None] * len(parts[0]) if outer is None else outer.unbind(0)
    return zip(*map(reversed, parts), reversed(outers), strict=True)


# cells


class RNNBuffers(Buffers):
    """Of simple cells."""

    gates, start = 1, 0.5

    @cached_property
    def views(self) -> tuple[Sequence[Tensor], ...]:
        """Of each step: its factor and its change."""
        return self.factors[:, 0].unbind(0), self.changes[:, 0].unbind(0)


class RNNLayer(torch.autograd.Function):
    """One layer of simple cells in one direction."""

    @staticmethod
    def forward(context: Any, flow: Tensor, whole: bool, *weights: Tensor) -> Any:
        """Map inputs (time, features, n) to all states (time, hidden, n) and the final one."""
        weight, recurrent, bias, recurrent_bias = weights
        lease = Lease(RNNBuffers, flow, len(recurrent))
        buffers = lease.buffers
        shift = 2 * (bias + recurrent_bias - recurrent.sum(1))
        matrix = torch.cat((4 * recurrent, shift[:, None], 2 * weight), 1)
        for feed, state in zip(buffers.feeds, buffers.nexts, strict=True):
            torch.mm(matrix, feed, out=state).sigmoid_()
        unhalved(buffers.fed[:, : len(recurrent)])
        context.lease = lease
        context.save_for_backward(weight, recurrent)
        context.set_materialize_grads(False)
        return buffers.after.clone() if whole else None, buffers.nexts[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(context: Any, outer: Tensor | None, last: Tensor | None) -> Any:
        """Return the gradients of inputs and weights."""
        weight, recurrent = context.saved_tensors
        buffers = context.lease.buffers
        after = buffers.after
        one = torch.ones((), dtype=after.dtype)
        torch.addcmul(one, after, after, value=-1, out=buffers.factors[:, 0])
        carry = torch.zeros_like(after[0]) if last is None else last.clone()
        back = recurrent.T.contiguous()
        for factor, change, other in back_in_time(*buffers.views, outer=outer):
            if other is not None:
                carry.add_(other)
            torch.mul(carry, factor, out=change)
            torch.mm(back, change, out=carry)
        needed = context.needs_input_grad[0]
        inputs = weight.T @ buffers.changes[:, 0] if needed else None
        by_states, by_bias, by_inputs = buffers.summed(one[None])
        return inputs, None, by_inputs, by_states, by_bias, by_bias


class RNN(nn.RNN):
    """Simple recurrent cells, one or more layers, one way or both."""

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> Any:  # type: ignore[override]
        """Map (n, time, features) to outputs (n, time, hidden) and the final states."""
        if state is not None or not fits(self, inputs):
            return super().forward(inputs, state)
        return layers(self, RNNLayer, inputs, whole=True)

    def final(self, inputs: Tensor) -> Tensor:
        """Return the final states alone (layers and ways, n, hidden): that is less to do."""
        if not fits(self, inputs):
            states: Tensor = self(inputs)[1]
            return states
        return layers(self, RNNLayer, inputs, whole=False)[1]


class GRUBuffers(Buffers):
    """Of gated units; gates lie as (new, reset, update, inputs of new).

    The new state's sum has two parts, of which only the recurrent one is reset.
    """

    gates, start = 4, 0.5

    def __init__(self, hidden: int, steps: int, inputs: int, n: int, like: Tensor) -> None:
        super().__init__(hidden, steps, inputs, n, like)
        self.steps = [
            *zip(
                self.feeds, self.sums[:, :3].flatten(1, 2).unbind(0),
                self.sums[:, 1:3].unbind(0), *(
                    part.unbind(0) for part in self.sums.unbind(1)
                ), self.before.unbind(0), self.nexts, strict=True,
            )
        ]  # fmt: skip

    @cached_property
    def views(self) -> tuple[Sequence[Tensor], ...]:
        """Of each step: factors, changes, the recurrent ones of them, and the update gate."""
        flat = self.changes.flatten(1, 2)
        return (
            self.factors.unbind(0), self.changes.unbind(0),
            flat[:, : 3 * len(self.sums[0, 0])].unbind(0), self.sums[:, 2].unbind(0),
        )  # fmt: skip


class GRULayer(torch.autograd.Function):
    """One layer of gated units in one direction; the reset gate comes after the product."""

    @staticmethod
    def forward(context: Any, flow: Tensor, whole: bool, *weights: Tensor) -> Any:
        """Map inputs (time, features, n) to all states (time, hidden, n) and the final one."""
        weight, recurrent, bias, recurrent_bias = weights
        hidden = recurrent.shape[1]
        lease = Lease(GRUBuffers, flow, hidden)
        buffers = lease.buffers
        fed = torch.cat((bias[:, None], weight), 1)
        fed[2 * hidden :] *= 2
        buffers.sums[:, 3] = fed[2 * hidden :] @ buffers.fed[:-1, hidden:]
        shift = (recurrent_bias - recurrent.sum(1))[:, None]
        matrix = torch.cat((2 * recurrent, shift, torch.zeros_like(weight)), 1)
        matrix[2 * hidden :] *= 2
        matrix[: 2 * hidden, hidden:] += fed[: 2 * hidden]
        matrix = matrix.roll(hidden, 0)
        for feed, sums, gates, product, reset, update, new, state, following in buffers.steps:
            torch.mm(matrix, feed, out=sums)
            gates.sigmoid_()
            new.addcmul_(reset, product).sigmoid_()
            torch.lerp(new, state, update, out=following)
        unhalved(buffers.fed[:, :hidden])
        unhalved(buffers.sums[:, 3])
        context.lease = lease
        context.save_for_backward(weight, recurrent)
        context.set_materialize_grads(False)
        return buffers.after.clone() if whole else None, buffers.nexts[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(context: Any, outer: Tensor | None, last: Tensor | None) -> Any:
        """Return the gradients of inputs and weights."""
        weight, recurrent = context.saved_tensors
        buffers, hidden = context.lease.buffers, recurrent.shape[1]
        product, reset, update, new = buffers.sums.unbind(1)
        by_product, by_reset, by_update, by_new = buffers.factors.unbind(1)
        scratch = buffers.changes[:, 0]
        torch.sub(1, update, out=scratch)
        tanh_slope(scratch, new, grad_input=by_new)
        torch.sub(buffers.before, new, out=scratch)
        sigmoid_slope(scratch, update, grad_input=by_update)
        torch.mul(by_new, product, out=scratch)
        sigmoid_slope(scratch, reset, grad_input=by_reset)
        torch.mul(by_new, reset, out=by_product)
        # products were doubled
        scale = recurrent.new_tensor((1, 0.5, 1, 1)).repeat_interleave(hidden)
        carry = torch.zeros_like(buffers.nexts[0]) if last is None else last.clone()
        back = (scale[: 3 * hidden, None] * recurrent.roll(hidden, 0)).T.contiguous()
        for factors, changes, inner, gate, other in back_in_time(*buffers.views, outer=outer):
            if other is not None:
                carry.add_(other)
            torch.mul(factors, carry, out=changes)
            carry.mul_(gate).addmm_(back, inner)
        needed = context.needs_input_grad[0]
        outward = buffers.changes.flatten(1, 2)[:, hidden:]
        inputs = (scale[hidden:, None] * weight).T @ outward if needed else None
        by_states, by_bias, by_inputs = buffers.summed(scale)
        inner = (part[: 3 * hidden].roll(-hidden, 0) for part in (by_states, by_bias))
        return inputs, None, by_inputs[hidden:], next(inner), by_bias[hidden:], next(inner)


class GRU(nn.GRU):
    """Gated recurrent units, one or more layers, one way or both."""

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> Any:  # type: ignore[override]
        """Map (n, time, features) to outputs (n, time, hidden) and the final states."""
        if state is not None or not fits(self, inputs):
            return super().forward(inputs, state)
        return layers(self, GRULayer, inputs, whole=True)

    def final(self, inputs: Tensor) -> Tensor:
        """Return the final states alone (layers and ways, n, hidden): that is less to do."""
        if not fits(self, inputs):
            states: Tensor = self(inputs)[1]
            return states
        return layers(self, GRULayer, inputs, whole=False)[1]


class LSTM(nn.LSTM):
    """Long short-term memory as torch has it: one call of oneDNN, and faster than this way."""

    def final(self, inputs: Tensor) -> Tensor:
        """Return the final states alone (layers and ways, n, hidden)."""
        states: Tensor = self(inputs)[1][0]
        return states
