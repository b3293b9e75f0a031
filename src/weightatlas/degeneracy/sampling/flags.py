"""What speaks against an estimate of the learning coefficient, a sentence each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.wording import listed

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

MOST_RHAT: Final = 1.1
"""Of split R-hat: the customary bound."""
MOST_DRIFT: Final = 3.0
"""Standard errors of the drift: in 3 of 1,000 stationary runs by chance."""
LEAST_DRAWS: Final = 40.0
"""Effective draws, below which R-hat and standard errors are guesses themselves: ten for each of four chains."""
ERROR_SLACK: Final = 1.5
"""How far beyond what was asked the error of the steps may be: trials measure it on one chain."""
MOST_SENSITIVITY: Final = 0.1
"""To the prior: with one curvature the estimate is so much below that without a prior, as far off as known coefficients
are allowed to be."""
SENSITIVITY_ERRORS: Final = 2.0
"""Standard errors that this must be from 0 too: where it is 0, 5 in 100 runs reach that by chance."""

MOST_WANDERING: Final = 1.1
"""Of the mean squared distance from w* in the last third of the draws to that in the first."""


def not_finite(chains: Array) -> list[str]:
    """The chains that left the finite numbers."""
    lost = [str(number) for number in np.flatnonzero(~np.isfinite(chains)) + 1]
    if not lost:
        return []
    which = f"chain {lost[0]}" if len(lost) == 1 else f"chains {listed(lost)}"
    rest = "no estimate is left" if len(lost) == len(chains) else "the estimate is of the others alone"
    return [f"{which} of {len(chains)} left the finite numbers, and {rest}: take smaller steps"]


def unstable(*, rhat: float, worth: float, moved: float, shift: float) -> list[str]:
    """Chains that have not reached what they sample.

    Args:
        rhat: split R-hat.
        worth: effective draws.
        moved: the drift, in standard errors.
        shift: by how much the estimate moved from the first third of the draws to the last.
    """
    sentences = []
    if rhat > MOST_RHAT:
        sentences.append(
            f"the chains disagree, split R-hat {rhat:.2f} > {MOST_RHAT}: leave out more steps, or take more draws"
        )
    if worth < LEAST_DRAWS:
        sentences.append(
            f"the draws are worth {worth:.0f} independent ones, of {LEAST_DRAWS:.0f} that are needed: take more, or "
            "more steps between them"
        )
    if abs(moved) > MOST_DRIFT:
        way = "rises" if moved > 0 else "falls"
        sentences.append(
            f"the loss still {way} after burn-in, z = {moved:+.1f}, the estimate by {shift:+.3g}: leave out more steps"
        )
    return sentences


def step_too_long(share: float, accuracy: float) -> list[str]:
    """Steps whose own error is more than was asked."""
    if not share > ERROR_SLACK * accuracy:
        return []
    return [f"about {share:.0%} of the estimate is an error of the steps, {accuracy:.0%} was asked: take smaller ones"]


def held_by_prior(sensitivity: float, error: float) -> list[str]:
    """An estimate that another precision of the prior would change.

    Args:
        sensitivity: to the prior, as `prior_sensitivity` gives it.
        error: its standard error.
    """
    if not (abs(sensitivity) > MOST_SENSITIVITY and abs(sensitivity) > SENSITIVITY_ERRORS * error):
        return []
    way = "falls" if sensitivity > 0 else "rises"
    rate = f"it {way} by {abs(sensitivity):.2f} ± {error:.2f} % for each % of the localization"
    return [f"the estimate is held by the prior, {rate}: a weaker one would give another estimate"]


def wandering(first: float, last: float, moved: float) -> list[str]:
    """Chains that have not gone as far as the prior lets them, so that a longer run would sample other weights.

    Args:
        first: mean squared distance from w* in the first third of the draws.
        last: in the last third.
        moved: the drift of it, in standard errors.
    """
    if not (moved > MOST_DRIFT and last > MOST_WANDERING * first):
        return []
    way = f"squared distance {first:.3g} early, {last:.3g} late"
    return [f"the chains still move away, {way}: leave out more steps, or hold them nearer by a larger localization"]


def below_zero(estimate: float) -> list[str]:
    """An estimate that no learning coefficient can be."""
    if not estimate < 0:
        return []
    what = f"the estimate is negative, {estimate:.3g}: chains found lower losses than where they began"
    return [f"{what}, no minimum on these data; train on, or hold the chains nearer by a larger localization"]


def outside(estimate: float, low: float, high: float, bracket: tuple[float, float] | None) -> list[str]:
    """An estimate that the Hessian's rank excludes.

    Args:
        estimate: of the learning coefficient.
        low: lower end of its interval.
        high: upper end.
        bracket: the two bounds.
    """
    if bracket is None or not math.isfinite(estimate) or bracket[0] <= estimate <= bracket[1]:
        return []
    overlaps = low <= bracket[1] and high >= bracket[0]
    how = "its interval reaches into it" if overlaps else "with the whole of its interval"
    return [f"the estimate {estimate:.4g} lies outside the Hessian's bracket {bracket[0]:g} to {bracket[1]:g}, {how}"]
