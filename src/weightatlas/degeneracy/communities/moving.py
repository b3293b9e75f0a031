"""The inner loops of the Leiden algorithm: nodes move between communities, and communities split into parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numba
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.degeneracy.communities.layered_graph import Array, Labels

LEAST_GAIN: Final = 1e-12
"""A node moves for more than this share of all weight only: rounding must not move it to and fro."""
RANDOMNESS: Final = 0.01
"""In refinement a gain of this share of a node's weight is e times as likely to be taken as none (Leiden's own)."""


class Flat(NamedTuple):
    """A graph whose weights add up to 1 (each edge once), and what chance makes of it, as compiled code takes them.

    Attributes:
        starts: int32 (nodes + 1,), where each node's edges begin.
        neighbours: int32 (edges,), whom they lead to.
        weights: float64 (edges,).
        sources: float64 (nodes, terms), of the null model.
        targets: float64 (nodes, terms).
        totals: float64 (terms,).
    """

    starts: npt.NDArray[np.int32]
    neighbours: npt.NDArray[np.int32]
    weights: Array
    sources: Array
    targets: Array
    totals: Array


class Sums(NamedTuple):
    """Strengths of the null model, added up over communities or parts."""

    sources: Array
    targets: Array


class Near(NamedTuple):
    """Room for what is around a node: the weight to each community, and which of them there are."""

    weights: Array
    names: Labels


class Queue(NamedTuple):
    """Nodes that wait to be asked, in a ring, and whether each does."""

    nodes: Labels
    waiting: npt.NDArray[np.bool_]


class Room(NamedTuple):
    """What the loops work on. It is made outside of compiled code."""

    own: Sums
    sums: Sums
    near: Near
    queue: Queue


class Parts(NamedTuple):
    """The same for refinement: sums over communities and over parts, and the weight from parts to their community."""

    own: Sums
    around: Sums
    sums: Sums
    near: Near
    outward: Array


@numba.njit(nogil=True, cache=True)
def _chance(  # pragma: no cover - compiled
    first: Sums, one: int, second: Sums, other: int, totals: Array
) -> float:
    """The weight that chance puts between two."""
    found = 0.0
    for term in range(totals.size):
        across = first.sources[one, term] * second.targets[other, term]
        across += first.targets[one, term] * second.sources[other, term]
        found += across / totals[term]
    return found


@numba.njit(nogil=True, cache=True)
def _shift(sums: Sums, place: int, flat: Flat, node: int, sign: float) -> None:  # pragma: no cover - compiled
    """Put a node's strengths into a sum, or take them out."""
    for term in range(flat.totals.size):
        sums.sources[place, term] += sign * flat.sources[node, term]
        sums.targets[place, term] += sign * flat.targets[node, term]


@numba.njit(nogil=True, cache=True)
def _look(flat: Flat, node: int, names: Labels, within: Labels, near: Near) -> int:  # pragma: no cover - compiled
    """Add up the weight from a node to each name among its neighbours of the same `within`; how many there are."""
    found = 0
    for edge in range(flat.starts[node], flat.starts[node + 1]):
        other = flat.neighbours[edge]
        if other != node and within[other] == within[node]:
            name = names[other]
            if near.weights[name] == 0.0:
                near.names[found] = name
                found += 1
            near.weights[name] += flat.weights[edge]
    return found


def move(flat: Flat, labels: Labels, resolution: float, order: Labels) -> None:
    """Move nodes, in place, to the community where modularity gains most, until none gains more than `LEAST_GAIN`.

    Args:
        flat: the graph.
        labels: int64 (nodes,), communities, each below the number of nodes.
        resolution: of modularity.
        order: int64 (nodes,), who is asked first; later, those with a neighbour that has left are.
    """
    members = np.bincount(labels, minlength=labels.size)
    own = Sums(flat.sources, flat.targets)
    sums = Sums(*(_summed(part, labels) for part in own))
    empty = np.append(np.flatnonzero(members == 0), np.zeros(int((members > 0).sum()), dtype=np.int64))
    queue = Queue(order.copy(), np.ones(labels.size, dtype=np.bool_))
    _move(flat, labels, resolution, Room(own, sums, _near(labels.size), queue), (members, empty))


