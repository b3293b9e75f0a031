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


@numba.njit(nogil=True, cache=True)
def move(flat: Flat, labels: Labels, resolution: float, order: Labels) -> None:  # pragma: no cover - compiled
    """Move nodes, in place, to the community where modularity gains most, until none gains more than `LEAST_GAIN`.

    Args:
        flat: the graph.
        labels: int64 (nodes,), communities, each below the number of nodes.
        resolution: of modularity.
        order: int64 (nodes,), who is asked first; later, those with a neighbour that has left are.
    """
    count = labels.size
    own = Sums(flat.sources, flat.targets)
    sums = Sums(np.zeros_like(flat.sources), np.zeros_like(flat.targets))
    members = np.zeros(count, np.int64)
    for node in range(count):
        members[labels[node]] += 1
        _shift(sums, labels[node], flat, node, 1.0)
    empty = [label for label in range(count) if members[label] == 0]
    queue, waiting = order.copy(), np.ones(count, np.bool_)
    head, length = 0, count
    near, anywhere = Near(np.zeros(count), np.empty(count, np.int64)), np.zeros(count, np.int64)
    while length:
        node = queue[head]
        head, length = (head + 1) % count, length - 1
        waiting[node] = False
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
                best, highest = name, gain
            near.weights[name] = 0.0
        if members[label] > 0 and highest < -LEAST_GAIN:
            best = empty.pop()
        if best != label and members[label] == 0:
            empty.append(label)
        labels[node] = best
        members[best] += 1
        _shift(sums, best, flat, node, 1.0)
        if best != label:
            length = _ask_again(flat, node, labels, (queue, waiting), (head, length))


@numba.njit(nogil=True, cache=True)
def _ask_again(  # pragma: no cover - compiled
    flat: Flat,
    node: int,
    labels: Labels,
    asked: tuple[Labels, npt.NDArray[np.bool_]],
    where: tuple[int, int],
) -> int:
    """Put a node's neighbours outside of its community into the queue; how long that is then."""
    queue, waiting = asked
    head, length = where
    for edge in range(flat.starts[node], flat.starts[node + 1]):
        other = flat.neighbours[edge]
        if not waiting[other] and labels[other] != labels[node]:
            queue[(head + length) % queue.size] = other
            length += 1
            waiting[other] = True
    return length


@numba.njit(nogil=True, cache=True)
def refined_parts(  # pragma: no cover - compiled
    flat: Flat, labels: Labels, resolution: float, order: Labels, uniforms: Array
) -> Labels:
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
    parts, size = np.arange(count), np.ones(count, np.int64)
    own = Sums(flat.sources, flat.targets)
    sums = Sums(np.zeros_like(flat.sources), np.zeros_like(flat.targets))
    part_sums = Sums(flat.sources.copy(), flat.targets.copy())
    outward = np.zeros(count)  # weight from a part to the rest of its community
    for node in range(count):
        _shift(sums, labels[node], flat, node, 1.0)
        for edge in range(flat.starts[node], flat.starts[node + 1]):
            if flat.neighbours[edge] != node and labels[flat.neighbours[edge]] == labels[node]:
                outward[node] += flat.weights[edge]
    near, chances = Near(np.zeros(count), np.empty(count + 1, np.int64)), np.empty(count + 1)
    for node in order:
        expected = _chance(own, node, sums, labels[node], flat.totals) - _chance(own, node, own, node, flat.totals)
        if size[parts[node]] > 1 or outward[node] <= 0.0 or outward[node] < resolution * expected:
            continue
        found = _look(flat, node, parts, labels, near)
        for place in range(found):
            part = near.names[place]
            rest = _chance(part_sums, part, sums, labels[node], flat.totals)
            rest -= _chance(part_sums, part, part_sums, part, flat.totals)
            gain = near.weights[part] - resolution * _chance(own, node, part_sums, part, flat.totals)
            joins = gain >= 0.0 and outward[part] >= resolution * rest
            chances[place] = np.exp(gain / outward[node] / RANDOMNESS) if joins else 0.0
        near.names[found], chances[found] = parts[node], 1.0  # to stay alone gains nothing
        part = near.names[_drawn(chances[: found + 1], uniforms[node])]
        if part != parts[node]:
            size[part] += 1
            outward[part] += outward[node] - 2.0 * near.weights[part]
            _shift(part_sums, part, flat, node, 1.0)
            parts[node] = part
        for place in range(found):
            near.weights[near.names[place]] = 0.0
    return parts


@numba.njit(nogil=True, cache=True)
def _drawn(chances: Array, uniform: float) -> int:  # pragma: no cover - compiled
    """One of several, as likely as `chances` say (which need not add up to 1); the last one is never impossible."""
    left = uniform * chances.sum()
    for place in range(chances.size - 1):
        if left < chances[place]:
            return place
        left -= chances[place]
    return int(chances.size - 1)
