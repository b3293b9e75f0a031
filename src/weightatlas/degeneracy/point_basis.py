"""The basis of the activations at one point of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.degeneracy.bases import Rotation
    from weightatlas.degeneracy.point_activations import Activations

    Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PointBasis:
    """A basis of the activations at one point, with the constant 1 as one more of them.

    Attributes:
        point: its name.
        axis: of the features in its values.
        width: features, d.
        positions: (example, position) pairs that it was found on.
        mean: float64 (d,), of the activations.
        to_basis: float64 (d + 1, k), C: activations with a 1 behind them, times this, are what the basis shows.
            Direction 0 is the constant: it shows 1.
        from_basis: float64 (k, d + 1), its pseudo-inverse.
        importances: float64 (k,), Lambda, descending; NaN for the constant. In units of the later point's squared
            directions; mean squares of activations for principal components.
        activation_spectrum: float64, descending: roots of the eigenvalues of `gram`.
        activation_noise: singular values at or below this cannot be told from 0; their directions are dropped.
        gram: float64 (d, d), G: of the activations about their mean (about 0 where they were not centred).
        jacobian_gram: float64 (d, d), M': of what the later point's directions depend on; None where none was asked.
        kept: directions without the constant, k - 1.
        dropped: d - kept.
    """

    point: str
    axis: int
    width: int
    positions: int
    mean: Array
    to_basis: Array
    from_basis: Array
    importances: Array
    activation_spectrum: Array
    activation_noise: float
    gram: Array
    jacobian_gram: Array | None
    kept: int
    dropped: int

    def represent(self, values: torch.Tensor) -> torch.Tensor:
        """What the basis shows of the point's values: features along `axis` become directions (..., k), last.

        It is computed in the precision of the values, and can be differentiated.
        """
        moved = values[:, None] if values.ndim == 1 else values.movedim(self.axis, -1)
        matrix = torch.from_numpy(self.to_basis).to(moved)
        return moved @ matrix[:-1] + matrix[-1]

    def restore(self, represented: torch.Tensor) -> torch.Tensor:
        """The point's values by what the basis shows of them (..., k): features along `axis` again.

        They are the activations without what they have along the directions that were dropped.
        """
        matrix = torch.from_numpy(self.from_basis).to(represented)
        return (represented @ matrix[:, :-1]).movedim(-1, self.axis)


def point_basis(point: str, found: Activations, rotation: Rotation, jacobian: torch.Tensor | None) -> PointBasis:
    """Put the constant to a basis of features.

    Args:
        point: its name.
        found: its activations.
        rotation: the basis of its features.
        jacobian: the factor of M', or None.
    """
    width, kept = rotation.forth.shape
    forth, back = rotation.forth.cpu().numpy(), rotation.back.cpu().numpy()
    centre = rotation.centre.cpu().numpy()
    to_basis = np.zeros((width + 1, kept + 1))
    to_basis[:-1, 1:], to_basis[-1, 1:], to_basis[-1, 0] = forth, -centre @ forth, 1
    from_basis = np.zeros((kept + 1, width + 1))
    from_basis[1:, :-1], from_basis[0, :-1], from_basis[0, -1] = back, centre, 1
    gram = (found.vectors * found.values.square()) @ found.vectors.T
    return PointBasis(
        point=point,
        axis=found.axis,
        width=width,
        positions=found.positions,
        mean=found.mean.cpu().numpy(),
        to_basis=to_basis,
        from_basis=from_basis,
        importances=np.concatenate([[np.nan], rotation.importances.cpu().numpy()]),
        activation_spectrum=found.values.cpu().numpy(),
        activation_noise=found.noise,
        gram=gram.cpu().numpy(),
        jacobian_gram=None if jacobian is None else (jacobian.T @ jacobian).cpu().numpy(),
        kept=kept,
        dropped=width - kept,
    )
