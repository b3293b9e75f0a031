"""Whether chains have reached what they sample, how many draws they are worth, and what of a mean is the prior's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.stats import t

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


def split_rhat(traces: Array) -> float:
    r"""The potential scale reduction of chains that are cut in half.

    \(\hat R = \sqrt{(\frac{n - 1}{n} W + B / n) / W}\) with W the mean variance within half-chains of n draws, B / n
    that of their means: 1 where chains sample one distribution, above 1.1 they do not agree, or not with themselves
    earlier. NaN with fewer than 4 draws; 1 where no draw differs from another, infinite where only chains do.

    Args:
        traces: (chains, draws).

    **Source:** Gelman and others, *Bayesian Data Analysis* (2013), 11.4.

    Example:
        >>> draws = np.random.default_rng(0).standard_normal((4, 1000))
        >>> round(split_rhat(draws), 2), round(split_rhat(draws + np.arange(4)[:, None]), 2)
        (1.0, 1.58)
    """
    halves = _halves(traces)
    count = halves.shape[1]
    if count < 2:
        return math.nan
    within = float(halves.var(axis=1, ddof=1).mean())
    between = float(halves.mean(axis=1).var(ddof=1))
    if within == 0:
        return math.inf if between else 1.0
    return math.sqrt((count - 1) / count + between / within)


def effective_draws(traces: Array) -> float:
    r"""As how many independent draws the mean over chains is good.

    \(m n / (1 + 2 \sum_t \rho_t)\) over m half-chains of n draws, with the autocorrelations \(\rho_t\) of all of them
    against their common variance, so that chains that disagree are worth less; summed in pairs, as long as these are
    positive and fall. At most as many as there are; NaN with fewer than 4 a chain; all where no draw differs.

    Args:
        traces: (chains, draws).

    **Source:** Geyer, *Practical Markov Chain Monte Carlo* (1992), the initial monotone sequence; Vehtari and others,
    *Rank-Normalization, Folding, and Localization* (2021), for several chains. They allow for more than there are
    where draws alternate; we do not.

    Example:
        >>> draws = np.random.default_rng(0).standard_normal((4, 1000))
        >>> effective_draws(draws) > 3000, effective_draws(np.cumsum(draws, axis=1)) < 20
        (True, True)
    """
    halves = _halves(traces)
    chains, count = halves.shape
    if count < 2:
        return math.nan
    covariances = _autocovariances(halves)
    within = float(halves.var(axis=1, ddof=1).mean())
    total = within * (count - 1) / count + float(halves.mean(axis=1).var(ddof=1))
    if total == 0:
        return float(chains * count)
    correlations = 1 - (within - covariances.mean(axis=0) * count / (count - 1)) / total
    correlations[0] = 1
    pairs = correlations[: count // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    pairs = np.minimum.accumulate(pairs[: ends[0]] if ends.size else pairs)
    return float(chains * count / max(1.0, 2 * float(pairs.sum()) - 1))


def drift(traces: Array) -> float:
    """How far the last third of the draws lies above the first, in standard errors of the difference.

    Standard normal where chains are stationary and long; NaN with fewer than 12 draws, 0 where no draw differs.

    Args:
        traces: (chains, draws).

    **Source:** Geweke, *Evaluating the Accuracy of Sampling-Based Approaches* (1992), with standard errors by
    `effective_draws` in place of a spectral density, and thirds, of all chains together.

    Example:
        >>> draws = np.random.default_rng(0).standard_normal((4, 300))
        >>> abs(drift(draws)) < 3, drift(draws - np.linspace(0, 2, 300)) < -3
        (True, True)
    """
    third = traces.shape[1] // 3
    if third < 4:
        return math.nan
    first, last = traces[:, :third], traces[:, -third:]
    difference = float(last.mean() - first.mean())
    error = math.hypot(*(float(part.std(ddof=1)) / math.sqrt(effective_draws(part)) for part in (first, last)))
    if error == 0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / error


def standard_error(traces: Array) -> float:
    """Of the mean over all draws: by how much chains differ, or by how many draws they are worth if that is more.

    Args:
        traces: (chains, draws).
    """
    chains = len(traces)
    between = float(traces.mean(axis=1).std(ddof=1)) / math.sqrt(chains) if chains > 1 else 0.0
    worth = effective_draws(traces)
    within = float(traces.std(ddof=1)) / math.sqrt(worth) if traces.size > 1 and math.isfinite(worth) else math.nan
    if math.isnan(within):
        return between if chains > 1 else math.nan
    return max(between, within)


def prior_sensitivity(
    energies: Array, distances: Array, virials: Array, others: Array, *, localization: float
) -> tuple[float, float]:
    r"""By how many per cent a mean energy falls for each per cent of the prior's precision, and its standard error.

    \(s = -\frac{d \ln \langle E \rangle}{d \ln \gamma}\) over draws of
    \(p(w) \propto \exp(-E(w) - \frac{\gamma}{2} |w - w^*|^2)\), which is had from these draws in two ways:

    \(s = \frac{\gamma}{2 \langle E \rangle} \mathrm{Cov}(E, |w - w^*|^2)
    = \frac{1}{2 \langle E \rangle} (\langle V \rangle - \mathrm{Cov}(E, V))\) with
    \(V = (w - w^*) \cdot \nabla E\).

    The second follows from the first by integration by parts, for any function without an edge. Where few directions
    are free the first has less noise; where most are, their distances drown it and the second has less. The one with
    the smaller standard error is given.

    With \(E = n\beta (L(w) - L(w^*))\) the mean is the estimate of the learning coefficient. For a loss of one
    curvature h that is \(\hat\lambda(\gamma) = \frac{d}{2} \frac{n\beta h}{n\beta h + \gamma}\), and
    \(s = \frac{\gamma}{n\beta h + \gamma}\) is exactly the share of \(\frac{d}{2}\) that it lacks; for several
    curvatures s is the mean of that over directions, each by its part of the estimate, so that one which the prior
    holds altogether has no part in it. Where the prior holds a loss of degree k altogether it is k / 2.

    NaN with fewer than 4 draws a chain or where the mean is 0; 0 without a prior. Steps that add a share a to the
    estimate take up to a from s.

    Args:
        energies: E, (chains, draws), noise of batches included as long as its mean is 0.
        distances: \(|w - w^*|^2\) at the same draws.
        virials: V at the same draws.
        others: E at the same draws, with noise that V does not share.
        localization: \(\gamma\).

    **Source:** the derivative by the power of a prior, Kallioinen and others, *Detecting and Diagnosing Prior and
    Likelihood Sensitivity with Power-Scaling* (2021), who measure the change of a whole distribution; that of the mean
    energy and its second form are ours.

    Example:
        >>> draws = np.random.default_rng(0).standard_normal((4, 2000, 10)) / 2  # of a precision of 3 + 1
        >>> distances = (draws**2).sum(axis=2)
        >>> energies = 1.5 * distances
        >>> found, error = prior_sensitivity(energies, distances, 2 * energies, energies, localization=1.0)
        >>> abs(found - 1 / 4) < 2 * error < 0.02
        True
    """
    if localization == 0:
        return 0.0, 0.0
    mean = float(energies.mean())
    if mean == 0 or energies.shape[1] < 4:
        return math.nan, math.nan
    ways = (
        localization / 2 * (energies - mean) * (distances - distances.mean()),
        (virials - (others - others.mean()) * (virials - virials.mean())) / 2,
    )
    errors = [standard_error(way) for way in ways]
    best = int(np.argmin(errors))
    return float(ways[best].mean()) / mean, errors[best] / abs(mean)


def half_width(error: float, chains: int, worth: float) -> float:
    """Half a 95 % interval: Student's, with as many degrees of freedom as chains less one, or draws if there is one."""
    freedom = chains - 1 if chains > 1 else worth - 1
    if not freedom > 0:
        return math.nan
    return error * float(t.ppf(0.975, freedom))


def _halves(traces: Array) -> Array:
    """Each chain's first and last draws as two chains; the middle one of an odd number is left out."""
    half = traces.shape[1] // 2
    return np.concatenate([traces[:, :half], traces[:, traces.shape[1] - half :]])


def _autocovariances(traces: Array) -> Array:
    """Of each chain at every lag, divided by its length."""
    count = traces.shape[1]
    centred = traces - traces.mean(axis=1, keepdims=True)
    length = next_fast_len(2 * count)
    spectrum = rfft(centred, length, axis=1)
    found: Array = irfft(spectrum * np.conj(spectrum), length, axis=1)[:, :count] / count
    return found
