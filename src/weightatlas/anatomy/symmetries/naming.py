"""The leaves that a walk found as groups with names, and the axes of stored tensors as layouts of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from weightatlas.anatomy.symmetries.layout import Combined, Factor, Joined, Layout
from weightatlas.anatomy.symmetries.owners import owners_of
from weightatlas.anatomy.symmetries.separating import Owners, Separation
from weightatlas.anatomy.symmetries.terms import Leaf, Segments, Term, leaves_of, resolved

if TYPE_CHECKING:
    from weightatlas.anatomy.symmetries.walk import Walk


def layouts_of(walk: Walk) -> tuple[dict[str, tuple[Layout, ...]], Owners]:
    """The layout of every axis of every stored tensor; axes of length 1 are a factor that stays.

    What stands beside a factor that stays has a group for each of its entries.

    Returns:
        The layouts; and for groups, those others of whose entries each could have a copy of its own.
    """
    tensors = {name: [walk.instances.expanded(axis) for axis in axes] for name, axes in walk.tensors.items()}
    owners = owners_of(tensors.values(), walk.values, walk.instances)
    names = _names(tensors)
    staying = {leaf for several in owners.values() for leaf in several if leaf not in names}
    names |= {leaf: f"staying {number}" for number, leaf in enumerate(staying)}
    by_name = {names[leaf]: tuple(names[one] for one in several) for leaf, several in owners.items()}
    separation = Separation(by_name, {names[leaf] for leaf in staying})
    layouts = {name: separation.tensor(_layout(axis, names) for axis in axes) for name, axes in tensors.items()}
    return layouts, separation.left


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
        return Factor(known.size, group, known.reason)
    parts = tuple(_layout(part, names) for part in known.parts)
    if isinstance(known, Segments):
        return Joined(parts)
    return Combined(parts) if parts else Factor(1)
