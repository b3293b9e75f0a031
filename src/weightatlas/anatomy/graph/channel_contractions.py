"""Operators that read channels: convolutions, linear layers, matrix products, embeddings, attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from weightatlas.anatomy.graph.channel_ids import Channels, Constant, Unfollowed, Value, compact
from weightatlas.anatomy.graph.channel_records import Joint, Read
from weightatlas.anatomy.graph.channel_rules import kept

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from weightatlas.anatomy.graph.channel_walk import Call

Result = Value | list[Value]


def convolve(call: Call) -> Result:
    """A convolution: fresh units, that read all channels or those of their group."""
    value = _argument(call, "input")
    weight = _argument(call, "weight")
    if not isinstance(weight, Constant):
        return _computed(call)
    transposed = "transpose" in call.name or bool(call.arguments.get("transposed"))
    groups = int(call.arguments.get("groups") or 1)
    axis = len(value.shape) - (len(weight.shape) - 2) - 1
    if not weight.parameters and groups == value.shape[axis] == call.shape[axis]:
        return kept(call, value)  # a fixed filter, the same for all channels
    units = weight.shape[1] * groups if transposed else weight.shape[0]
    inputs = _channels_of(call, value, (axis,), weight)
    kernel = (*(1, 1), *weight.shape[2:])[-2:]
    outputs = _record(call, weight, inputs, units, groups=groups, kernel=kernel, unit_axis=int(transposed))
    if _mixes_positions(value, (axis,)):
        return kept(call, value)
    return call.channels(_along(outputs, axis, len(call.shape)))


def linear(call: Call) -> Result:
    """A linear layer, on the last axis."""
    return _contract(call, _argument(call, "input"), _argument(call, "weight"), ("...i", "oi", "...o"))


def product(call: Call) -> Result:
    """A matrix product of the last two axes."""
    left = _argument(call, "self", "mat1", "batch1")
    right = _argument(call, "other", "mat2", "batch2", "tensor2")
    if call.name in {"addmm", "baddbmm"}:
        left, right = _argument(call, "mat1", "batch1"), _argument(call, "mat2", "batch2")
    if len(left.shape) < 2 or len(right.shape) < 2:
        return call.lost()
    return _contract(call, left, right, ("...ni", "...io", "...no"))


def einsum(call: Call) -> Result:
    """A product of two values as an equation says it."""
    values = call.values()
    equation = str(call.arguments["equation"]).replace(" ", "")
    inputs, _, output = equation.partition("->")
    terms = inputs.split(",")
    if len(values) != 2 or len(terms) != 2 or "->" not in equation:
        return call.lost()
    return _contract(call, values[0], values[1], (terms[0], terms[1], output))


def embed(call: Call) -> Result:
    """A row of a matrix for each symbol: the columns are units."""
    weight = _argument(call, "weight")
    if not isinstance(weight, Constant) or not weight.parameters:
        return call.lost()
    symbols = call.walk.nodes.fresh(weight.shape[0])
    outputs = _record(call, weight, symbols, weight.shape[-1], unit_axis=1)
    return [call.channels(_along(outputs, len(call.shape) - 1, len(call.shape)))]


def attend(call: Call) -> Result:
    """Attention: averages over positions of the values' channels."""
    value = _argument(call, "value")
    if not isinstance(value, Channels):
        return kept(call, value)
    axes = len(value.shape)
    if axes - 2 in value.varying:
        return call.lost()
    ids = value.expanded()[..., :1, :]
    heads = call.shape[-3] if axes > 2 and len(call.shape) == axes else 0
    if heads and ids.shape[-3] != heads and heads % ids.shape[-3] == 0:
        ids = ids.repeat_interleave(heads // ids.shape[-3], dim=-3)
    ids = compact(ids)
    call.walk.attention.append(Joint(call.step, (value,), value.ids))
    return [kept(call, Channels(ids, (*call.shape[:-1], value.shape[-1]), value.step))]


def _contract(call: Call, left: Value, right: Value, terms: tuple[str, str, str]) -> Value:
    """A product summed over the letters that only the operands have."""
    first, second, output = (
        _letters(term, len(shape)) for term, shape in zip(terms, (left.shape, right.shape, call.shape), strict=True)
    )
    names = first, second
    if any(len(set(one)) != len(one) for one in (*names, output)):
        return call.lost()
    contracted = [letter for letter in names[0] if letter in names[1] and letter not in output]
    for value, weight, ours, theirs in ((left, right, names[0], names[1]), (right, left, names[1], names[0])):
        if isinstance(weight, Constant) and weight.parameters and not isinstance(value, Constant):
            return _read(call, value, weight, (ours, theirs, output))
    scores = [isinstance(value, Unfollowed) and value.kind == "weights" for value in (left, right)]
    carried = [_carried(value, ours, contracted, output) for value, ours in zip((left, right), names, strict=True)]
    if scores[0] != scores[1]:
        carried[scores.index(True)] = None
    found = [ids for ids in carried if ids is not None]
    if len(found) != 1:
        both = not any(isinstance(value, Constant) for value in (left, right))
        return call.lost(kind="scores" if both and not found else "")
    if any(scores):
        value = right if carried[0] is None else left
        call.walk.attention.append(Joint(call.step, (value,), value.ids if isinstance(value, Channels) else found[0]))
    return call.channels(found[0])


def _letters(term: str, axes: int) -> str:
    """A term with capital letters, counted from the right, for the axes that its dots stand for."""
    named = term.replace("...", "")
    if "..." not in term:
        return named
    dots = "".join(chr(ord("Z") - place) for place in range(axes - len(named)))[::-1]
    return term.replace("...", dots)


def _carried(value: Value, ours: str, contracted: list[str], output: str) -> torch.Tensor | None:
    """The ids of a value whose channels a product only averages, at the output's axes."""
    if not isinstance(value, Channels) or not value.varying:
        return None
    varying = [ours[axis] for axis in value.varying]
    if any(letter in contracted or letter not in output for letter in varying):
        return None
    return _placed(value.ids, ours, output)


def _placed(ids: torch.Tensor, ours: str, output: str) -> torch.Tensor:
    """Ids of axes named by letters, at the places that these letters have in the output."""
    kept_axes = [axis for axis, letter in enumerate(ours) if letter in output]
    order = sorted(kept_axes, key=lambda axis: output.index(ours[axis]))
    lengths = [ids.shape[ours.index(letter)] if letter in ours else 1 for letter in output]
    dropped = [axis for axis in range(len(ours)) if axis not in kept_axes]
    return ids.permute(*order, *dropped).reshape(lengths)


def _read(call: Call, value: Value, weight: Constant, terms: tuple[str, str, str]) -> Value:
    """A layer: its weight's axes that the value lacks are units."""
    ours, theirs, output = terms
    lengths = dict(zip(theirs, weight.shape, strict=True)) | dict(zip(ours, value.shape, strict=True))
    read = [letter for letter in theirs if letter in ours and letter not in output]
    made = [letter for letter in theirs if letter not in ours and letter in output]
    shared = [letter for letter in theirs if letter in ours and letter in output and lengths[letter] > 1]
    if shared or not read:
        call.walk.note(f"{_layer(call, weight)[0]} has a matrix for each of several groups, and is not followed")
        return call.lost()
    inputs = _channels_of(call, value, tuple(ours.index(letter) for letter in read), weight)
    units = int(torch.Size([lengths[letter] for letter in made]).numel())
    axes = weight.axes
    unit_axis = axes[theirs.index(made[0])] if axes and len(axes) == 2 and made else 0
    outputs = _record(call, weight, inputs, units, unit_axis=unit_axis)
    if isinstance(value, Channels) and _mixes_positions(value, tuple(ours.index(letter) for letter in read)):
        return call.channels(_placed(value.ids, ours, output))  # each channel has its own sum over positions
    return call.channels(outputs.reshape([lengths[letter] if letter in made else 1 for letter in output]))


def _channels_of(call: Call, value: Value, axes: tuple[int, ...], weight: Constant) -> torch.Tensor:
    """The ids along the axes that a layer reads; what differs along other axes is read by the same weights: merged."""
    lengths = [value.shape[axis] for axis in axes]
    count = int(torch.Size(lengths).numel())
    name = _layer(call, weight)[0]
    if not isinstance(value, Channels):
        if isinstance(value, Unfollowed) and value.operator != "input":
            call.walk.note(f"what {name} reads is not followed through {value.operator}")
        return call.walk.nodes.fresh(count)
    if _mixes_positions(value, axes):
        call.walk.note(f"{name} mixes positions and not channels")
        return call.walk.nodes.fresh(count)
    rest = [axis for axis in range(len(value.shape)) if axis not in axes]
    ids = value.ids.permute(*rest, *axes)
    rows = ids.expand(*ids.shape[: len(rest)], *lengths).reshape(-1, count)
    if len(rows) > 1:
        call.walk.nodes.merge(rows, rows[:1].expand(rows.shape).contiguous())
    return rows[0]


def _mixes_positions(value: Value, axes: tuple[int, ...]) -> bool:
    """Whether all along some axes is the same channel, and other channels lie along other axes."""
    if not isinstance(value, Channels) or not value.varying or set(axes) & set(value.varying):
        return False
    return any(value.shape[axis] > 1 for axis in axes)


def _record(
    call: Call,
    weight: Constant,
    inputs: torch.Tensor,
    units: int,
    *,
    groups: int = 1,
    kernel: tuple[int, ...] = (1, 1),
    unit_axis: int = 0,
) -> torch.Tensor:
    """Write down a layer and give the ids of its units; a weight that is used again has the same units again."""
    walk = call.walk
    layer, tensor = _layer(call, weight)
    key = (weight.tensor or "", weight.first_row)
    before = _before(walk.reads, key, inputs, units, unit_axis)
    if before is not None:
        walk.nodes.merge(before.inputs, inputs)
        inputs = before.inputs
    outputs = walk.nodes.fresh(units) if before is None else before.outputs
    place = (int(kernel[0]), int(kernel[1]))
    walk.reads.append(Read(layer, tensor, inputs, outputs, groups, place, unit_axis, call.step, key))
    return outputs


def _before(reads: list[Read], key: tuple[str, int], inputs: torch.Tensor, units: int, unit_axis: int) -> Read | None:
    for read in reads:
        same = key[0] and read.key == key and read.unit_axis == unit_axis
        if same and len(read.inputs) == len(inputs) and len(read.outputs) == units:
            return read
    return None


def _layer(call: Call, weight: Constant) -> tuple[str, str]:
    """The module path of a weight, and its name where it is used as it is stored."""
    if weight.tensor is not None:
        names = call.walk.aliases.get(weight.tensor, (weight.tensor,))
        name = next((one for one in names if one.rpartition(".")[0] == call.path), weight.tensor)
        return name.rpartition(".")[0] or name, name
    first = min(weight.parameters, default="")
    return call.path or first.rpartition(".")[0] or first or call.node.name, ""


def _computed(call: Call) -> Value:
    call.walk.note(f"{call.path or call.node.name} has a weight that depends on the input, and is not followed")
    return call.lost()


def _along(ids: torch.Tensor, axis: int, axes: int) -> torch.Tensor:
    lengths = [1] * axes
    lengths[axis] = len(ids)
    return ids.reshape(lengths)


def _argument(call: Call, *names: str) -> Value:
    value = next(call.arguments[name] for name in names if name in call.arguments)
    assert isinstance(value, Channels | Constant | Unfollowed)  # noqa: S101 - a tensor by the operator's schema
    return value


CONTRACTIONS: Final[Mapping[str, Callable[[Call], Result]]] = {
    **dict.fromkeys(
        (
            *(f"conv{axes}d" for axes in (1, 2, 3)),
            *(f"conv_transpose{axes}d" for axes in (1, 2, 3)),
            "convolution",
            "_convolution",
        ),
        convolve,
    ),
    "linear": linear,
    **dict.fromkeys(("matmul", "mm", "bmm", "addmm", "baddbmm"), product),
    "einsum": einsum,
    "embedding": embed,
    "scaled_dot_product_attention": attend,
}
"""By the operator's name in torch's `aten`."""
