"""How many independent directions all kinds of free directions have together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from weightatlas.wording import listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.degeneracy.directions import LayerFreedom
    from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
    from weightatlas.degeneracy.streams import Changes

SEPARATION: Final = 1e-5
"""A direction of length 1 counts where more than that share of it is new; else it may be rounding of the others."""

MOST: Final = 8192
"""Directions beyond the closed form whose Gram matrix is taken apart."""

HELD: Final = 2**27
"""Numbers of directions in one layer that are held: 1 GiB."""

CLOSED: Final = "closed form of activations and gradients, and the rank of all others beyond it"


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """The rank of directions of several kinds together: never more than it is.

    Attributes:
        total: in the whole network.
        layers: of each layer's own, those that move nothing else.
        kind: how it was found, and what it leaves out.
    """

    total: int
    layers: tuple[int, ...]
    kind: str


def sparse_rows(directions: Sequence[Mapping[str, torch.Tensor]], network: ParameterMap) -> sparse.csr_array:
    """Directions as rows of length 1 over all parameters, float64; what is 0 throughout is left out."""
    starts = {name: place.start for name, place in network.columns().items()}
    columns: list[np.ndarray] = []
    values: list[np.ndarray] = []
    ends: list[int] = [0]
    for direction in directions:
        found = [(starts[name], tensor.detach().double().cpu().flatten().numpy()) for name, tensor in direction.items()]
        length = float(np.sqrt(sum(float(part @ part) for _, part in found)))
        if not length > 0:
            continue
        for start, part in found:
            kept = np.flatnonzero(part)
            columns.append(start + kept)
            values.append(part[kept] / length)
        ends.append(ends[-1] + sum(int(np.count_nonzero(part)) for _, part in found))
    joined = (np.concatenate(parts) if parts else np.zeros(0) for parts in (values, columns))
    return sparse.csr_array((*joined, np.array(ends)), shape=(len(ends) - 1, network.size))


def rows_of_changes(directions: Sequence[Changes], network: ParameterMap) -> sparse.csr_array:
    """Directions that say which numbers of which parameters change, as rows of length 1; what is 0 is left out."""
    starts = {name: place.start for name, place in network.columns().items()}
    places: list[np.ndarray] = []
    values: list[np.ndarray] = []
    lengths: list[int] = [0]
    for direction in directions:
        for name, several in direction.items():
            for own, change in several:
                places.append(starts[name] + own.numpy())
                values.append(change.double().numpy())
        lengths.append(sum(len(own) for several in direction.values() for own, _ in several))
    columns, numbers = (np.concatenate(parts) if parts else np.zeros(0) for parts in (places, values))
    shape = (len(directions), network.size)
    found = sparse.csr_array((numbers, columns.astype(np.int64), np.cumsum(lengths)), shape=shape)
    found.sum_duplicates()
    size = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).reshape(-1))
    kept = np.flatnonzero(size > 0)
    return sparse.csr_array(sparse.diags_array(1 / size[kept]) @ found[kept])


def rank_of_rows(rows: sparse.csr_array) -> int:
    """How many of some directions of length 1 are independent, of those that share numbers at a time.

    Example:
        >>> rank_of_rows(sparse.csr_array(np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])))
        2
    """
    gram = sparse.csr_array(rows @ rows.T)
    count, labels = connected_components(gram, directed=False) if rows.shape[0] else (0, np.zeros(0))
    order, sizes = (
        np.argsort(labels, kind="stable"),
        np.bincount(labels, minlength=count) if count else np.zeros(0, int),
    )
    found = int((sizes == 1).sum())
    for start, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True):
        if size > 1:
            own = order[start : start + size]
            found += _rank(gram[own][:, own].toarray())
    return found


def union_rank(freedoms: Sequence[LayerFreedom], others: sparse.csr_array) -> Union:
    r"""Count the directions that all kinds free together.

    Layers share no weight, so that what one layer's activations and gradients free adds up over layers, in closed form
    units x width - rank G rank K. Of the conditional directions and of those that move several layers the part beyond
    that is taken, by projection within each layer, and the rank of these parts added: their singular values above
    `SEPARATION`, from their Gram matrix. What differs from the others by less is not counted.

    Args:
        freedoms: of layers, no number in two of them.
        others: rows of length 1 over all parameters: of synchronised units, heads, layers that read each other, norms.
    """
    closed = [freedom.closed for freedom in freedoms]
    large = [one.layer for one in freedoms if one.conditional_rows * one.index.numel() > HELD]
    own = [
        np.zeros((0, one.index.numel())) if one.layer in large else one.conditional_beyond().flatten(1).cpu().numpy()
        for one in freedoms
    ]
    kind = f"{CLOSED}; without the conditional ones of {listed(large)}: too many" if large else CLOSED
    alone = tuple(base + _rank(rows @ rows.T) for base, rows in zip(closed, own, strict=True))
    starts = np.cumsum([others.shape[0], *(len(rows) for rows in own)])
    if starts[-1] > MOST:
        return Union(sum(alone), alone, f"{kind}; without {others.shape[0]} that move several layers: too many")
    gram = np.zeros((starts[-1], starts[-1]))
    by_column = others.tocsc()
    covered = np.zeros(others.shape[1], dtype=bool)
    for freedom, rows, start in zip(freedoms, own, starts, strict=False):
        index = freedom.index.flatten().cpu().numpy()
        covered[index] = True
        part = by_column[:, index].tocsr()
        touching = np.flatnonzero(np.diff(part.indptr))
        places = np.concatenate([touching, np.arange(start, start + len(rows))])
        if not len(rows) and not freedom.closed:
            gram[: part.shape[0], : part.shape[0]] += (part @ part.T).toarray()
            continue
        if len(places) * len(index) > HELD:
            return Union(sum(alone), alone, f"{kind}; without those that move several layers: {freedom.layer} is large")
        given = torch.from_numpy(part[touching].toarray()).reshape(len(touching), *freedom.index.shape)
        beyond = freedom.beyond(given.to(freedom.inputs[0])).flatten(1).cpu().numpy()
        both = np.concatenate([beyond, rows])
        gram[np.ix_(places, places)] += both @ both.T
    rest = by_column[:, np.flatnonzero(~covered)]
    gram[: others.shape[0], : others.shape[0]] += (rest @ rest.T).toarray()
    return Union(sum(closed) + _rank(gram), alone, kind)


def _rank(gram: np.ndarray) -> int:
    """Singular values above `SEPARATION`, of rows with that Gram matrix."""
    return int((np.linalg.eigvalsh(gram) > SEPARATION**2).sum()) if len(gram) else 0
