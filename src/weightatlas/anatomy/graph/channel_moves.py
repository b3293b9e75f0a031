"""Operators that only move values, or write over them: the same operator moves their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx
from torch.nn import functional

from weightatlas.anatomy.graph.channel_ids import Channels, Constant, Unfollowed, Value, compact
from weightatlas.anatomy.graph.channel_records import Joint
from weightatlas.anatomy.graph.channel_rules import kept

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from weightatlas.anatomy.graph.channel_walk import Call

Result = Value | list[Value]

_COPYING: Final = frozenset({"lift_fresh_copy", "detach", "detach_", "alias", "clone"})
_TAKING: Final = frozenset({"index", "index_select"})


def move(call: Call) -> Result:
    """Let the operator itself move the ids of its one value with channels."""
    values = [value for value in call.values() if not isinstance(value, Constant)]
    value = next((one for one in values if isinstance(one, Channels)), values[0])
    if isinstance(value, Unfollowed):
        return [call.lost(operator=value.operator, kind=value.kind, output=place) for place in range(len(call.shapes))]
    if not value.varying:
        return [call.channels(value.ids.reshape([1] * len(shape)), output=n) for n, shape in enumerate(call.shapes)]
    try:
        outputs = _run(call, value)
    except (RuntimeError, IndexError, TypeError, ValueError):
        return [call.lost(output=place) for place in range(len(call.shapes))]
    return [
        call.channels(compact(ids), squashed=value.squashed, output=place)
        if tuple(ids.shape) == call.shapes[place]
        else call.lost(output=place)
        for place, ids in enumerate(outputs)
    ]


def _run(call: Call, value: Channels) -> list[torch.Tensor]:
    ids = value.expanded()
    if call.name in {"view", "_unsafe_view", "reshape"}:
        return [ids.reshape(call.shape)]
    if call.name in {"view_as", "reshape_as", "expand_as"}:
        return [ids.reshape(call.shape) if call.name != "expand_as" else ids.expand(call.shape)]
    given = iter(call.values())

    def stand_in(_node: fx.Node) -> Any:  # noqa: ANN401
        one = next(given)
        if one is value:
            return ids
        if isinstance(one, Constant):
            return _constant(call, _node, one, value)
        message = "moved by what is computed"
        raise TypeError(message)

    arguments = fx.node.map_arg(call.node.args, stand_in)
    named = fx.node.map_arg(call.node.kwargs, stand_in)
    outputs = call.node.target(*arguments, **named)  # type: ignore[operator]
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _constant(call: Call, node: fx.Node, one: Constant, value: Channels) -> torch.Tensor:
    """Where values are taken from: as it is in the model, or anywhere if all channels are alike along that axis."""
    known = call.walk.state.get(_stored(node).name)
    if isinstance(known, torch.Tensor):
        return known
    taken = call.arguments.get("indices")
    axes = [axis for axis, index in enumerate(taken) if index is not None] if isinstance(taken, list) else []
    if call.name == "index_select":
        axes = [int(call.arguments["dim"]) % len(value.shape)]
    if not axes or set(axes) & set(value.varying):
        message = "moved by what is computed"
        raise TypeError(message)
    return torch.zeros(one.shape, dtype=torch.long)


def _stored(node: fx.Node) -> fx.Node:
    """The stored value that a value is a copy of, if nothing has written into the copy."""
    source = node
    while _is(source, _COPYING):
        if not all(_is(user, _COPYING | _TAKING) for user in source.users):
            return node
        (source,) = source.all_input_nodes
    return source


def _is(node: fx.Node, names: frozenset[str]) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.name.rpartition("::")[2] in names


def concatenate(call: Call) -> Result:
    """Side by side along the axis of channels, or one after the other along another axis."""
    parts = call.values()
    stacked = call.name == "stack"
    axis = int(call.arguments.get("dim", 0) or 0) % len(call.shape)
    known = [part for part in parts if isinstance(part, Channels)]
    if not known:
        return call.lost(operator=next((one.operator for one in parts if isinstance(one, Unfollowed)), None))
    if stacked:
        along = False
    else:
        parts = [part for part in parts if part.shape != (0,)]  # torch lets an empty list of values pass
        along = any(axis in part.varying for part in known) or all(
            not part.varying and part.shape[axis] == 1 for part in known
        )
    pieces = [_piece(call, part, known[0], axis, along=along) for part in parts]
    ids = compact(torch.stack(pieces, axis) if stacked else torch.cat(pieces, axis))
    if along and len(parts) > 1:
        call.walk.concatenations.append(Joint(call.step, tuple(parts), ids, axis))
    return call.channels(ids)


def _piece(call: Call, part: Value, like: Channels, axis: int, *, along: bool) -> torch.Tensor:
    """The ids of one of the values that are joined; fresh ones where they are not known."""
    if isinstance(part, Channels):
        return part.expanded()
    if not along and isinstance(part, Constant):  # one more position of the same channels
        return like.ids.expand(part.shape)
    if along:
        if isinstance(part, Unfollowed):
            call.walk.note(f"channels concatenated in {call.path or 'the model'} are not followed ({part.operator})")
        shape = [1] * len(part.shape)
        shape[axis] = part.shape[axis]
        return call.walk.nodes.fresh(part.shape[axis]).reshape(shape).expand(part.shape)
    lengths = [part.shape[one] if one in like.varying else 1 for one in range(len(part.shape))]
    return call.walk.nodes.fresh(int(torch.Size(lengths).numel())).reshape(lengths).expand(part.shape)


def pad(call: Call) -> Result:
    """Positions are padded with anything; padded channels are units of their own."""
    value = call.values()[0]
    if not isinstance(value, Channels):
        return kept(call, value)
    widths = list(call.arguments["pad"])
    grown = [axis for axis in value.varying if value.shape[axis] != call.shape[axis]]
    if not grown:
        return kept(call, value)
    inner = list(value.ids.shape)
    padding = [
        width if inner[axis] > 1 else 0
        for place, axis in enumerate(range(len(inner) - 1, len(inner) - 1 - len(widths) // 2, -1))
        for width in widths[2 * place : 2 * place + 2]
    ]
    if call.arguments.get("mode", "constant") != "constant" or len(grown) > 1:
        return call.lost()
    ids = functional.pad(value.ids, padding, value=-1)
    axis = grown[0]
    lengths = [1] * len(inner)
    lengths[axis] = ids.shape[axis]
    fresh = call.walk.nodes.fresh(ids.shape[axis]).reshape(lengths).expand(ids.shape)
    return call.channels(torch.where(ids < 0, fresh, ids))


def write(call: Call) -> Result:
    """One value with another written into a part of it."""
    base, part = call.values()[:2]
    axis = int(call.arguments.get("dim", 0)) % len(call.shape)
    arguments = call.node.args[2:], call.node.kwargs
    if isinstance(base, Channels) and isinstance(part, Channels):
        ids = call.node.target(base.expanded(), part.expanded(), *arguments[0], **arguments[1])  # type: ignore[operator]
        return call.channels(compact(ids))
    if isinstance(base, Channels) and isinstance(part, Constant) and axis not in base.varying:
        return kept(call, base)
    if isinstance(base, Constant) and isinstance(part, Channels) and call.name == "slice_scatter":
        if axis not in part.varying:
            return kept(call, part)
        shape = [1] * len(call.shape)
        shape[axis] = call.shape[axis]
        fresh = call.walk.nodes.fresh(call.shape[axis]).reshape(shape).expand(call.shape)
        ids = call.node.target(fresh, part.expanded(), *arguments[0], **arguments[1])  # type: ignore[operator]
        return call.channels(compact(ids))
    return call.lost()


def copy(call: Call) -> Result:
    """The second value in place of the first."""
    value = call.values()[-1]
    return Constant(call.shape) if isinstance(value, Constant) else kept(call, value)


def fill(call: Call) -> Result:
    """A value of its own, of which another gives the shape alone."""
    known = all(isinstance(one, Constant) for one in call.values()[1:])
    return Constant(call.shape) if known else call.lost()


_FILLING: Final = (
    "fill", "zero", "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_zeros",
    "new_ones", "new_full", "new_empty",
)  # fmt: skip
_MOVING: Final = (
    "view", "reshape", "_unsafe_view", "view_as", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze",
    "expand", "expand_as", "permute", "transpose", "t", "numpy_T", "matrix_H", "mT", "swapaxes", "swapdims", "movedim",
    "moveaxis", "slice", "select", "narrow", "index_select", "index", "unbind", "split", "split_with_sizes", "chunk",
    "tensor_split", "unsafe_split", "unsafe_chunk", "roll", "flip", "repeat", "repeat_interleave", "tile",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "unfold", "diagonal", "rot90",
)  # fmt: skip

MOVES: Final[Mapping[str, Callable[[Call], Result]]] = {
    **dict.fromkeys(_MOVING, move),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack"), concatenate),
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    **dict.fromkeys(("slice_scatter", "select_scatter"), write),
    "copy": copy,
    **dict.fromkeys(_FILLING, fill),
}
"""By the operator's name in torch's `aten`, without the underscore of those that work in place."""
