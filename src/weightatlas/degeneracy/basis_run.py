"""A network that is run on data to see what its basis directions do."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from weightatlas.errors import NotFiniteError
from weightatlas.evaluation.copies import copied
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.evaluation.points import NamedPoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from weightatlas.degeneracy.interaction_basis import InteractionBasis
    from weightatlas.degeneracy.point_basis import PointBasis
    from weightatlas.evaluation.batches import Batch


class BasisRun:
    """A copy of a network in evaluation mode, the points of a basis in it, and the data, in the copy's precision.

    Attributes:
        basis: of the points.
        points: of the copy; the network that was given stays as it is.
        examples: of the data.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        data: Iterable[Batch],
        basis: InteractionBasis,
        *,
        examples: int | None,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> None:
        """Copy the network and hold the data.

        Args:
            model: any network with the points of the basis.
            data: pairs of inputs and targets that can be gone through again.
            basis: as `interaction_basis` gives it.
            examples: of the data at most; None is all.
            dtype: of the copy; None leaves it in its own.
            device: of the copy; None leaves it where the network is.

        Raises:
            SourceError: a point is not there.
            ValueError: there are no examples, or the basis has one point only.
        """
        if len(basis.points) < 2:
            message = f"interactions are between two points or more; the basis has {len(basis.points)}"
            raise ValueError(message)
        twin = copied(model, dtype=dtype, device=device)
        self.basis = basis
        self.points = NamedPoints(
            twin, [point.point for point in basis.points], axes={point.point: point.axis for point in basis.points}
        )
        one = next((each for each in twin.parameters() if each.is_floating_point()), None)
        self._dtype = None if one is None else one.dtype
        self._held = HeldBatches(data, examples=examples, device="cpu" if one is None else one.device)
        self.examples = self._held.examples

    @property
    def pairs(self) -> tuple[tuple[PointBasis, PointBasis], ...]:
        """Each point with the next one."""
        return tuple(pairwise(self.basis.points))

    def __iter__(self) -> Iterator[Batch]:
        """Start a pass through the data."""
        for inputs, targets in self._held:
            yield inputs.to(self._dtype) if inputs.is_floating_point() else inputs, targets

    def values(self, inputs: torch.Tensor, point: PointBasis) -> torch.Tensor:
        """What the network holds at a point.

        Raises:
            NotFiniteError: it is infinite or NaN.
        """
        values = self.points.values(inputs, point.point)[point.point]
        if not bool(torch.isfinite(values).all()):
            message = f"activations at {point.point} are not finite"
            raise NotFiniteError(message)
        return values
