"""The interaction basis: a basis of a network's activations that does not depend on how its layers are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch

from weightatlas.degeneracy.bases import Rotation, functional, identity, interacting, principal
from weightatlas.degeneracy.jacobians import (
    GRADIENT,
    Quadrature,
    Segment,
    Sources,
    functional_factor,
    jacobian_factor,
    path_nodes,
)
from weightatlas.degeneracy.point_activations import Activations, activations
from weightatlas.degeneracy.point_basis import PointBasis, point_basis
from weightatlas.evaluation.copies import copied
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.evaluation.points import NamedPoints
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from weightatlas.evaluation.batches import Batch

Formula = Literal["jacobian", "integrated", "functional", "pca", "svd"]
Target = Literal["next", "output"]

NODES = 8
"""Places on the path of an integral: what is smooth along it is then right to 15 powers of alpha."""


@dataclass(frozen=True, slots=True, eq=False)
class InteractionBasis:
    """The bases of several points of a network.

    Attributes:
        points: in the order of the network.
        target: "next" (the local basis) or "output" (the global one).
        formula: how it was found.
        examples: that it was found on.
        probes: random combinations of directions in place of each of them; None where each was taken.
    """

    points: tuple[PointBasis, ...]
    target: Target
    formula: Formula
    examples: int
    probes: int | None

    def __getitem__(self, point: str) -> PointBasis:
        """The basis of a point by its name.

        Raises:
            KeyError: there is none of this name.
        """
        for each in self.points:
            if each.point == point:
                return each
        raise KeyError(point)


def interaction_basis(
    model: torch.nn.Module,
    data: Iterable[Batch],
    at: Sequence[str],
    *,
    target: Target = "next",
    formula: Formula = "jacobian",
    center: bool = True,
    rotate_last: bool = False,
    truncation: float = 1e-9,
    nodes: int = NODES,
    quadrature: Quadrature = "gauss-legendre",
    probes: int | None = None,
    position_probes: int | None = None,
    examples: int | None = None,
    chunk: int | None = None,
    axes: Mapping[str, int] | None = None,
    dtype: torch.dtype | None = torch.float64,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> InteractionBasis:
    r"""Find the basis in which a network's activations interact least, at several of its points.

    At a point with activations \(f_{xs} \in \mathbb{R}^d\) (n examples x, P positions s) about their mean,

    1. whiten: \(G = \frac{1}{nP} \sum_{x,s} f f^\top = U D U^\top\), \(R = U D^{-1/2}\), \(R^+ = D^{1/2} U^\top\);
    2. turn to where the later point's directions \(\hat f_{it}\) look:
       \(M' = \frac{1}{nP} \sum_{x,s} \sum_{i,t} J_{it,s} J_{it,s}^\top\), \(J_{it,s} = \partial \hat f_{it} / \partial
       f_s\), \(M = R^+ M' R^{+\top} = V \Lambda V^\top\);
    3. scale: \(C = R V \Lambda^{1/2}\), \(C^+ = \Lambda^{-1/2} V^\top R^+\).

    So \(C^\top G C = \Lambda\) and \(C^+ M' C^{+\top} = 1\): directions are uncorrelated, their Jacobians orthogonal,
    and the variance of each is how much the later point depends on it. What the activations do not span and what the
    later point does not depend on is dropped. `PointBasis` folds the mean in, as a constant 1 that is a direction of
    its own. The last point keeps its features (`rotate_last`: principal components), and the others follow from the
    last to the first. An invertible affine map between two linear layers leaves the bases as they show activations,
    signs included.

    Formulas:

    - "jacobian": as above; recommended.
    - "integrated": J is the mean over a path, \(\int_0^1 \partial \hat f(\alpha f) / \partial (\alpha f) \, d\alpha\).
      The two products hold too.
    - "functional": of g, the integrated gradient of \(\sum_{it} (\hat f_{it}(f) - \hat f_{it}(\alpha f))^2\) on the
      path: \(M' = \operatorname{E} g g^\top\), \(\Lambda = |\operatorname{diag}(V^\top R^+ \Lambda' R V)|\) with
      \(\Lambda' = \operatorname{E} g f^\top\). Only \(C^\top G C = \Lambda\) holds.
    - "pca": principal components, not scaled, as a baseline. "svd": the same about 0 in place of the mean.

    The network is copied, into double precision, and runs in evaluation mode; the one that is given stays as it is.

    Args:
        model: any network.
        data: pairs of inputs and targets that can be gone through again; only inputs are used.
        at: names of points, as `evaluation.points.NamedPoints` takes them, in the order of the network; all that a
            point knows of the inputs it must know through the point before. The last is most often "output".
        target: take Jacobians to the "next" point, in its basis (the Local Interaction Basis), or to the last one
            (the "output": the global Interaction Basis).
        formula: see above.
        center: take activations about their mean; otherwise about 0. The constant is a direction by itself in both.
        rotate_last: give the last point its principal components.
        truncation: directions are dropped whose singular values are at most this share of the largest, or within the
            noise: of the activations, and of the Jacobian of the whitened activations (roots of D and of Lambda).
        nodes: places on the path of "integrated" and "functional".
        quadrature: their rule, "gauss-legendre" or "trapezoidal".
        probes: so many random combinations, of +1 and -1, of the later point's directions and positions for each
            example in place of each by itself (Hutchinson): M' is then an unbiased estimate.
        position_probes: so many random combinations of its positions alone, with each direction.
        examples: of the data at most; None is all.
        chunk: combinations that are differentiated at once; None is what fits 64 MiB.
        axes: of the features, for points where it is another than `NamedPoints` takes.
        dtype: what the copy computes in; None measures the network itself, as it is.
        seed: of random combinations.
        device: where the copy runs; None is where the network is.
        progress: is told of points.

    Returns:
        The basis of every point.

    Raises:
        SourceError: a point is not there, not reached, out of order, or no cut.
        NotFiniteError: activations or derivatives are infinite or NaN.
        ValueError: an argument is none of those above, or there are no examples.

    **Source:** Bushnaq and others, *The Local Interaction Basis* (2024), and *Using Degeneracy in the Loss Landscape
    for Mechanistic Interpretability* (2024) for the global form; formulas as in their public code (ApolloResearch/rib),
    where "functional" is called (1-alpha)^2. Its fourth one, (1-0)*alpha, is not here: its authors say that its Lambda
    is wrong. We differ in this: singular values come of orthogonal transformations, not of Gram matrices, so that the
    truncation is relative and means something below 1e-8; the constant is never mixed with features, also without
    centring; biases behind a point stay whole along the path, where rib scales them along with their folded constant;
    the variance of a layer norm is not set apart.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> inputs = torch.randn(50, 3, dtype=torch.float64)
        >>> inputs[:, 2] = inputs[:, 0] + inputs[:, 1]
        >>> basis = interaction_basis(network, [(inputs, torch.zeros(50))], ["0", "output"])
        >>> basis["0"].to_basis.shape, basis["0"].dropped
        ((4, 3), 1)
    """
    if target not in get_args(Target) or formula not in get_args(Formula):
        message = f"target and formula are of {get_args(Target)} and {get_args(Formula)}, not {target!r}, {formula!r}"
        raise ValueError(message)
    if len(at) < 2 or not 0 <= truncation < 1:
        message = f"two points or more and a truncation from 0 to 1 are needed, not {list(at)} and {truncation}"
        raise ValueError(message)
    sources = Sources(probes, position_probes, seed, chunk)
    path = path_nodes(nodes, quadrature) if formula in ("integrated", "functional") else GRADIENT
    twin = model if dtype is None and device is None else copied(model, dtype=dtype, device=device)
    points = NamedPoints(twin, at, axes=axes)
    batches = _Batches(twin, data, examples)
    points.check(next(iter(batches))[0])
    found = activations(points, batches, center={"pca": True, "svd": False}.get(formula, center))
    bases: list[PointBasis] = []
    rotations: dict[str, Rotation] = {}
    for name in reversed(points.names):
        later = bases[0 if target == "output" else -1].point if bases else None
        segment = None if later is None else Segment(points, name, later, rotations[later].forth, path)
        plan = _Plan(formula, truncation, sources, rotate_last=rotate_last)
        rotations[name], jacobian = _rotation(found[name], segment, batches, plan)
        bases.append(point_basis(name, found[name], rotations[name], jacobian))
        progress(len(bases), len(points.names), name)
    return InteractionBasis(tuple(reversed(bases)), target, formula, batches.examples, probes or position_probes)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the basis of a point is found."""

    formula: Formula
    truncation: float
    sources: Sources
    rotate_last: bool


class _Batches:
    """The first examples of some data, in a network's precision and on its device."""

    def __init__(self, model: torch.nn.Module, data: Iterable[Batch], examples: int | None) -> None:
        one = next((each for each in model.parameters() if each.is_floating_point()), None)
        self._dtype = None if one is None else one.dtype
        self._held = HeldBatches(data, examples=examples, device="cpu" if one is None else one.device)
        self.examples = self._held.examples

    def __iter__(self) -> Iterator[Batch]:
        """Start a pass."""
        for inputs, targets in self._held:
            yield inputs.to(self._dtype) if inputs.is_floating_point() else inputs, targets


def _rotation(
    found: Activations, segment: Segment | None, batches: Iterable[Batch], plan: _Plan
) -> tuple[Rotation, torch.Tensor | None]:
    """The basis of a point's features, and the factor of M' where there is one."""
    if segment is None:
        return principal(found, plan.truncation) if plan.rotate_last else identity(found), None
    if plan.formula in ("pca", "svd"):
        return principal(found, plan.truncation), None
    if plan.formula == "functional":
        factor, crossed = functional_factor(segment, batches, about=found.centre)
        return functional(found, factor, crossed, plan.truncation), factor.rows
    factor = jacobian_factor(segment, batches, sources=plan.sources)
    return interacting(found, factor, plan.truncation), factor.rows
