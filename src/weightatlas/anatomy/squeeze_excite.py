"""Find squeeze-and-excitation: a pair of 1 x 1 layers that narrows the channels and widens them again as a gate."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from weightatlas.anatomy import naming

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from weightatlas.anatomy.vocabulary import Part, Role


def squeeze_excite_roles(parts: Sequence[Part], taken: Mapping[int, Role]) -> dict[int, Role]:
    """The roles in squeeze-and-excitation of those parts that have one, by their place in the sequence.

    Two layers alone in a module, C to r and r to C with r < C, in a block that makes C channels. Convolutions of
    that form are taken at their shape; matrices need a name or a sigmoid as well, since adapters and bottleneck
    networks look the same.

    **Source:** Hu, Shen and Sun, Squeeze-and-Excitation Networks (2018), section 3.
    """
    roles: dict[int, Role] = {}
    pairs: list[tuple[tuple[str, ...], int, list[tuple[int, Part]]]] = []
    for holder, members in groupby(enumerate(parts), key=lambda item: _holder(item[1])):
        inside = [(index, part) for index, part in members if part.kind not in ("bias", "buffer")]
        weights = [(index, part) for index, part in inside if part.is_weight and index not in taken]
        if len(weights) == 2:
            pairs.append((holder, len(inside), weights))
    made = _channels_made(parts, {holder[:-1] for holder, _, _ in pairs if len(holder) > 1})
    for holder, count, weights in pairs:
        if _is_gate(holder, [part for _, part in weights], count, made.get(holder[:-1], Counter())):
            for index, part in weights:
                narrows = part.shape[0] < part.shape[1]
                roles[index] = "squeeze-excite-reduce" if narrows else "squeeze-excite-expand"
    return roles


def _channels_made(parts: Sequence[Part], blocks: AbstractSet[tuple[str, ...]]) -> dict[tuple[str, ...], Counter[int]]:
    """How often a number of channels is made in each of the blocks and below it."""
    made: dict[tuple[str, ...], Counter[int]] = {}
    longest = max(map(len, blocks), default=0)
    for part in parts:
        if part.is_weight or part.kind == "norm":
            path = tuple(part.layer.split("."))
            for depth in range(1, min(len(path), longest + 1)):
                if path[:depth] in blocks:
                    made.setdefault(path[:depth], Counter())[part.shape[0]] += 1
    return made


def _holder(part: Part) -> tuple[str, ...]:
    return tuple(part.layer.split(".")[:-1])


def _is_gate(holder: tuple[str, ...], pair: Sequence[Part], members: int, around: Counter[int]) -> bool:
    first, second = pair
    if not (first.pointwise and second.pointwise) or first.shape[:2] != second.shape[:2][::-1]:
        return False
    narrow, wide = sorted(first.shape[:2])
    if narrow >= wide or any(naming.says_adapter(naming.stem(part.layer)) for part in pair):
        return False
    if naming.says_squeeze_excite(holder) or first.gated:
        return True
    convolutions = all(part.kind == "convolution" for part in pair)
    return convolutions and members == 2 and around[wide] > 1  # the pair itself makes them once
