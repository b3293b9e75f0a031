"""Learning coefficients at several temperatures, and what they tend to where the multiplicity is above 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq, least_squares

if TYPE_CHECKING:
    from collections.abc import Sequence


def asymptotic_coefficient(nbetas: Sequence[float], estimates: Sequence[float], *, multiplicity: int = 2) -> float:
    r"""What estimates at several temperatures tend to as the temperature falls, if the multiplicity is known.

    The free energy \(-\ln Z(t) = \lambda \ln t - (m - 1) \ln \ln t + O(1)\) at \(t = n\beta\) gives

    \(\hat\lambda(t) = t\, \frac{d}{dt} (-\ln Z) = \lambda - \frac{m - 1}{\ln t + c}\),

    with c from the prior and the scale of the loss. The second term falls so slowly that it cannot be sampled away: for
    \(w_1^2 w_2^2\) (\(\lambda = 1/2\), m = 2) and a unit prior the estimate is .39 at t = 1,000 and .45 at 10^8. Of two
    temperatures both \(\lambda\) and c follow, of more a least-squares fit.

    Args:
        nbetas: two or more temperatures, all different and above 1.
        estimates: at each.
        multiplicity: m, 2 or more. With m = 1 there is no such term, and the estimate at the largest t is the best.

    Returns:
        The coefficient; NaN where the one at the largest t is not above that at the smallest, as it must be.

    Raises:
        ValueError: there are fewer than two, a temperature is not above 1 or there twice, or the multiplicity is below
            2.

    **Source:** Watanabe, *Algebraic Geometry and Statistical Learning Theory* (2009), theorem 6.7, for the free
    energy; its derivative is elementary.

    Example:
        >>> round(asymptotic_coefficient([20.0, 200.0], [0.3136, 0.3672]), 1)  # of w1^2 w2^2
        0.5
    """
    order = np.argsort(nbetas)
    logs, found = np.log(np.asarray(nbetas, dtype=float)[order]), np.asarray(estimates, dtype=float)[order]
    if len(logs) != len(found) or len(logs) < 2 or logs[0] <= 0 or (np.diff(logs) == 0).any() or multiplicity < 2:
        message = "give two or more different temperatures above 1, an estimate for each and a multiplicity above 1"
        raise ValueError(message)
    if not (np.isfinite(found).all() and found[-1] > found[0]):
        return math.nan
    terms = multiplicity - 1

    def beyond(gap: float) -> float:
        return terms / gap - terms / (gap + float(found[-1] - found[0])) - float(logs[-1] - logs[0])

    scale = float(found[-1] - found[0])
    gap = float(brentq(beyond, scale * 1e-9, max(scale, terms / float(logs[-1] - logs[0]))))
    shift = terms / gap - float(logs[-1])
    if len(logs) == 2:
        return float(found[-1]) + gap
    fit = least_squares(
        lambda guess: guess[0] - terms / (logs + guess[1]) - found,
        [float(found[-1]) + gap, shift],
        bounds=([-np.inf, -logs[0] + 1e-9], np.inf),
    )
    return float(fit.x[0])
