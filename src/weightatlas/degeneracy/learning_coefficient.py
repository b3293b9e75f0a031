"""The local learning coefficient: how fast the volume of low loss around a trained network shrinks."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.data.seeds import derived_seed
from weightatlas.degeneracy.sampling import diagnostics, flags
from weightatlas.degeneracy.sampling.chain import Chain, Records, Sampler
from weightatlas.degeneracy.sampling.options import ChainOptions
from weightatlas.degeneracy.sampling.posterior import LocalPosterior
from weightatlas.degeneracy.sampling.step_size import Trial, default_burn_in, pilot
from weightatlas.evaluation.mean_loss import Loss, classification_loss
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    import torch
    from torch import nn

    from weightatlas.evaluation.batches import Batch

    Array = npt.NDArray[np.float64]

ACCURACY: Final = 0.05
"""Share of the estimate that the length of steps may be wrong by: half of what known coefficients are asked to."""
LOCALIZATION: Final = 1.0
"""The prior's precision: a unit normal, which leaves the known coefficients what they are. Of these 100 leaves a tenth
to four fifths; see the docs."""
BATCH: Final = 256
"""Examples that a step's gradient is estimated from."""
_PILOT, _CHAIN = 0, 1
"""Keys of the seeds of trials and of chains."""


@dataclass(frozen=True, slots=True, eq=False)
class LearningCoefficient:
    r"""An estimate of the local learning coefficient, and what it rests on.

    Attributes:
        estimate: mean over chains; may be negative, and is NaN where no chain stayed finite.
        standard_error: of the estimate, by how chains differ or by their effective draws, whichever is more.
        low: lower end of the 95 % interval, of sampling alone.
        high: upper end.
        chains: float64 (chains,), an estimate of each; NaN where it left the finite numbers.
        traces: float64 (chains, draws), the loss at every draw, burn-in left out, as an estimate of that on all data.
        burn_in_traces: float64 (chains, records), the same of the steps that were left out.
        initial_loss: at the network's own weights, on all data.
        burn_in: steps of each chain that were left out.
        thinning: steps between draws.
        nbeta: inverse temperature.
        localization: the prior's precision.
        step_size: of the chains.
        sampler: "sgld" or "rmsprop-sgld".
        batch_size: examples that a step's gradient is of.
        examples: n.
        parameters: numbers that moved.
        split_rhat: 1 where chains agree; NaN with fewer than 4 draws.
        effective_draws: as how many independent draws all are good.
        drift: of the loss from the first third of the draws to the last, in standard errors.
        step_error: what the length of steps adds to the estimate: exactly that of a quadratic loss, at most that of a
            flatter one.
        distances: float64 (chains, draws), \(|w - w^*|^2\) at every draw.
        prior_sensitivity: \(-d \ln \hat\lambda / d \ln \gamma\), by how many per cent the estimate falls for each per
            cent of the prior's precision; for a quadratic loss of one curvature, what share it lacks of that without a
            prior.
        prior_sensitivity_error: the standard error of that.
        pilot: the steps that were tried; none where the step was given.
        bracket: that the rank of the loss's curvature gives, as the caller had it.
        flags: what speaks against the estimate, a sentence each; none where nothing does.
    """

    estimate: float
    standard_error: float
    low: float
    high: float
    chains: Array
    traces: Array
    burn_in_traces: Array
    initial_loss: float
    burn_in: int
    thinning: int
    nbeta: float
    localization: float
    step_size: float
    sampler: Sampler
    batch_size: int
    examples: int
    parameters: int
    split_rhat: float
    effective_draws: float
    drift: float
    step_error: float
    distances: Array
    prior_sensitivity: float
    prior_sensitivity_error: float
    pilot: tuple[Trial, ...]
    bracket: tuple[float, float] | None
    flags: tuple[str, ...]


