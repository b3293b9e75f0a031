"""The leaves that a walk found as groups with names, and the axes of stored tensors as layouts of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from weightatlas.anatomy.symmetries.layout import Combined, Factor, Joined, Layout
from weightatlas.anatomy.symmetries.terms import Leaf, Segments, Term, leaves_of, resolved

if TYPE_CHECKING:
    from weightatlas.anatomy.symmetries.walk import Walk

UNUSED = "nothing in the graph reads it"


def layouts_of(walk: Walk) -> dict[str, tuple[Layout, ...]]:
    """The layout of every axis of every stored tensor; axes of length 1 are a factor that stays."""
    tensors = {name: [walk.instances.expanded(axis) for axis in axes] for name, axes in walk.tensors.items()}
    names = _names(tensors)
    return {name: tuple(_layout(axis, names) for axis in axes) for name, axes in tensors.items()}


def _names(tensors: Mapping[str, Sequence[Term]]) -> dict[Leaf, str]:
    """A name for every leaf that can move: of the first matrix or kernel whose units it counts, else of any tensor."""
    axes_of = ((name, number) for name, axes in tensors.items() for number in range(len(axes)))
    places = sorted(axes_of, key=lambda place: (len(tensors[place[0]]) < 2, place[1] > 0))
    names: dict[Leaf, str] = {}
    taken: set[str] = set()
    for name, number in places:
        free = [leaf for leaf in dict.fromkeys(leaves_of(tensors[name][number])) if leaf.reason is None]
        for leaf in free:
            if leaf not in names:
                names[leaf] = _unused(_group_name(name, number, len(free), free.index(leaf)), taken)
                taken.add(names[leaf])
    return names


def _group_name(tensor: str, axis: int, several: int, place: int) -> str:
    """A name for a group by where it stands: the layer, the axis where that is not the first, which of its factors."""
    base = tensor.removesuffix(".weight")
    inputs = f":{axis}" if axis else ""
    return f"{base}{inputs}" if several == 1 else f"{base}{inputs}/{place}"


def _unused(name: str, taken: set[str]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}#{number}"
    return found


def _layout(term: Term, names: Mapping[Leaf, str]) -> Layout:
    known = resolved(term)
    if isinstance(known, Leaf):
        group = names.get(known)
        return Factor(known.size, group, None if group else known.reason or UNUSED)
    parts = tuple(_layout(part, names) for part in known.parts)
    if isinstance(known, Segments):
        return Joined(parts)
    return Combined(parts) if parts else Factor(1)
