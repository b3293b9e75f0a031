"""Interactions: how strongly each direction of a basis acts on those of the next point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from weightatlas.degeneracy.basis_run import BasisRun
from weightatlas.degeneracy.jacobians import Quadrature, Segment, Sources, path_nodes, pulled_back
from weightatlas.errors import NotFiniteError
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from weightatlas.degeneracy.interaction_basis import InteractionBasis
    from weightatlas.degeneracy.point_basis import PointBasis
    from weightatlas.evaluation.batches import Batch

EdgeFormula = Literal["squared", "functional"]

CHUNK = 2**22
"""Numbers that are held at once for one batch: 32 MiB in double precision."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerEdges:
    """Edges from the directions of one point to those of the next.

    Attributes:
        source: the earlier point.
        target: the later one.
        strengths: float64 (k_target, k_source), not below 0 where squared. Row and column 0 are the constants, and row
            0 is 0: nothing acts on a constant.
    """

    source: str
    target: str
    strengths: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """The graph of interactions of a basis.

    Attributes:
        edges: of every point and the next, in the order of the network.
        basis: whose directions these are.
        formula: of the strengths.
        nodes: places on the path that derivatives are taken at.
        examples: the means are over.
        probes: random combinations of the later point's positions; None where each was taken.
    """

    edges: tuple[LayerEdges, ...]
    basis: InteractionBasis
    formula: EdgeFormula
    nodes: int
    examples: int
    probes: int | None


