"""Modules: communities among basis directions that act on each other more than chance would have it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
from sklearn.metrics import adjusted_rand_score

from weightatlas.degeneracy.communities.layered_graph import Expected, LayeredGraph
from weightatlas.degeneracy.communities.leiden import Prepared, leiden
from weightatlas.degeneracy.communities.rewiring import rewired
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    import numpy.typing as npt
    from scipy import sparse

    from weightatlas.degeneracy.interactions import Interactions, LayerEdges

    Array = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64]

Weighting = Literal["log", "sqrt", "identity"]
Floors = Mapping[tuple[str, str], float] | Sequence[float]

SHARE: Final = 0.99
"""Of a pair's interaction that its edges carry, by default, where no ablation says which of them are needed."""
RESOLUTION: Final = 0.5
"""That of the published run. At 1 the scatter of the weights within a planted module is enough to split it."""
RESOLUTIONS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True, eq=False)
class Modules:
    """Communities of the graph of interactions.

    Attributes:
        nodes: every basis direction without the constants, (point, direction).
        labels: int64 (nodes,), the community of each, 0 the largest; -1 for nodes without an edge. They are those of
            the highest modularity over the seeds, whether chance does as well or not.
        weights: symmetric float64 (nodes, nodes), of the graph.
        floors: float64 (pairs,), the strength at which an edge begins to count, epsilon.
        modularity: Q of `labels`, at most 1; NaN without edges.
        null_modularity: float64 (nulls,), the same of rewired graphs.
        p_value: (1 + how many of these are as high) / (1 + nulls); NaN without edges or nulls.
        found: communities there are in `labels`.
        count: modules: `found` where the p-value is at most `alpha`, otherwise 1, which is to say none.
        alpha: level of that test.
        resolutions: float64, that stability was measured at.
        stability: float64 (resolutions,), mean adjusted Rand index between the communities of two seeds: 1 where all
            agree, 0 where they agree as by chance; NaN with one seed.
        counts: int64 (resolutions,), communities of the best seed.
        resolution: that `labels` are at.
        weighting: of strengths.
        expected: what modularity compares with.
        seeds: Leiden was run with, on each graph.
    """

    nodes: tuple[tuple[str, int], ...]
    labels: Labels
    weights: sparse.csr_matrix
    floors: Array
    modularity: float
    null_modularity: Array
    p_value: float
    found: int
    count: int
    alpha: float
    resolutions: Array
    stability: Array
    counts: Labels
    resolution: float
    weighting: Weighting
    expected: Expected
    seeds: int


