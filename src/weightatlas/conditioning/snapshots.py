"""What is measured of a network at one moment of its training, and what its figures come to over all layers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import false_discovery_control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from weightatlas.conditioning.singularities import ChannelStatistics, Singularities
    from weightatlas.conditioning.smoothness import LayerTerms, Smoothness

PLANE: Final = ("mean", "std")
TERMS: Final = ("centring", "scaling")


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A network at one moment.

    Attributes:
        step: of the run; None where there is no run.
        channels: before every nonlinearity; None where they could not be measured.
        smoothness: of the loss; None where it was not asked for or could not be measured.
        unmeasured: why there are no channels, or None.
        rough: why there is no smoothness, or None.
        flat: why there is no eigenvalue though it was asked for, or None.
        q_values: Benjamini-Hochberg over the layers of this moment, by what was tested: "mean" and "std" over both
            distances of all points together, "centring" and "scaling" over both terms of all layers.
    """

    step: int | None
    channels: Singularities | None
    smoothness: Smoothness | None
    unmeasured: str | None = None
    rough: str | None = None
    flat: str | None = None
    q_values: dict[tuple[str, str], float] = field(init=False)

    def __post_init__(self) -> None:
        """Correct for the number of tests."""
        distances = {(one.layer, which): distance_p(one, which) for one in self.points for which in PLANE}
        terms = {(one.layer, which): term_p(one, which) for one in self.terms for which in TERMS}
        object.__setattr__(self, "q_values", {**corrected(distances), **corrected(terms)})

    @property
    def points(self) -> tuple[ChannelStatistics, ...]:
        """The places where channels meet a nonlinearity."""
        return () if self.channels is None else self.channels.points

    @property
    def measured(self) -> tuple[ChannelStatistics, ...]:
        """Those with figures."""
        return tuple(point for point in self.points if point.skipped is None)

    @property
    def terms(self) -> tuple[LayerTerms, ...]:
        """The terms of the gradient, by layer."""
        return () if self.smoothness is None else self.smoothness.terms

    def mean(self, figure: str) -> float:
        """A figure of `ChannelStatistics` averaged over its points, each counted by its channels; NaN without any."""
        return _average((getattr(one, figure), one.channels) for one in self.measured)

    def share(self, term: str) -> float:
        """The share of the whole squared gradient that a term takes away, over all measured layers; NaN without any."""
        found = [one.terms for one in self.terms if one.terms is not None]
        return _average(pair for one in found for pair in zip(getattr(one, term), one.before**2, strict=True))

    def chance(self) -> float:
        """The same of gradients in random directions, for either term."""
        found = [one.terms for one in self.terms if one.terms is not None]
        return _average((one.null, float((one.before**2).sum())) for one in found)


def distance_p(point: ChannelStatistics, which: str) -> float:
    """The p of a point's distance, "mean" or "std"; NaN where there is none."""
    return point.means.p_value if which == "mean" else point.stds.p_value


def term_p(layer: LayerTerms, which: str) -> float:
    """The p of a layer's term, "centring" or "scaling"; NaN where there is none."""
    found = None if layer.terms is None else layer.terms.layer
    if found is None:
        return math.nan
    return found.centring_p if which == "centring" else found.scaling_p


def corrected(p_values: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """Benjamini-Hochberg q of those p that are known.

    Example:
        >>> corrected({("a", "mean"): 0.01, ("b", "mean"): 0.04, ("c", "mean"): math.nan})
        {('a', 'mean'): 0.02, ('b', 'mean'): 0.04}
    """
    known = {key: value for key, value in p_values.items() if math.isfinite(value)}
    found = false_discovery_control(list(known.values())).tolist() if known else []
    return dict(zip(known, found, strict=True))


def course(snapshots: Iterable[Snapshot], figure: Callable[[Snapshot], float | None]) -> npt.NDArray[np.float64]:
    """A figure of every moment; NaN where it is not known."""
    return np.array([math.nan if (value := figure(one)) is None else value for one in snapshots], dtype=np.float64)


def _average(pairs: Iterable[tuple[float, float]]) -> float:
    """A weighted mean of what is finite."""
    known = [(value, weight) for value, weight in pairs if math.isfinite(value) and weight > 0]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else math.nan
