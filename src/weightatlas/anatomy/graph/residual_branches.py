"""Branches that meet in a sum: residual blocks, MLP blocks, and the heads of attention."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from weightatlas.anatomy.graph.branch_names import around, below
from weightatlas.anatomy.graph.branch_types import Branch, Branching
from weightatlas.anatomy.graph.channel_ids import Channels
from weightatlas.anatomy.graph.paths import along, bottleneck_of, kernel_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weightatlas.anatomy.graph.channel_records import Joint
    from weightatlas.anatomy.graph.paths import Origin, Paths


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A block that adds to a stream.

    Attributes:
        stream: the smallest node of the stream.
        hidden: the layer before its last, and the rows that the last reads.
        layers: of the path.
        kernel: the largest on the path.
        bottleneck: the narrowest layer before the last.
        attention: whether its hidden units are values that attention averages.
    """

    stream: int
    hidden: Origin
    layers: tuple[str, ...]
    kernel: tuple[int, int]
    bottleneck: int | None
    attention: bool


def sums_in(paths: Paths) -> list[Branching]:
    """All residual blocks by the stream that they add to; where attention adds too, its MLP blocks."""
    streams: dict[int, dict[int, _Block]] = {}
    for joint in paths.walk.sums:
        for block in _blocks(paths, joint):
            streams.setdefault(block.stream, {}).setdefault(block.hidden.read.step, block)
    kept = [[block for block in blocks.values() if not block.attention] for blocks in streams.values()]
    found = [
        _side_by_side(blocks, mlp=len(blocks) < len(all_blocks))
        for blocks, all_blocks in zip(kept, streams.values(), strict=True)
        if len(blocks) > 1
    ]
    times = Counter(one.layer for one in found)
    return [replace(one, layer=_extent(one)) if times[one.layer] > 1 else one for one in found]


def _extent(branching: Branching) -> str:
    """A stream by its first and last block, where one module holds several streams."""
    first, last = (branching.names[place].removeprefix("block ") for place in (0, -1))
    return f"{branching.layer}.{first}-{last}"


def _blocks(paths: Paths, joint: Joint) -> Iterator[_Block]:
    """Which operands of a sum are blocks: those with a hidden layer between them and where they part."""
    first, second = joint.parts
    if not isinstance(first, Channels) or not isinstance(second, Channels):
        return
    reached = [paths.until(part) for part in (first, second)]
    shortcuts = [reached[1] >> first.step & 1, reached[0] >> second.step & 1]
    for place, part in enumerate((first, second)):
        if shortcuts[place]:
            continue
        other = reached[1 - place]
        block = _block(paths, part, reached[place] & ~other)
        if block is not None:
            yield block


def _block(paths: Paths, part: Channels, within: int) -> _Block | None:
    axis = max(part.varying, default=len(part.shape) - 1)
    ids = along(part, axis)
    origin = None if ids is None else paths.origin(ids)
    if origin is None or not within >> origin.read.step & 1:
        return None
    last = origin.read
    inner = last.inputs.numpy()
    hidden = paths.origin(inner)
    if hidden is None or not within >> hidden.read.step & 1 or not paths.alone(inner):
        return None
    chain = paths.chain(last, within)
    attention = any(
        within >> joint.step & 1 and np.isin(inner, joint.ids.numpy()).any() for joint in paths.walk.attention
    )
    return _Block(
        stream=int(paths.numbers[ids].min()) if ids is not None else -1,
        hidden=type(hidden)(hidden.read, np.unique(hidden.rows)),
        layers=tuple(read.layer for read in chain),
        kernel=kernel_of(chain),
        bottleneck=bottleneck_of(chain),
        attention=attention,
    )


def _side_by_side(blocks: list[_Block], *, mlp: bool) -> Branching:
    starts = np.cumsum([0, *(len(block.hidden.rows) for block in blocks)])
    layers = [block.hidden.read.layer for block in blocks]
    return Branching(
        layer=around(layers, "stream"),
        kind="mlp" if mlp else "sum",
        units=int(starts[-1]),
        branches=tuple(
            Branch(
                name=name,
                units=np.arange(starts[place], starts[place + 1]),
                layer=block.hidden.read.layer,
                rows=block.hidden.rows,
                layers=block.layers,
                kernel=block.kernel,
                bottleneck=block.bottleneck,
            )
            for place, (name, block) in enumerate(zip(below(layers), blocks, strict=True))
        ),
    )


def heads_in(paths: Paths) -> list[Branching]:
    """The heads of each attention layer: the rows of its values that one head averages."""
    found = (_heads(paths, joint) for joint in paths.walk.attention)
    return [one for one in found if one is not None]


def _heads(paths: Paths, joint: Joint) -> Branching | None:
    ids = joint.ids
    axes = [axis for axis, length in enumerate(ids.shape) if length > 1]
    if len(axes) < 2:
        return None
    heads = np.unique(ids.movedim(axes[-1], -1).flatten(0, -2).numpy(), axis=0)
    origin = paths.origin(heads.reshape(-1))
    if origin is None or len(heads) < 2 or len(np.unique(heads)) != heads.size:
        return None
    width = heads.size // len(heads)
    rows = origin.rows.reshape(-1, width)
    layer = origin.read.layer
    branches = tuple(
        Branch(f"head {place + 1}", np.arange(place * width, (place + 1) * width), layer, own, (layer,), (1, 1), None)
        for place, own in enumerate(rows)
    )
    return Branching(layer, "heads", int(rows.size), branches)
