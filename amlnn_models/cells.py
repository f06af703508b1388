"""torch's recurrent cells, computed on the CPU with as few calls as possible.

At the size of these nets a step of torch's own GRU and simple RNN is spent on calls, not on
arithmetic: each step in time takes a dozen operations, and autograd as many again. Here a
layer is one function: the inputs' part of all steps is one product, what a step needs lies in
buffers whose views are made once, the factors of the way back are computed for all steps
together, and so are the gradients of the weights. The numbers are torch's but for rounding.
LSTM is not here: torch has one call for it (oneDNN), which was faster than this.

Inside, time comes first and the batch last, (time, features, n), so that the rows of a gate lie
together in memory. States are kept as (1 + state) / 2 while a loop runs: tanh(x) is
2 sigmoid(2 x) - 1, torch's sigmoid takes less than half the time of its tanh, and the rest of
that formula goes into weights and biases beforehand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class GRU(nn.GRU):
    """Gated recurrent units, one or more layers, one way or both."""

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> Any:  # type: ignore[override]
        """Map (n, time, features) to outputs (n, time, hidden) and the final states."""
        if state is not None or not fits(self, inputs):
            return super().forward(inputs, state)
        return layers(self, inputs, GRULayer)


class RNN(nn.RNN):
    """Simple recurrent cells, one or more layers, one way or both."""

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> Any:  # type: ignore[override]
        """Map (n, time, features) to outputs (n, time, hidden) and the final states."""
        if state is not None or not fits(self, inputs):
            return super().forward(inputs, state)
        return layers(self, inputs, RNNLayer)


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
    cells: nn.RNNBase, inputs: Tensor, layer: type[torch.autograd.Function]
) -> tuple[Tensor, Tensor]:
    """Run all layers and directions, and return what torch's module would."""
    flow = inputs.permute(1, 2, 0)
    finals = []
    ways = ("", "_reverse") if cells.bidirectional else ("",)
    for depth in range(cells.num_layers):
        outputs = []
        for way in ways:
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [getattr(cells, f"{name}_l{depth}{way}") for name in names]
            states, final = layer.apply(flow.flip(0) if way else flow, *weights)
            outputs.append(states.flip(0) if way else states)
            finals.append(final.T)
        flow = torch.cat(outputs, 1) if len(outputs) > 1 else outputs[0]
    return flow.permute(2, 0, 1), torch.stack(finals)