def interactions(
    model: torch.nn.Module,
    data: Iterable[Batch],
    basis: InteractionBasis,
    *,
    formula: EdgeFormula = "squared",
    nodes: int = 1,
    quadrature: Quadrature = "gauss-legendre",
    probes: int | None = None,
    examples: int | None = None,
    chunk: int | None = None,
    dtype: torch.dtype | None = torch.float64,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> Interactions:
    r"""Measure how strongly each basis direction of a point acts on each direction of the next point.

    With \(\hat f_{js}\) what direction j shows at position s (P of them) of the earlier point, and \(\hat f'_{it}\) the
    same of the later one, over n examples x:

    - "squared": \(E_{ij} = \frac{1}{nP} \sum_{x,t} \Big( \int_0^1 \sum_s \frac{\partial \hat f'_{it}(\alpha f)}
      {\partial \hat f_{js}} \hat f_{js} \, d\alpha \Big)^2\), the mean square of what the later direction owes to the
      earlier one; \(\alpha = 1\) alone (`nodes=1`) takes the gradient in place of the integral.
    - "functional": \(E_{ij} = \frac{1}{nP} \sum_{x,t} \int_0^1 2 (\hat f'_{it}(f) - \hat f'_{it}(\alpha f)) \sum_s
      \frac{\partial \hat f'_{it}(\alpha f)}{\partial \hat f_{js}} \hat f_{js} \, d\alpha\): how much of the squared
      change along the path goes through direction j. Summed over j, the constant among them, it is the whole
      \(\frac{1}{nP} \sum (\hat f'_{it}(f) - \hat f'_{it}(0))^2\). Single ones may be below 0.

    Both are in units of the later direction, squared. The path is that of `interaction_basis`: activations are scaled,
    biases behind them stay.

    Args:
        model: the network that the basis is of; it is copied.
        data: pairs of inputs and targets; only inputs are used.
        basis: as `interaction_basis` gives it.
        formula: see above.
        nodes: places on the path.
        quadrature: their rule, "gauss-legendre" or "trapezoidal".
        probes: so many random combinations, of +1 and -1, of the later point's positions for each example in place of
            each position; the squares are then unbiased estimates. Of no use to "functional", which needs none.
        examples: of the data at most; None is all.
        chunk: combinations that are differentiated at once; None is what fits 32 MiB.
        dtype: what the copy computes in; None leaves it in its own precision.
        seed: of random combinations.
        device: where the copy runs; None is where the network is.
        progress: is told of pairs of points.

    Returns:
        A block of strengths for each point and the next.

    Raises:
        SourceError: a point is not there or not reached.
        NotFiniteError: activations or derivatives are infinite or NaN.
        ValueError: an argument is none of those above, or there are no examples; "functional" with one node, where it
            is 0.

    **Source:** Bushnaq and others, *The Local Interaction Basis* (2024); formulas as in their public code
    (ApolloResearch/rib). Theirs scales biases along with their folded constant.

    Example:
        >>> from weightatlas.degeneracy.interaction_basis import interaction_basis
        >>> network = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False))
        >>> for layer in network:  # two threads side by side
        ...     layer.weight.data = torch.diag(torch.tensor([2.0, 1.0]))
        >>> batches = [(torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]), torch.zeros(4))]
        >>> basis = interaction_basis(network, batches, ["0", "1", "output"])
        >>> interactions(network, batches, basis).edges[1].strengths[1:, 1:].round(9) + 0.0
        array([[16.,  0.],
               [ 0.,  1.]])
    """
    if formula not in get_args(EdgeFormula) or (formula == "functional" and nodes < 2):
        message = f"formula is of {get_args(EdgeFormula)}, the latter with 2 nodes or more, not {formula!r}, {nodes}"
        raise ValueError(message)
    run = BasisRun(model, data, basis, examples=examples, dtype=dtype, device=device)
    path = path_nodes(nodes, quadrature)
    edges = []
    for number, (source, target) in enumerate(run.pairs, start=1):
        directions = torch.from_numpy(target.to_basis[:-1, 1:])
        segment = Segment(run.points, source.point, target.point, directions, path)
        sources = Sources(None, probes, seed, chunk)
        acting = _squared(run, source, segment, sources) if formula == "squared" else _functional(run, source, segment)
        strengths = np.zeros((target.to_basis.shape[1], source.to_basis.shape[1]))
        strengths[1:] = acting.cpu().numpy()
        if not np.isfinite(strengths).all():
            message = f"derivatives of {target.point} with respect to {source.point} are not finite"
            raise NotFiniteError(message)
        edges.append(LayerEdges(source.point, target.point, strengths))
        progress(number, len(run.pairs), source.point)
    return Interactions(tuple(edges), basis, formula, nodes, run.examples, probes)


class _Shown:
    """What a point's directions show in a batch, to be weighed with derivatives with respect to its values."""

    def __init__(self, run: BasisRun, source: PointBasis, segment: Segment, inputs: torch.Tensor) -> None:
        self.values = run.values(inputs, source)
        shown = source.represent(self.values)
        self.shown = shown.reshape(len(self.values), -1, shown.shape[-1])
        back = torch.from_numpy(source.from_basis[:, :-1]).to(self.values)
        weights = run.points.weights(source.point)
        self.behind = weights is not None and weights.shape[0] < weights.shape[1]
        self.back = back @ weights.to(back).T if self.behind and weights is not None else back
        self.links = segment.links(inputs, self.values, behind=self.behind)
        self._segment = segment

    def size(self, sources: Sources) -> int:
        """How many combinations are differentiated at once."""
        turned = self.links[0].turned
        most = max(self.shown.numel(), turned.numel(), self.links[0].leaf.numel(), 1)
        return sources.chunk or max(1, CHUNK // most)

    def weighed(self, gradients: torch.Tensor) -> torch.Tensor:
        """Derivatives (combinations, *leaf) along each direction, times what it shows: (combinations, examples, k)."""
        rows = self._segment.rows(gradients.flatten(0, 1)) @ self.back.T
        return (rows.view(len(gradients), *self.shown.shape) * self.shown).sum(2)


def _squared(run: BasisRun, source: PointBasis, segment: Segment, sources: Sources) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sources.seed)
    count = segment.directions.shape[1]
    found = torch.zeros((count, source.to_basis.shape[1]), dtype=torch.float64)
    places = 0
    for inputs, _ in run:
        shown = _Shown(run, source, segment, inputs)
        places += shown.shown.shape[:2].numel()
        done = 0
        for chosen in _combinations(shown, sources, generator):
            gradients = sum(pulled_back(link, link.weight * chosen) for link in shown.links)
            squares = shown.weighed(torch.as_tensor(gradients)).double().square().sum(1)
            numbers = torch.arange(done, done + len(chosen)) % count  # directions run fastest
            found.index_add_(0, numbers, squares.cpu())
            done += len(chosen)
    return found * sources.share / places


def _functional(run: BasisRun, source: PointBasis, segment: Segment) -> torch.Tensor:
    count = segment.directions.shape[1]
    found = torch.zeros((count, source.to_basis.shape[1]), dtype=torch.float64)
    places = 0
    for inputs, _ in run:
        shown = _Shown(run, source, segment, inputs)
        places += shown.shown.shape[:2].numel()
        end = run.points.rows(segment.target, run.values(inputs, run.basis[segment.target]))
        end = end @ segment.directions.to(end)
        for link in shown.links:
            change = 2 * link.weight * (end - link.turned.detach())
            for direction in range(count if link.turned.requires_grad else 0):
                chosen = torch.zeros_like(change)[None]
                chosen[0, :, :, direction] = change[:, :, direction]
                found[direction] += shown.weighed(pulled_back(link, chosen))[0].double().sum(0).cpu()
    return found / places


def _combinations(shown: _Shown, sources: Sources, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Of the later point's directions and positions; none where it does not depend on the earlier one."""
    turned = shown.links[0].turned
    if turned.requires_grad and turned.numel():
        yield from sources.combinations(turned.detach(), shown.size(sources), generator)