def learning_coefficient(
    model: nn.Module,
    data: Iterable[Batch],
    *,
    loss: Loss = classification_loss,
    chains: int = 4,
    draws: int = 200,
    burn_in: int | None = None,
    thinning: int | None = None,
    step_size: float | None = None,
    accuracy: float = ACCURACY,
    localization: float = LOCALIZATION,
    nbeta: float | None = None,
    batch_size: int | None = BATCH,
    sampler: Sampler = "sgld",
    bracket: tuple[float, float] | None = None,
    examples: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> LearningCoefficient:
    r"""Estimate the local learning coefficient of a trained network by sampling weights around it.

    \(\hat\lambda = n\beta\, (E[L(w)] - L(w^*))\), w drawn from
    \(p(w) \propto \exp(-n\beta L(w) - \frac{\gamma}{2} |w - w^*|^2)\), L the mean loss over n examples. The volume of
    \(\{L < L(w^*) + \varepsilon\}\) near w* goes as \(\varepsilon^\lambda |\ln \varepsilon|^{m - 1}\): half the number
    of parameters where the minimum is a regular one, less where directions are free.

    **Temperature.** \(n\beta = n / \ln n\) with n the number of examples in all of the data. devinterp takes the size
    of a batch. An estimate is at its temperature: where the multiplicity m is above 1, it lies below \(\lambda\) by
    about \((m - 1) / \ln n\beta\), which falls very slowly. Two temperatures tell; see `asymptotic_coefficient`.

    **Chains** begin at the network's own weights, in evaluation mode, each with generators of its own. Burn-in is left
    out (devinterp 2 averages over it), the loss where they begin is that on all data (there of 32 batches), and every
    draw's loss is that of its batch less the same batch's at w*, which takes the noise of batches away from the mean.

    **Steps.** Without `step_size`, trial chains find the largest step whose own error is at most `accuracy` of the
    estimate; see `pilot` in the result. That error is known without a Hessian: a stationary chain of steps
    \(\epsilon\) along gradients g is too hot, and where the loss is quadratic its estimate is too large by
    \(\frac{\epsilon}{8} E[n\beta \nabla L_b \cdot g]\), noise of batches included; where it is flatter by less.
    Burn-in is 3 e-folding times of a direction that only the prior holds, \(6 / (\epsilon \gamma)\), but at most 2,000
    steps; by default draws are spread over as many steps again. Whether that was long enough is measured, not assumed.

    **Prior.** It holds directions whose curvature is below \(\gamma / n\beta\), and they do not count. Over draws
    \(\frac{d \hat\lambda}{d \gamma} = -\frac{1}{2} \mathrm{Cov}(n\beta L, |w - w^*|^2)\), so how much of the estimate
    hangs on \(\gamma\) is known without another run: `prior_sensitivity` is
    \(-\frac{d \ln \hat\lambda}{d \ln \gamma}\), which for one curvature h is \(\frac{\gamma}{n\beta h + \gamma}\).

    **Flags.** A negative estimate, chains that disagree (split R-hat > 1.1), a loss that still drifts, a distance from
    w* that still grows by a tenth, few effective draws, steps that are too long, chains that left the finite numbers, a
    sensitivity to the prior above .1 (and 2 standard errors of it), an estimate outside the bracket: each is a sentence
    in `flags`. Nothing is clipped.

    Args:
        model: a network at a minimum of the loss; parameters that require no gradient stay where they are.
        data: pairs of inputs and targets.
        loss: of what the network gives and the targets: mean negative log-likelihood, in nats.
        chains: how many.
        draws: of each chain, after burn-in.
        burn_in: steps that are left out; None as above.
        thinning: steps between draws; None as above.
        step_size: \(\epsilon\); None is found by trials.
        accuracy: share of the estimate that the length of steps may be wrong by, where it is found.
        localization: \(\gamma\), precision of the prior around w*. Larger is more local, mixes sooner, and pulls the
            estimate down where it is not small against \(n\beta\) times the curvature.
        nbeta: \(n\beta\); None is n / ln n.
        batch_size: examples a step; None is all.
        sampler: "sgld", or "rmsprop-sgld", whose steps are shorter where gradients are large; its estimate is biased
            as long as the scales move.
        bracket: lower and upper bound of the coefficient, as `GaussNewtonRank.bracket_at` gives them.
        examples: how many of the data at most, the first ones; None is all.
        seed: of batches and noise.
        device: where to run, on a copy; None is where the network is.
        progress: called after every chain.

    Returns:
        The estimate, its error, traces, diagnostics and flags.

    Raises:
        MissingDependencyError: devinterp is not installed.
        SourceError: the examples differ in shape, or are fewer than 3 without `nbeta`.
        ValueError: an option is out of range, the data are empty, or no parameter requires a gradient.
        NotFiniteError: the loss is not finite where chains begin.

    **Source:** Lau and others, *The Local Learning Coefficient* (2023), eq. 14; Watanabe, *Algebraic Geometry and
    Statistical Learning Theory* (2009). Samplers are devinterp's; the choice of step and its error are ours.

    Example:
        >>> import torch
        >>> bowl = torch.nn.Linear(20, 1, bias=False)  # the loss |w|^2 / 2 has the coefficient 20 / 2
        >>> _ = torch.nn.init.zeros_(bowl.weight)
        >>> rows = [(torch.eye(20), torch.zeros(20))]
        >>> lengths = {"burn_in": 100, "thinning": 5, "chains": 2}
        >>> found = learning_coefficient(
        ...     bowl, rows, loss=lambda output, _: output.square().sum() / 2, nbeta=1000.0, localization=1.0, **lengths
        ... )
        >>> abs(found.estimate - 10) < 1, found.flags
        (True, ())
    """
    options = ChainOptions(
        chains=chains,
        draws=draws,
        burn_in=burn_in,
        thinning=thinning,
        step_size=step_size,
        accuracy=accuracy,
        localization=localization,
        nbeta=nbeta,
        batch_size=batch_size,
        sampler=sampler,
    )
    network = model if device is None else copy.deepcopy(model).to(device)
    posterior = LocalPosterior(network, data, options, loss=loss, examples=examples, seed=seed)
    with posterior.mean_loss.ready():
        posterior.begin()
        run = _run(posterior, options, seed, progress)
    return _result(posterior, options, run, bracket)


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """All chains of one network: how they stepped, and what was noted of each, rows by chain."""

    step_size: float
    burn_in: int
    thinning: int
    trials: tuple[Trial, ...]
    burned: Array
    losses: Array
    heats: Array
    distances: Array
    virials: Array
    others: Array


def _run(posterior: LocalPosterior, options: ChainOptions, seed: int, progress: Progress) -> _Run:
    """Find the step where none is given, then run every chain."""
    trials: tuple[Trial, ...] = ()
    step_size = options.step_size
    if step_size is None:
        trials = pilot(posterior, options, seed=derived_seed(seed, _PILOT))
        step_size = trials[-1].step_size
    burn_in = default_burn_in(options.localization, step_size, options.sampler)
    burn_in = burn_in if options.burn_in is None else options.burn_in
    thinning = max(1, math.ceil(burn_in / options.draws)) if options.thinning is None else options.thinning
    burned: list[Array] = []
    drawn: list[Records] = []
    for number in range(options.chains):
        chain_seed = derived_seed(seed, _CHAIN, number)
        chain = Chain(posterior, sampler=options.sampler, step_size=step_size, seed=chain_seed)
        burned.append(chain.run(burn_in, every=max(1, min(thinning, burn_in))).losses)
        drawn.append(chain.run(options.draws * thinning, every=thinning, twice=True))
        progress(number + 1, options.chains, f"chain {number + 1}")
    return _Run(
        step_size=step_size,
        burn_in=burn_in,
        thinning=thinning,
        trials=trials,
        burned=np.array(burned),
        losses=np.array([records.losses for records in drawn]),
        heats=np.array([records.heats for records in drawn]),
        distances=np.array([records.distances for records in drawn]),
        virials=np.array([records.virials for records in drawn]),
        others=np.array([records.others for records in drawn]),
    )


def _result(
    posterior: LocalPosterior, options: ChainOptions, run: _Run, bracket: tuple[float, float] | None
) -> LearningCoefficient:
    """The estimate of the chains that stayed finite, and what is to be said of it."""
    excess = posterior.nbeta * (run.losses - posterior.initial_loss)
    each = excess.mean(axis=1)
    finite = np.isfinite(each)
    kept = excess[finite]
    estimate = error = width = rhat = worth = moved = shift = step_error = prior = prior_error = math.nan
    away: list[str] = []
    if len(kept):
        estimate = float(kept.mean())
        error, rhat = diagnostics.standard_error(kept), diagnostics.split_rhat(kept)
        worth, moved = diagnostics.effective_draws(kept), diagnostics.drift(kept)
        width = diagnostics.half_width(error, len(kept), worth)
        third = kept.shape[1] // 3
        shift = float(kept[:, -third:].mean() - kept[:, :third].mean()) if third else 0.0
        step_error = float(run.heats[finite].mean())
        distances = run.distances[finite]
        if third and kept.std() > 0:
            ends = float(distances[:, :third].mean()), float(distances[:, -third:].mean())
            away = flags.wandering(*ends, diagnostics.drift(distances))
        prior, prior_error = diagnostics.prior_sensitivity(
            kept,
            distances,
            run.virials[finite],
            posterior.nbeta * (run.others[finite] - posterior.initial_loss),
            localization=posterior.localization,
        )
    low, high = estimate - width, estimate + width
    share = abs(step_error / estimate) if estimate else 0.0
    return LearningCoefficient(
        estimate=estimate,
        standard_error=error,
        low=low,
        high=high,
        chains=each,
        traces=run.losses,
        burn_in_traces=run.burned,
        initial_loss=posterior.initial_loss,
        burn_in=run.burn_in,
        thinning=run.thinning,
        nbeta=posterior.nbeta,
        localization=posterior.localization,
        step_size=run.step_size,
        sampler=options.sampler,
        batch_size=posterior.batch_size,
        examples=posterior.examples,
        parameters=posterior.parameters,
        split_rhat=rhat,
        effective_draws=worth,
        drift=moved,
        step_error=step_error,
        distances=run.distances,
        prior_sensitivity=prior,
        prior_sensitivity_error=prior_error,
        pilot=run.trials,
        bracket=bracket,
        flags=(
            *flags.not_finite(each),
            *flags.below_zero(estimate),
            *flags.unstable(rhat=rhat, worth=worth, moved=moved, shift=shift),
            *flags.step_too_long(share, options.accuracy),
            *away,
            *flags.held_by_prior(prior, prior_error),
            *flags.outside(estimate, low, high, bracket),
        ),
    )