def modules(
    interactions: Interactions,
    *,
    floors: Floors | None = None,
    share: float = SHARE,
    weighting: Weighting = "log",
    expected: Expected = "layered",
    resolution: float = RESOLUTION,
    resolutions: Sequence[float] = RESOLUTIONS,
    seeds: int = 10,
    nulls: int = 99,
    alpha: float = 0.05,
    seed: int = 0,
    progress: Progress = silent,
) -> Modules:
    r"""Find modules: groups of directions, over all layers, that act within the group more than chance would have it.

    The graph is undirected, of all basis directions but the constants. An edge of strength E weighs
    \(\max(0, \log_{10}(E / \epsilon))\), with an \(\epsilon\) for each pair of points: to hold a connection of
    strength E between otherwise independent parts costs about \(\log(E / \epsilon)\). Communities are those of highest
    modularity that the Leiden algorithm finds over some seeds,

    \(Q = \frac{1}{W} \sum_{i < j} (w_{ij} - \gamma P_{ij}) [c_i = c_j]\), with \(P_{ij} = s_i s_j / W_p\) within each
    pair p of points ("layered": strengths s counted in that pair, \(W_p\) its whole weight). With "newman" it is
    \(s_i s_j / 2W\) over the whole graph, which knows nothing of layers: it then pays to cut a deep network across.

    **Null.** The same graph, rewired within each pair of points: every node keeps the number of its edges, every pair
    its weights, dealt out anew. Each is searched with as many seeds, and the maxima are compared. Where the p-value
    exceeds `alpha` the communities found are what chance gives, and `count` is 1.

    Args:
        interactions: as `interactions` gives them.
        floors: epsilon of each pair of points, in their order or by (source, target): best the strength of the weakest
            edge that the network needs (`EdgeAblation.floor`). NaN leaves it to `share`, as None does for all.
        share: epsilon is next below the fewest edges that carry this share of a pair's strength, above 0 to 1.
        weighting: "log"; "sqrt" or "identity" of the strengths above epsilon, as baselines.
        expected: "layered" or "newman".
        resolution: gamma; more gives more and smaller communities.
        resolutions: that stability is measured at.
        seeds: of Leiden, on every graph.
        nulls: rewired graphs.
        alpha: level of the test.
        seed: of everything random.
        progress: is told of graphs.

    Returns:
        The communities, whether or not chance does as well.

    Raises:
        ValueError: an option is out of range, a strength is not finite, or there are not as many floors as pairs.

    **Source:** Bushnaq and others, *Using Degeneracy in the Loss Landscape for Mechanistic Interpretability* (2024),
    for the weights; the public code of *The Local Interaction Basis* takes Newman's modularity and
    has no null. The layered one is Barber's (2007) for each pair of points: what this null gives on average.

    Example:
        >>> from types import SimpleNamespace
        >>> from weightatlas.degeneracy.interactions import LayerEdges
        >>> block = np.zeros((9, 9))
        >>> block[1:, 1:] = np.kron(np.eye(2), np.ones((4, 4))) + 1e-9  # two halves that hardly touch
        >>> graph = SimpleNamespace(edges=(LayerEdges("a", "b", block), LayerEdges("b", "c", block)))
        >>> found = modules(graph, floors=[1e-6, 1e-6])
        >>> found.count, round(found.modularity, 3), found.p_value
        (2, 0.75, 0.01)
    """
    _check(weighting, expected, seeds=seeds, nulls=nulls, resolutions=(resolution, *resolutions))
    epsilons = np.array(
        [_floor(edges, place, floors, share) for place, edges in enumerate(interactions.edges)], dtype=np.float64
    )
    graph = interaction_graph(interactions.edges, epsilons, weighting)
    levels = list(dict.fromkeys((resolution, *resolutions)))
    runs = {level: _searched(graph, level, expected, seeds, seed) for level in levels}
    generator = np.random.default_rng(seed)
    null = np.full(nulls if graph.total else 0, math.nan)
    for place in range(len(null)):
        null[place] = _searched(rewired(graph, generator), resolution, expected, seeds, seed)[0][1]
        progress(place + 1, len(null), "rewired graph")
    labels, quality = runs[resolution][0]
    found = int(labels.max(initial=-1)) + 1
    # equal up to rounding is as high
    p_value = float((1 + (null >= quality - 1e-9).sum()) / (1 + len(null))) if len(null) else math.nan
    return Modules(
        nodes=_nodes(interactions.edges),
        labels=labels,
        weights=graph.adjacency(),
        floors=epsilons,
        modularity=quality,
        null_modularity=null,
        p_value=p_value,
        found=found,
        count=found if p_value <= alpha else 1,
        alpha=alpha,
        resolutions=np.array(list(resolutions), dtype=np.float64),
        stability=np.array([_agreement([one for one, _ in runs[level]]) for level in resolutions], dtype=np.float64),
        counts=np.array([int(runs[level][0][0].max(initial=-1)) + 1 for level in resolutions], dtype=np.int64),
        resolution=resolution,
        weighting=weighting,
        expected=expected,
        seeds=seeds,
    )