def _summed(strengths: Array, labels: Labels) -> Array:
    sums = np.zeros_like(strengths)
    np.add.at(sums, labels, strengths)
    return sums


def _near(count: int) -> Near:
    return Near(np.zeros(count), np.zeros(count + 1, dtype=np.int64))


@numba.njit(nogil=True, cache=True)
def _move(  # pragma: no cover - compiled
    flat: Flat, labels: Labels, resolution: float, room: Room, counts: tuple[Labels, Labels]
) -> None:
    own, sums, near, queue = room.own, room.sums, room.near, room.queue
    members, empty = counts
    count = labels.size
    anywhere = np.zeros(count, np.int64)
    spare = 0
    for label in range(count):
        spare += members[label] == 0
    head = 0
    length = count
    while length > 0:
        node = queue.nodes[head]
        head = (head + 1) % count
        length -= 1
        queue.waiting[node] = False
        label = labels[node]
        members[label] -= 1
        _shift(sums, label, flat, node, -1.0)
        found = _look(flat, node, labels, anywhere, near)
        best = label
        highest = near.weights[label] - resolution * _chance(own, node, sums, label, flat.totals)
        for place in range(found):
            name = near.names[place]
            gain = near.weights[name] - resolution * _chance(own, node, sums, name, flat.totals)
            if gain > highest + LEAST_GAIN:
                best = name
                highest = gain
            near.weights[name] = 0.0
        if members[label] > 0 and highest < -LEAST_GAIN:
            spare -= 1
            best = empty[spare]
        if best != label and members[label] == 0:
            empty[spare] = label
            spare += 1
        labels[node] = best
        members[best] += 1
        _shift(sums, best, flat, node, 1.0)
        if best != label:
            length = _ask_again(flat, node, labels, queue, (head, length))


@numba.njit(nogil=True, cache=True)
def _ask_again(  # pragma: no cover - compiled
    flat: Flat,
    node: int,
    labels: Labels,
    queue: Queue,
    where: tuple[int, int],
) -> int:
    """Put a node's neighbours outside of its community into the queue; how long that is then."""
    head, length = where
    for edge in range(flat.starts[node], flat.starts[node + 1]):
        other = flat.neighbours[edge]
        if not queue.waiting[other] and labels[other] != labels[node]:
            queue.nodes[(head + length) % queue.nodes.size] = other
            length += 1
            queue.waiting[other] = True
    return length


def refined_parts(flat: Flat, labels: Labels, resolution: float, order: Labels, uniforms: Array) -> Labels:
    """Split communities into connected parts: a node that is still alone may join a part that it gains by.

    Nodes and parts must be well connected to the rest of their community: by more than chance.

    Args:
        flat: the graph.
        labels: int64 (nodes,), communities, each below the number of nodes.
        resolution: of modularity.
        order: int64 (nodes,), who is asked first.
        uniforms: float64 (nodes,) in [0, 1), what draws the part that each joins.

    Returns:
        int64 (nodes,): parts, each below the number of nodes.
    """
    count = labels.size
    parts = np.arange(count, dtype=np.int64)
    own = Sums(flat.sources, flat.targets)
    around = Sums(*(_summed(part, labels) for part in own))
    room = Parts(own, around, Sums(own.sources.copy(), own.targets.copy()), _near(count), np.zeros(count))
    _refine(flat, (labels, parts), resolution, room, (order, uniforms))
    return parts