def projected(flow: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the inputs' part of all steps: (time, features, n) to (time, rows, n)."""
    return torch.baddbmm(bias[:, None], weight.expand(len(flow), -1, -1), flow)


def rows_of(parts: Tensor) -> Tensor:
    """Return (time, rows, n) as (rows, time * n), for one product over all steps."""
    return parts.transpose(0, 1).flatten(1)


class RNNLayer(torch.autograd.Function):
    """One layer of simple cells in one direction."""

    @staticmethod
    def forward(context: Any, flow: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        """Map inputs (time, features, n) to all states and the final one."""
        weight, recurrent, bias, recurrent_bias = weights
        whole = recurrent.sum(1)
        sums = 2 * projected(flow, weight, bias + recurrent_bias - whole)
        sums[0] += 2 * whole[:, None]  # the first step begins with zeros, not with halves
        twice, steps = 4 * recurrent, sums.unbind(0)
        steps[0].sigmoid_()
        for before, now in zip(steps, steps[1:], strict=False):
            now.addmm_(twice, before).sigmoid_()
        states = 2 * sums - 1
        context.save_for_backward(flow, states, weight, recurrent)
        context.set_materialize_grads(False)
        return states, states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(context: Any, outer: Tensor | None, final: Tensor | None) -> Any:
        """Return the gradients of inputs and weights."""
        flow, states, weight, recurrent = context.saved_tensors
        slope = 1 - states.square()
        change = torch.empty_like(states)
        carry = torch.zeros_like(states[0]) if final is None else final.clone()
        back = recurrent.T.contiguous()
        outers = [None] * len(flow) if outer is None else outer.unbind(0)
        for factor, now, other in zip(
            reversed(slope.unbind(0)), reversed(change.unbind(0)), reversed(outers), strict=True
        ):
            if other is not None:
                carry.add_(other)
            torch.mul(carry, factor, out=now)
            torch.mm(back, now, out=carry)
        inputs = weight.T @ change if context.needs_input_grad[0] else None
        by_inputs = rows_of(change) @ rows_of(flow).T
        by_states = rows_of(change[1:]) @ rows_of(states[:-1]).T  # the first began with zeros
        by_bias = change.sum((0, 2))
        return inputs, by_inputs, by_states, by_bias, by_bias


class GRULayer(torch.autograd.Function):
    """One layer of gated units in one direction; the reset gate comes after the product."""

    @staticmethod
    def forward(context: Any, flow: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        """Map inputs (time, features, n) to all states and the final one."""
        weight, recurrent, bias, recurrent_bias = weights
        hidden = recurrent.shape[1]
        shift = (recurrent_bias - recurrent.sum(1))[:, None]
        sums = projected(flow, weight, bias)
        fresh = 2 * sums[:, 2 * hidden :]
        sums[:, : 2 * hidden] += shift[: 2 * hidden]
        sums[:, 2 * hidden :] = 2 * shift[2 * hidden :]
        twice = 2 * recurrent
        twice[2 * hidden :] *= 2
        halves = flow.new_full((len(flow) + 1, hidden, flow.shape[2]), 0.5)
        gates, resets, updates, products = (
            part.unbind(0)
            for part in (
                sums[:, : 2 * hidden],
                sums[:, :hidden],
                sums[:, hidden : 2 * hidden],
                sums[:, 2 * hidden :],
            )
        )
        steps = halves.unbind(0)
        for all_rows, gate, reset, update, product, new, before, now in zip(
            sums.unbind(0), gates, resets, updates, products, fresh.unbind(0), steps, steps[1:],
            strict=False,
        ):  # fmt: skip
            all_rows.addmm_(twice, before)
            gate.sigmoid_()
            new.addcmul_(reset, product).sigmoid_()
            torch.lerp(new, before, update, out=now)
        states, fresh = 2 * halves - 1, 2 * fresh - 1
        context.save_for_backward(flow, sums, fresh, states, weight, recurrent)
        context.set_materialize_grads(False)
        return states[1:], states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(context: Any, outer: Tensor | None, final: Tensor | None) -> Any:
        """Return the gradients of inputs and weights."""
        flow, sums, fresh, states, weight, recurrent = context.saved_tensors
        reset, update, product = sums.chunk(3, 1)
        before = states[:-1]
        kept = 1 - update
        to_new = kept * (1 - fresh.square())
        factors = torch.stack(
            (
                to_new * product * reset * (1 - reset) / 2,  # products were doubled
                (before - fresh) * update * kept,
                to_new * reset,
            ),
            1,
        )
        changes, carries = torch.empty_like(factors), torch.empty_like(before)
        carry = torch.zeros_like(before[0]) if final is None else final.clone()
        back = recurrent.T.contiguous()
        outers = [None] * len(flow) if outer is None else outer.unbind(0)
        flat = changes.flatten(1, 2)
        for factor, change, rows, gate, at, other in zip(
            *(reversed(part.unbind(0)) for part in (factors, changes, flat, update, carries)),
            reversed(outers), strict=True,
        ):  # fmt: skip
            if other is not None:
                carry.add_(other)
            at.copy_(carry)
            torch.mul(factor, carry, out=change)
            carry.mul_(gate).addmm_(back, rows)
        # the inputs' part of the new state lies outside of the reset gate
        outward = torch.cat((flat[:, : -len(carry)], carries * to_new), 1)
        inputs = weight.T @ outward if context.needs_input_grad[0] else None
        by_inputs = rows_of(outward) @ rows_of(flow).T
        by_states = rows_of(flat) @ rows_of(before).T
        return inputs, by_inputs, by_states, outward.sum((0, 2)), flat.sum((0, 2))