def interaction_graph(edges: Sequence[LayerEdges], floors: Array, weighting: Weighting = "log") -> LayeredGraph:
    """The graph of interactions, without constants.

    Args:
        edges: of each point and the next.
        floors: epsilon of each.
        weighting: as `modules` takes it.

    Raises:
        ValueError: a strength is not finite.
    """
    blocks = []
    for one, floor in zip(edges, floors, strict=True):
        strengths = np.abs(one.strengths[1:, 1:]).T
        if not np.isfinite(strengths).all():
            message = f"interactions from {one.source} to {one.target} are not finite"
            raise ValueError(message)
        counts = strengths > floor
        if weighting == "log":
            ratio = np.divide(strengths, floor, out=np.ones_like(strengths), where=counts)
            blocks.append(np.log10(np.maximum(ratio, 1)))
        else:
            blocks.append(np.where(counts, np.sqrt(strengths) if weighting == "sqrt" else strengths, 0))
    sizes = (*(len(block) for block in blocks), *(block.shape[1] for block in blocks[-1:]))
    return LayeredGraph(sizes, tuple((place, place + 1) for place in range(len(blocks))), tuple(blocks))


def _floor(edges: LayerEdges, place: int, floors: Floors | None, share: float) -> float:
    """Epsilon of a pair of points; infinite where nothing acts on anything."""
    if not 0 < share <= 1:
        message = f"share is above 0 to 1, not {share}"
        raise ValueError(message)
    given = math.nan
    if isinstance(floors, Mapping):
        given = floors.get((edges.source, edges.target), math.nan)
    elif floors is not None:
        if place >= len(floors):
            message = f"there are {len(floors)} floors, fewer than pairs of points"
            raise ValueError(message)
        given = float(floors[place])
    if given > 0:
        return given
    strengths = np.sort(np.abs(edges.strengths[1:, 1:]), axis=None)[::-1]
    carried = np.cumsum(strengths)
    if not carried.size or not carried[-1] > 0:
        return math.inf
    # below the weakest edge that counts, so that it weighs something
    last = int(np.searchsorted(carried, share * carried[-1] * (1 - 1e-12)))
    weaker = strengths[min(last + 1, strengths.size - 1)]
    return float(weaker) if 0 < weaker < strengths[last] else float(strengths[last]) / 10


def _searched(
    graph: LayeredGraph, resolution: float, expected: Expected, seeds: int, seed: int
) -> list[tuple[Labels, float]]:
    """Communities and their modularity for each seed, the best first."""
    prepared = Prepared(graph, expected)
    generators = np.random.SeedSequence(seed).spawn(seeds)
    found = [leiden(prepared, resolution=resolution, seed=one) for one in generators]
    runs = [(labels, prepared.modularity(labels, resolution)) for labels in found]
    return sorted(runs, key=lambda run: -run[1]) if graph.total else runs


def _agreement(labels: Sequence[Labels]) -> float:
    """The mean adjusted Rand index of all pairs, over nodes with edges."""
    joined = [one[one >= 0] for one in labels]
    if len(joined) < 2 or not joined[0].size:
        return math.nan
    return float(np.mean([adjusted_rand_score(first, second) for first, second in combinations(joined, 2)]))


def _nodes(edges: Sequence[LayerEdges]) -> tuple[tuple[str, int], ...]:
    sizes = [(one.source, one.strengths.shape[1]) for one in edges]
    sizes += [(one.target, one.strengths.shape[0]) for one in edges[-1:]]
    return tuple((point, direction) for point, size in sizes for direction in range(1, size))


def _check(weighting: str, expected: str, *, seeds: int, nulls: int, resolutions: Sequence[float]) -> None:
    kinds = weighting in get_args(Weighting) and expected in get_args(Expected)
    if not kinds or seeds < 1 or nulls < 0 or any(not level > 0 for level in resolutions):
        message = (
            f"weighting is of {get_args(Weighting)}, expected of {get_args(Expected)}, resolutions above 0, seeds 1 or "
            f"more, nulls 0 or more; not {weighting!r}, {expected!r}, {list(resolutions)}, {seeds}, {nulls}"
        )
        raise ValueError(message)
