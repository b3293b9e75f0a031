"""The step of a chain: as long as its error allows, found by trial chains that are not used for anything else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.data.seeds import derived_seed
from weightatlas.degeneracy.sampling.chain import Chain, Sampler, largest_scale

if TYPE_CHECKING:
    from weightatlas.degeneracy.sampling.options import ChainOptions
    from weightatlas.degeneracy.sampling.posterior import LocalPosterior

TRIALS: Final = 16
"""Steps that are tried at most, each at most .7 times the one before."""
FIRST: Final = 64
"""Steps of a trial before it is judged for the first time; then at every doubling."""
RECORDS: Final = 32
"""Notes of a trial in each of these stretches."""
BURN_IN: Final = 2000
"""Steps that are left out at most where their number is not given."""
RELAXATIONS: Final = 3
"""Of these e-folding times of a direction that only the prior holds, where there are not more than `BURN_IN` steps."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A step that was tried.

    Attributes:
        step_size: what it was.
        error: the error that it makes, as a share of the estimate; infinite where the chain left the finite numbers.
        steps: how many were taken.
        accepted: whether chains went on with it.
    """

    step_size: float
    error: float
    steps: int
    accepted: bool


def pilot(posterior: LocalPosterior, options: ChainOptions, *, seed: int) -> tuple[Trial, ...]:
    r"""Find the largest step whose error stays below a share of the estimate; that of the last trial is taken.

    A stationary chain of steps \(\epsilon\) along gradients \(g = n\beta \nabla L_b + \gamma (w - w^*)\), noise of
    batches included, has \(E[(w - w^*) \cdot g] = d + \frac{\epsilon}{4} E[g \cdot G g]\), where the distribution
    itself has d: it is too hot. Where the loss is quadratic this makes the estimate too large by
    \(\frac{\epsilon}{8} E[n\beta \nabla L_b \cdot G g]\) (noise of batches counted in full, so that there it is at
    most that), and where it is flatter by less: by 2 / k of that for a homogeneous loss of degree k that the prior
    hardly holds. No curvature need be known for this, nor a minimum be quadratic.

    Trials begin with the step that makes this error where only the prior pulls, \(4\, \mathrm{accuracy} / (\gamma G)\),
    and go down. A trial ends as soon as its error is too large and does not fall as the chain goes on (early on, a
    chain has hardly left w*, and noise of batches stands against a small estimate), and is accepted with the error
    small over the last half of as many steps as are going to be left out.
    """
    sampler, accuracy = options.sampler, options.accuracy
    step_size = 4 * accuracy / (largest_scale(sampler) * (options.localization or 1.0))
    trials: list[Trial] = []
    for number in range(TRIALS):
        needed = default_burn_in(options.localization, step_size, sampler)
        needed = needed if options.burn_in is None else options.burn_in
        chain = Chain(posterior, sampler=sampler, step_size=step_size, seed=derived_seed(seed, number))
        error, steps = _tried(chain, posterior, accuracy, max(needed, FIRST))
        trials.append(Trial(step_size, error, steps, accepted=error <= accuracy))
        if trials[-1].accepted:
            break
        step_size *= min(0.7, max(0.1, accuracy / error))
    return tuple(trials)


def default_burn_in(localization: float, step_size: float, sampler: Sampler) -> int:
    """How many steps a chain takes to spread as far as the prior lets it, and no more than `BURN_IN`.

    Example:
        >>> default_burn_in(100.0, 1e-3, "sgld"), default_burn_in(1.0, 1e-3, "sgld")
        (60, 2000)
    """
    rate = step_size * localization * largest_scale(sampler) / 2
    return BURN_IN if rate * BURN_IN < RELAXATIONS else math.ceil(RELAXATIONS / rate)


def relative_error(heats: np.ndarray, losses: np.ndarray, posterior: LocalPosterior) -> float:
    """The error of steps as a share of the estimate, infinite where that is 0 or either is not finite."""
    estimate = posterior.nbeta * (float(np.mean(losses)) - posterior.initial_loss)
    error = float(np.mean(heats))
    if not (math.isfinite(error) and math.isfinite(estimate)):
        return math.inf
    if error == 0:
        return 0.0  # nothing depends on the weights
    return abs(error / estimate) if estimate else math.inf


def _tried(chain: Chain, posterior: LocalPosterior, accuracy: float, needed: int) -> tuple[float, int]:
    """The error of a chain's steps, and how many were taken."""
    length, before, taken = FIRST, math.inf, 0
    while True:
        records = chain.run(length - taken, every=max(1, (length - taken) // RECORDS))
        half = len(records.losses) // 2 if taken == 0 else 0
        error = relative_error(records.heats[half:], records.losses[half:], posterior)
        taken = length
        if error == math.inf:
            return error, taken
        if error > accuracy and error > 0.8 * before:
            return error, taken
        if taken >= needed:
            return error, taken
        before = error
        length = min(2 * length, max(needed, length + RECORDS))
