"""Everything that is measured of a network at one moment; what cannot be measured says why."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from weightatlas.conditioning.singularities import Singularities, check_thresholds, singularities
from weightatlas.conditioning.smoothness import Smoothness, smoothness
from weightatlas.conditioning.snapshots import Snapshot
from weightatlas.errors import MissingDependencyError, SourceError, WeightatlasError

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch
    from torch import nn

    from weightatlas.evaluation import Data

UNASKED: Final = "smoothness was not asked for"
EIGENVALUE: Final = "the top Hessian eigenvalue"
REFUSALS: Final = (WeightatlasError, RuntimeError, ValueError, TypeError, AssertionError, IndexError)
"""What a network raises on data that it does not take."""
LONGEST: Final = 200
"""Letters of another's message that a reason keeps."""


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """What is measured, and how; called with a network and the step that it is of.

    Attributes:
        data: what the network is run on.
        channels: options of `singularities`.
        smooth: options of `smoothness`; None where it is not asked for.

    Raises:
        ValueError: an option is out of range.
    """

    data: Data
    channels: dict[str, Any]
    smooth: dict[str, Any] | None

    def __post_init__(self) -> None:
        """Refuse options that mean nothing: later a ValueError is what a network says of its data."""
        check_thresholds(self.channels["dead"], self.channels["near_dead"])
        counts = {"examples": self.channels["examples"]}
        if self.smooth is not None:
            counts |= {"smooth_examples": self.smooth["examples"]}
            counts |= {name: self.smooth[name] for name in ("draws", "eigenvalues")}
        for name, count in counts.items():
            least = 0 if name in ("draws", "eigenvalues") else 1
            if count < least:
                message = f"{name} must be {least} or more, not {count}"
                raise ValueError(message)

    def __call__(self, network: nn.Module, step: int | None) -> Snapshot:
        """Measure one moment."""
        channels: Singularities | None = None
        unmeasured = None
        try:
            channels = singularities(network, self.data, **self.channels)
        except REFUSALS as error:
            unmeasured = _reason(error)
        if self.smooth is None:
            return Snapshot(step, channels, None, unmeasured, UNASKED)
        found, flat, rough = None, None, None
        try:
            found, flat = self._smoothness(network, self.smooth)
        except REFUSALS as error:
            rough = _reason(error)
        return Snapshot(step, channels, found, unmeasured, rough, flat)

    def _smoothness(self, network: nn.Module, options: dict[str, Any]) -> tuple[Smoothness, str | None]:
        """The smoothness, and why it has no eigenvalue."""
        try:
            return self._once(network, options), None
        except MissingDependencyError as error:
            why = f"{error.problem}; {error.remedy}"
        except RuntimeError as error:
            if not options["eigenvalues"]:
                raise
            why = _reason(error)
        return self._once(network, {**options, "eigenvalues": 0}), why

    def _once(self, network: nn.Module, options: dict[str, Any]) -> Smoothness:
        epoch = self.data.epoch
        try:
            with closing(_pairs(network, self.data)) as pairs:
                return smoothness(network, pairs, **options)
        finally:
            self.data.epoch = epoch


def _pairs(network: nn.Module, data: Data) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
    """The batches, floats in the type of the network."""
    like = next((one for one in network.parameters() if one.is_floating_point()), None)
    for inputs, targets in data:
        yield inputs.to(like.dtype) if like is not None and inputs.is_floating_point() else inputs, targets


def _reason(error: Exception) -> str:
    if isinstance(error, SourceError):
        return error.problem
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
