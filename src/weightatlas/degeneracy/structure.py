"""The basis that a network computes in, what its directions do to each other, and the modules that they form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from weightatlas.degeneracy.ablation import EdgeAblation, NodeAblation, edge_ablation, node_ablation
from weightatlas.degeneracy.interaction_basis import Formula as BasisFormula
from weightatlas.degeneracy.interaction_basis import InteractionBasis, interaction_basis
from weightatlas.degeneracy.interactions import Interactions, interactions
from weightatlas.degeneracy.modules import RESOLUTION, Modules, modules
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import nn

    from weightatlas.evaluation.batches import Batch

Target = Literal["next", "output"]
Formula = Literal["jacobian", "integrated"]

PARTS = 6
"""Parts of the work that progress is told of: two bases, their edges, what may be left out of each, modules."""


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """What a network computes in, at named points from its input to its output.

    Attributes:
        basis: the interaction basis at every point.
        interactions: how strongly its directions act on those of the next point.
        edges: of every pair of points, the fewest edges that keep the accuracy; empty where that was not measured.
        nodes: of every point, the fewest directions that do.
        baseline: principal components at the same points.
        baseline_interactions, baseline_edges, baseline_nodes: the same figures of these.
        modules: communities among the basis's directions.
        unablated: why nothing was left out; None where it was.
    """

    basis: InteractionBasis
    interactions: Interactions
    edges: tuple[EdgeAblation, ...]
    nodes: tuple[NodeAblation, ...]
    baseline: InteractionBasis
    baseline_interactions: Interactions
    baseline_edges: tuple[EdgeAblation, ...]
    baseline_nodes: tuple[NodeAblation, ...]
    modules: Modules
    unablated: str | None


@dataclass(frozen=True, slots=True)
class StructureMeasurement:
    """How structure is measured.

    Attributes:
        target: of the basis: the next point (local), or the output (global).
        formula: of the basis.
        drop: of accuracy, that leaving out edges may cost.
        ablate: measure how many edges and directions are needed; it takes most of the time.
        resolution: of modules.
        nulls: rewired graphs that the modularity is compared with.
        examples: of the data, at most; None is all.
        probes: random combinations of outputs in place of exact Jacobians; None is exact.
        seed: of every random choice.
    """

    target: Target = "next"
    formula: Formula = "jacobian"
    drop: float = 0.001
    ablate: bool = True
    resolution: float = RESOLUTION
    nulls: int = 99
    examples: int | None = None
    probes: int | None = None
    seed: int = 0

    def __call__(
        self, model: nn.Module, data: Iterable[Batch], points: Sequence[str], progress: Progress = silent
    ) -> Structure:
        """Measure it at these points, in the order of the network.

        Raises:
            SourceError: a point is not there, is no cut, or its activations are not finite.
        """
        common: dict[str, Any] = {"examples": self.examples, "probes": self.probes, "seed": self.seed}
        bases: list[InteractionBasis] = []
        acting: list[Interactions] = []
        formulas: tuple[BasisFormula, ...] = (self.formula, "pca")
        for place, formula in enumerate(formulas):
            bases.append(interaction_basis(model, data, points, target=self.target, formula=formula, **common))
            progress(2 * place + 1, PARTS, f"{formula} basis")
            acting.append(interactions(model, data, bases[-1], **common))
            progress(2 * place + 2, PARTS, "edges")
        edges: list[tuple[EdgeAblation, ...]] = [(), ()]
        nodes: list[tuple[NodeAblation, ...]] = [(), ()]
        unablated = None if self.ablate else "edges were not left out: it was not asked for"
        if self.ablate:
            kept: dict[str, Any] = {"drop": self.drop, "examples": self.examples}
            edges = [edge_ablation(model, data, *each, **kept) for each in zip(bases, acting, strict=True)]
            nodes = [node_ablation(model, data, basis, **kept) for basis in bases]
        progress(PARTS - 1, PARTS, "left out")
        floors = {(one.source, one.target): one.floor for one in edges[0]}
        found = modules(acting[0], floors=floors or None, resolution=self.resolution, nulls=self.nulls, seed=self.seed)
        progress(PARTS, PARTS, "modules")
        return Structure(
            basis=bases[0],
            interactions=acting[0],
            edges=edges[0],
            nodes=nodes[0],
            baseline=bases[1],
            baseline_interactions=acting[1],
            baseline_edges=edges[1],
            baseline_nodes=nodes[1],
            modules=found,
            unablated=unablated,
        )
