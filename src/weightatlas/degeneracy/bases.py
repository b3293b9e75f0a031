"""From the activations at a point, and how later ones depend on them, to a basis of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from weightatlas.degeneracy.jacobians import Factor
    from weightatlas.degeneracy.point_activations import Activations


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """A basis of a point's features, without the constant.

    Attributes:
        forth: (features, directions): features about the centre times this are what the basis shows.
        back: (directions, features), its pseudo-inverse.
        importances: (directions,).
        centre: (features,).
    """

    forth: torch.Tensor
    back: torch.Tensor
    importances: torch.Tensor
    centre: torch.Tensor


def identity(found: Activations) -> Rotation:
    """The features themselves about 0, in their order; their importance is their variance."""
    one = torch.eye(len(found.mean), dtype=torch.float64, device=found.mean.device)
    square = (found.vectors * found.values).square().sum(1)
    variance = (square - (found.mean - found.centre).square()).clamp(min=0)
    return Rotation(one, one, variance, torch.zeros_like(found.mean))


def principal(found: Activations, truncation: float) -> Rotation:
    """Principal components about the centre, of length 1; their importance is the mean square along them."""
    kept = found.kept(truncation)
    vectors = found.vectors[:, :kept]
    return _signed(found, vectors, vectors.T, found.values[:kept].square())


def interacting(found: Activations, factor: Factor, truncation: float) -> Rotation:
    r"""The basis in which activations are uncorrelated and Jacobians orthogonal, and both of one size.

    \(G = U D U^\top\), \(R = U D^{-1/2}\), \(R^+ = D^{1/2} U^\top\), \(M = R^+ M' R^{+\top} = V \Lambda V^\top\),
    \(C = R V \Lambda^{1/2}\), \(C^+ = \Lambda^{-1/2} V^\top R^+\). With \(M' = T^\top T\) the roots of \(\Lambda\) are
    the singular values of \(T R^{+\top}\).

    Args:
        found: the activations.
        factor: T.
        truncation: what is at most this share of the largest is left out, of the roots of D and of Lambda.
    """
    deviations, vectors = _whitened(found, truncation)
    if not factor.rows.numel() or not len(deviations):
        return _nothing(found)
    _, roots, turned = torch.linalg.svd((factor.rows @ vectors) * deviations, full_matrices=False)
    least = max(truncation * float(roots[0]), factor.noise * float(deviations[0]))
    count = int((roots > least).sum())
    return _scaled(found, deviations, vectors, turned[:count].T, roots[:count])


def functional(found: Activations, factor: Factor, crossed: torch.Tensor, truncation: float) -> Rotation:
    r"""The basis of integrated gradients: as `interacting`, with Lambda of how gradients and activations go together.

    \(\Lambda = |\operatorname{diag}(V^\top R^+ \Lambda' R V)|\).

    Args:
        found: the activations.
        factor: of M'.
        crossed: Lambda'.
        truncation: as `interacting` takes it.
    """
    deviations, vectors = _whitened(found, truncation)
    if not len(deviations):
        return _nothing(found)
    _, singular, turned = torch.linalg.svd((factor.rows @ vectors) * deviations, full_matrices=False)
    known = singular > max(truncation * float(singular[0]), factor.noise * float(deviations[0]))
    turn = turned[known].T
    whole = (turn.T * deviations) @ vectors.T @ crossed @ (vectors / deviations) @ turn
    roots, order = whole.diagonal().abs().sqrt().sort(descending=True, stable=True)
    count = int((roots > truncation * roots[:1].sum()).sum())
    return _scaled(found, deviations, vectors, turn[:, order[:count]], roots[:count])


def _whitened(found: Activations, truncation: float) -> tuple[torch.Tensor, torch.Tensor]:
    kept = found.kept(truncation)
    return found.values[:kept], found.vectors[:, :kept]


def _scaled(
    found: Activations, deviations: torch.Tensor, vectors: torch.Tensor, turn: torch.Tensor, roots: torch.Tensor
) -> Rotation:
    """Whitened, turned, and scaled by the roots of the importances."""
    forth = (vectors / deviations) @ turn * roots
    back = (turn / roots).T @ (vectors * deviations).T
    return _signed(found, forth, back, roots.square())


def _signed(found: Activations, forth: torch.Tensor, back: torch.Tensor, importances: torch.Tensor) -> Rotation:
    """Turn each direction so that the largest of its values among the first activations is positive.

    So the sign depends on what the basis shows alone, and not on the features that the activations come in.
    """
    shown = found.sample @ forth
    if not shown.numel():
        return Rotation(forth, back, importances, found.centre)
    largest = shown.gather(0, shown.abs().argmax(0, keepdim=True))[0]
    signs = 1 - 2 * (largest < 0).to(forth)
    return Rotation(forth * signs, back * signs[:, None], importances, found.centre)


def _nothing(found: Activations) -> Rotation:
    empty = found.vectors[:, :0]
    return Rotation(empty, empty.T, found.values[:0], found.centre)