@numba.njit(nogil=True, cache=True)
def _refine(  # pragma: no cover - compiled
    flat: Flat,
    names: tuple[Labels, Labels],
    resolution: float,
    room: Parts,
    draws: tuple[Labels, Array],
) -> None:
    labels, parts = names
    order, uniforms = draws
    own, around, sums, near, outward = room.own, room.around, room.sums, room.near, room.outward
    size = np.ones(labels.size, np.int64)
    chances = np.empty(labels.size + 1)
    for node in range(labels.size):
        for edge in range(flat.starts[node], flat.starts[node + 1]):
            if flat.neighbours[edge] != node and labels[flat.neighbours[edge]] == labels[node]:
                outward[node] += flat.weights[edge]
    for node in order:
        expected = _chance(own, node, around, labels[node], flat.totals) - _chance(own, node, own, node, flat.totals)
        if size[parts[node]] > 1 or outward[node] <= 0.0 or outward[node] < resolution * expected:
            continue
        found = _look(flat, node, parts, labels, near)
        for place in range(found):
            part = near.names[place]
            rest = _chance(sums, part, around, labels[node], flat.totals) - _chance(sums, part, sums, part, flat.totals)
            gain = near.weights[part] - resolution * _chance(own, node, sums, part, flat.totals)
            joins = gain >= 0.0 and outward[part] >= resolution * rest
            chances[place] = np.exp(gain / outward[node] / RANDOMNESS) if joins else 0.0
        near.names[found] = parts[node]
        chances[found] = 1.0  # to stay alone gains nothing
        part = near.names[_drawn(chances[: found + 1], uniforms[node])]
        if part != parts[node]:
            size[part] += 1
            outward[part] += outward[node] - 2.0 * near.weights[part]
            _shift(sums, part, flat, node, 1.0)
            parts[node] = part
        for place in range(found):
            near.weights[near.names[place]] = 0.0


@numba.njit(nogil=True, cache=True)
def _drawn(chances: Array, uniform: float) -> int:  # pragma: no cover - compiled
    """One of several, as likely as `chances` say (which need not add up to 1); the last one is never impossible."""
    left = uniform * chances.sum()
    for place in range(chances.size - 1):
        if left < chances[place]:
            return place
        left -= chances[place]
    return int(chances.size - 1)


def merged(flat: Flat, parts: Labels) -> Flat:
    """The graph whose nodes are the parts of another; what is within a part is left out, for it moves with it.

    Args:
        flat: the graph.
        parts: int64 (nodes,), numbered from 0 without gaps.
    """
    count = int(parts.max()) + 1
    order = np.argsort(parts, kind="stable")
    starts, neighbours, weights = _merged(flat, parts, order, _near(count))
    sources, targets = (np.zeros((count, flat.totals.size)) for _ in range(2))
    np.add.at(sources, parts, flat.sources)
    np.add.at(targets, parts, flat.targets)
    return Flat(starts, neighbours, weights, sources, targets, flat.totals)


@numba.njit(nogil=True, cache=True)
def _merged(  # pragma: no cover - compiled
    flat: Flat, parts: Labels, order: Labels, near: Near
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Array]:
    count = near.weights.size
    starts = np.zeros(count + 1, np.int32)
    neighbours = np.empty(flat.neighbours.size, np.int32)
    weights = np.empty(flat.weights.size)
    filled = 0
    place = 0
    for part in range(count):
        found = 0
        while place < order.size and parts[order[place]] == part:
            node = order[place]
            for edge in range(flat.starts[node], flat.starts[node + 1]):
                name = parts[flat.neighbours[edge]]
                if name != part:
                    if near.weights[name] == 0.0:
                        near.names[found] = name
                        found += 1
                    near.weights[name] += flat.weights[edge]
            place += 1
        for number in range(found):
            name = near.names[number]
            neighbours[filled] = name
            weights[filled] = near.weights[name]
            near.weights[name] = 0.0
            filled += 1
        starts[part + 1] = filled
    return starts, neighbours[:filled].copy(), weights[:filled].copy()
