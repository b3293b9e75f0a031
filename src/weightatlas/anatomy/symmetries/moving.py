"""Operators that only move values: reshapes, turns, cuts, joins, repetitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from weightatlas.anatomy.graph.channel_constants import axis_order
from weightatlas.anatomy.symmetries.calls import Call, Result, Rule, Value, broadcast, hold
from weightatlas.anatomy.symmetries.instances import MOST
from weightatlas.anatomy.symmetries.reshaping import reshaped
from weightatlas.anatomy.symmetries.terms import UNIT, Leaf, Product, Segments, Term, leaves_of, resolved, size_of
from weightatlas.anatomy.symmetries.unification import cut, is_pinned, pin, split, unify

CUT: Final = "it is cut within its parts"


def reshape(call: Call) -> Result:
    """The same elements in the same order."""
    return call.made(reshaped(call.values()[0].axes, call.shape))


def turn(call: Call) -> Result:
    """Axes in another order."""
    value = call.values()[0]
    order = axis_order(call.name, call.node, len(value.shape))
    assert order is not None  # noqa: S101 - the rule stands for these operators only
    return call.made([value.axes[axis] for axis in order])


def expand(call: Call) -> Result:
    """Copies along axes of length 1: they are the same, whatever their order."""
    value = call.values()[0]
    before = len(call.shape) - len(value.shape)
    axes: list[Term] = [Leaf(length) for length in call.shape]
    for place, (axis, length) in enumerate(zip(value.axes, value.shape, strict=True), start=before):
        if length == call.shape[place]:
            axes[place] = axis
    return call.made(axes)


def repeat(call: Call) -> Result:
    """Copies of the whole, one after the other along each axis."""
    value = call.values()[0]
    before = len(call.shape) - len(value.shape)
    axes: list[Term] = [Leaf(length) for length in call.shape[:before]]
    lengths = zip(value.axes, value.shape, call.shape[before:], strict=True)
    axes += [Product((Leaf(new // old), axis)) if old else Leaf(new) for axis, old, new in lengths]
    return call.made([resolved(axis) for axis in axes])


def repeat_each(call: Call) -> Result:
    """Copies of every entry beside it."""
    value = call.values()[0]
    times, axis = call.arguments.get("repeats"), call.arguments.get("dim")
    if not isinstance(times, int) or (axis is None and len(value.shape) != 1):
        return unknown(call)
    axes = list(value.axes)
    place = int(axis or 0) % len(axes)
    axes[place] = resolved(Product((axes[place], Leaf(times))))
    return call.made(axes)


def select(call: Call) -> Result:
    """One entry of an axis."""
    value = call.values()[0]
    axis = call.axis(len(value.shape))
    entry = int(call.arguments["index"]) % value.shape[axis]
    return call.made(_beside(call, value, axis, [entry])[0])


def unbind(call: Call) -> Result:
    """Every entry of an axis, one by one."""
    value = call.values()[0]
    axis = call.axis(len(value.shape))
    several = _beside(call, value, axis, range(value.shape[axis]))
    return [call.made(axes, output) for output, axes in enumerate(several)]


def part(call: Call) -> Result:
    """A run of the entries of an axis."""
    value = call.values()[0]
    axis = call.axis(len(value.shape))
    length, kept = value.shape[axis], call.shape[axis]
    start = int(call.arguments.get("start") or 0)
    start = min(max(start + length if start < 0 else start, 0), length)
    if kept == length:
        return call.made(value.axes)
    if int(call.arguments.get("step", 1) or 1) != 1:
        return _chosen(call, value, axis, "only some of its entries are taken")
    return call.made(_replaced(value, axis, _run(value.axes[axis], start, kept)))


def parts(call: Call) -> Result:
    """Several runs of the entries of an axis, one after the other."""
    value = call.values()[0]
    axis = call.axis(len(value.shape))
    start, made = 0, []
    for output, shape in enumerate(call.shapes):
        run = _run(value.axes[axis], start, shape[axis])
        made.append(call.made(_replaced(value, axis, run), output))
        start += shape[axis]
    return made


def concatenate(call: Call) -> Result:
    """Values side by side along an axis."""
    axis = call.axis(len(call.shape))
    values = [value for value in call.values() if len(value.shape) == len(call.shape)]  # torch skips empty lists
    axes = broadcast([_replaced(value, axis, UNIT) for value in values], len(call.shape))
    pieces = [value.axes[axis] for value in values if value.shape[axis]]
    whole = Leaf(call.shape[axis], _reason(pieces)) if all(map(is_pinned, pieces)) else Segments(tuple(pieces))
    axes[axis] = resolved(whole)
    return call.made(axes)


def stack(call: Call) -> Result:
    """Values side by side along an axis of its own: each stays beside its entry."""
    values = call.values()
    axis = call.axis(len(call.shape))
    chosen = Leaf(len(values), "values are stacked along it")
    several = len(values) <= MOST
    axes: list[Term] = []
    for terms in zip(*(value.axes for value in values), strict=True):
        if several:
            axes.append(call.instances.beside(chosen, terms))
            continue
        for term in terms[1:]:
            unify(terms[0], term)
        axes.append(terms[0])
    axes.insert(axis, chosen)
    return call.made(axes)


def pad(call: Call) -> Result:
    """More entries at both ends of an axis; those of a constant are all the same."""
    value = call.values()[0]
    widths = list(call.arguments["pad"])
    axes = list(value.axes)
    for place in range(len(widths) // 2):
        axis = len(axes) - 1 - place
        before, after = int(widths[2 * place]), int(widths[2 * place + 1])
        if not before and not after:
            continue
        if (call.arguments.get("mode") or "constant") != "constant" or min(before, after) < 0 or is_pinned(axes[axis]):
            pin(axes[axis], "its ends are padded by its own entries, or cut off")
            axes[axis] = Leaf(call.shape[axis], _reason([axes[axis]]))
        else:
            ends = [Leaf(width) for width in (before, after)]
            axes[axis] = resolved(Segments(tuple(one for one in (ends[0], axes[axis], ends[1]) if size_of(one))))
    return call.made(axes)


def rearrange(call: Call) -> Result:
    """Entries of some axes in another order."""
    value = call.values()[0]
    given = call.arguments.get("dims", call.arguments.get("dim"))
    named = [given] if isinstance(given, int) else list(given or range(len(value.shape)))
    moved = {int(axis) % max(len(value.shape), 1) for axis in named}
    reason = f"{call.name} puts its entries in another order"
    hold([value.axes[axis] for axis in moved], reason)
    return call.made([Leaf(n, reason) if a in moved else value.axes[a] for a, n in enumerate(call.shape)])


def index(call: Call) -> Result:
    """Entries looked up by number."""
    value = call.value("self")
    given = list(call.arguments["indices"])
    reason = "its entries are looked up by number"
    taken = [axis for axis, one in enumerate(given) if isinstance(one, Value)]
    found = [one for one in given if isinstance(one, Value)]
    hold([value.axes[axis] for axis in taken], reason)
    lengths = max(len(one.shape) for one in found)
    together = taken == list(range(taken[0], taken[-1] + 1))
    rest = [axis for axis in range(len(value.shape)) if axis not in taken]
    before = [value.axes[axis] for axis in rest if together and axis < taken[0]]
    after = [value.axes[axis] for axis in rest if not (together and axis < taken[0])]
    if len(call.shape) != len(before) + lengths + len(after):
        return unknown(call)  # a mask stands for several axes
    return call.made([*before, *broadcast([one.axes for one in found], lengths), *after])


def index_select(call: Call) -> Result:
    """Entries of one axis, looked up by number."""
    value = call.value("self")
    return _chosen(call, value, call.axis(len(value.shape)), "its entries are looked up by number")


def pixel_shuffle(call: Call) -> Result:
    """Blocks of channels become positions, or positions blocks of channels."""
    value = call.values()[0]
    axis = len(value.shape) - 3
    factor = int(call.arguments.get("upscale_factor") or call.arguments["downscale_factor"])
    reason = f"{call.name} puts it at positions"
    hold(value.axes[axis + 1 :], reason)
    outer = [Leaf(length, reason) for length in call.shape[axis + 1 :]]
    if call.name == "pixel_unshuffle":
        return call.made([*value.axes[:axis], Product((value.axes[axis], Leaf(factor * factor, reason))), *outer])
    halves = split(value.axes[axis], call.shape[axis])
    if halves is None:
        return unknown(call)
    pin(halves[1], reason)
    return call.made([*value.axes[:axis], halves[0], *outer])


def shuffle(call: Call) -> Result:
    """Channels dealt out: the first of each group, then the second."""
    value = call.values()[0]
    halves = split(value.axes[1], int(call.arguments["groups"]))
    if halves is None:
        return unknown(call)
    return call.made(_replaced(value, 1, resolved(Product((halves[1], halves[0])))))


def patches(call: Call) -> Result:
    """Patches of an image as columns: a channel with its positions."""
    value = call.values()[0]
    reason = "positions of a patch"
    hold(value.axes[-2:], reason)
    rows = Product((value.axes[-3], Leaf(call.shape[-2] // value.shape[-3], reason)))
    return call.made([*value.axes[:-3], resolved(rows), Leaf(call.shape[-1], reason)])


def write(call: Call) -> Result:
    """A value with another written into a part of one of its axes."""
    base, source = call.value("self"), call.value("src")
    axis = call.axis(len(base.shape))
    written = list(source.axes)
    if call.name == "select_scatter":
        written.insert(axis, UNIT)
    axes = broadcast([_replaced(base, axis, UNIT), [*written[:axis], UNIT, *written[axis + 1 :]]], len(base.shape))
    reason = "another value is written over some of its entries"
    hold([base.axes[axis], written[axis]], reason)
    axes[axis] = Leaf(base.shape[axis], reason)
    return call.made(axes)


def unknown(call: Call) -> Result:
    """An operator without a rule: nothing that goes in or comes out can move."""
    reason = f"it goes through {call.name}, which is not followed"
    for value in call.values():
        hold(value.axes, reason)
    return [call.fresh(reason, output) for output in range(len(call.shapes))]


def _beside(call: Call, value: Value, axis: int, entries: Sequence[int] | range) -> list[list[Term]]:
    """What stands beside entries of an axis: copies where the axis is a short one, else all the same."""
    rest = [one for place, one in enumerate(value.axes) if place != axis]
    chosen = resolved(value.axes[axis])
    if chosen is UNIT:
        return [rest for _ in entries]
    pin(chosen, "its entries are used one by one")
    if not isinstance(chosen, Leaf) or chosen.size > MOST or all(map(is_pinned, rest)):
        return [rest for _ in entries]
    return [[call.instances.of(one, chosen, entry) for one in rest] for entry in entries]


def _run(axis: Term, start: int, length: int) -> Term:
    """A run of the entries of an axis; the axis is pinned where the run cuts through its parts."""
    after = cut(axis, start) if start else (UNIT, axis)
    if after is not None and length < size_of(after[1]):
        before = cut(after[1], length) if length else (Leaf(0), axis)
        after = None if before is None else (UNIT, before[0])
    if after is None:
        pin(axis, CUT)
        return Leaf(length, CUT)
    return resolved(after[1])


def _chosen(call: Call, value: Value, axis: int, reason: str) -> Value:
    pin(value.axes[axis], reason)
    return call.made(_replaced(value, axis, Leaf(call.shape[axis], reason)))


def _replaced(value: Value, axis: int, term: Term) -> list[Term]:
    return [term if place == axis else one for place, one in enumerate(value.axes)]


def _reason(terms: Sequence[Term]) -> str:
    """Why the first of several axes is pinned."""
    known = [leaf.reason for term in terms for leaf in leaves_of(term) if leaf.reason]
    return known[0] if known else "one of its entries stands for itself"


MOVING: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(
        (
            *("view", "reshape", "_unsafe_view", "view_as", "reshape_as", "flatten", "unflatten", "squeeze"),
            *("unsqueeze", "atleast_1d", "atleast_2d", "atleast_3d"),
        ),
        reshape,
    ),
    **dict.fromkeys(
        ("t", "transpose", "permute", "numpy_T", "mT", "swapaxes", "swapdims", "movedim", "moveaxis"), turn
    ),
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), expand),
    **dict.fromkeys(("repeat", "tile"), repeat),
    "repeat_interleave": repeat_each,
    "select": select,
    "unbind": unbind,
    **dict.fromkeys(("slice", "narrow"), part),
    **dict.fromkeys(
        ("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk", "hsplit", "vsplit"),
        parts,
    ),
    **dict.fromkeys(("cat", "concat", "concatenate"), concatenate),
    "stack": stack,
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    **dict.fromkeys(("roll", "flip"), rearrange),
    "index": index,
    "index_select": index_select,
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), pixel_shuffle),
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), shuffle),
    "im2col": patches,
    **dict.fromkeys(("slice_scatter", "select_scatter"), write),
}
"""By the operator's name in torch's `aten`, without the underscore of those that work in place."""
