"""What is refused of pictures, and how to convert what is legal elsewhere."""

from __future__ import annotations

from pytest_amlnn.arrays import some_rows
from pytest_amlnn.data import DataError, Split


def check_pictures(name: str, split: Split) -> None:
    """Refuse inputs that are not uint8 (n, height, width, 3) in 0..255."""
    shape, kind = split.inputs.shape, split.inputs.dtype
    if kind != "uint8":
        raise DataError(
            f"{name} split: pictures are {kind}, needs uint8 in 0..255"
            f"{remedy_for_values(split)}"
        )
    if len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise DataError(
            f"{name} split: pictures are {shape}, needs (n, height, width, 3);"
            f" {remedy_for_shape(shape)}"
        )
    few = split.inputs[some_rows(split.rows)]
    if few.max() <= 1:
        raise DataError(
            f"{name} split: no value of {len(few)} pictures is above 1, needs 0..255; multiply"
            " pictures in 0..1 by 255, before they become uint8"
        )


def remedy_for_values(split: Split) -> str:
    """Say how pictures of another type become uint8, by a few of them."""
    kind = split.inputs.dtype.kind
    if kind == "b":
        return "; multiply True and False by 255: inputs.astype('uint8') * 255"
    if kind not in "iuf":
        return "; np.stack(list(inputs)) makes one array of many" if kind == "O" else ""
    few = split.inputs[some_rows(split.rows)]
    low, high = (few.min(), few.max()) if few.size else (0, 0)
    if kind == "f" and low >= 0 and high <= 1:
        return "; multiply floats in 0..1 by 255 and round"
    if kind == "f" and low >= -1 and high <= 1:
        return "; add 1 to floats in -1..1, multiply by 127.5 and round"
    if low >= 0 and high <= 255:
        return f"; {'round, and then ' if kind == 'f' else ''}inputs.astype('uint8')"
    return f"; they lie in {low:g}..{high:g}: scale them, round and inputs.astype('uint8')"


def remedy_for_shape(shape: tuple[int, ...]) -> str:
    """Say how pictures of another layout become (n, height, width, 3)."""
    if 0 in shape:
        return "an axis has no length"
    if len(shape) == 4 and shape[3] == 4:
        return "leave out the fourth channel, how opaque they are: inputs[..., :3]"
    if len(shape) == 4 and shape[1] == 3:
        return "channels come last: inputs.transpose(0, 2, 3, 1)"
    if len(shape) == 4 and shape[1] == 4:
        return "channels come last, and opacity is none: inputs[:, :3].transpose(0, 2, 3, 1)"
    if len(shape) == 4 and shape[1] == 1:
        return "channels come last, three of them: inputs.transpose(0, 2, 3, 1).repeat(3, 3)"
    if len(shape) == 4 and shape[3] == 1:
        return "repeat grey pictures three times, along the last axis: inputs.repeat(3, 3)"
    if len(shape) == 3:
        grey = "inputs[..., None].repeat(3, 3)"
        return f"repeat grey pictures three times, along a last axis: {grey}"
    if len(shape) == 2:
        return "give flat pictures their shape: inputs.reshape(n, height, width, 3)"
    return "pictures have three channels, red, green and blue, which come last"
