"""One chain of weights: a sampler's steps from the network's own weights, and what is noted on the way."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import torch

from weightatlas.data.seeds import derived_seed
from weightatlas.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from weightatlas.degeneracy.sampling.posterior import LocalPosterior

    Array = npt.NDArray[np.float64]

Sampler = Literal["sgld", "rmsprop-sgld"]

DECAY: Final = 0.99
"""Of the mean of squared gradients that `rmsprop-sgld` scales steps by, as devinterp's default."""
FLOOR: Final = 0.1
"""What is added to their root, as devinterp's default: no step is more than 1 / FLOOR times that of `sgld`."""


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    r"""What was noted along a chain, NaN from where it was no longer finite.

    Attributes:
        losses: float64 (records,), the loss on all data, or an estimate of it without bias.
        heats: float64 (records,), \(\frac{\epsilon}{8}\, n\beta \nabla L_b \cdot G g\), g the gradient that the step
            went along: what its length adds to the estimate.
        distances: float64 (records,), \(|w - w^*|^2\) where the loss is noted.
        virials: float64 (records,), \(n\beta \nabla L_b \cdot (w - w^*)\) there.
        others: float64 (records,), the loss there by a batch of its own, whose noise the virials do not share; NaN
            where none was asked for.
    """

    losses: Array
    heats: Array
    distances: Array
    virials: Array
    others: Array


class Chain:
    r"""Steps \(\Delta w = -\frac{\epsilon}{2} G (n\beta \nabla L_b(w) + \gamma (w - w^*)) + \sqrt{\epsilon G}\, \xi\).

    The steps are devinterp's; G is 1, or that of RMSprop. Its generators are its own: a chain depends on its seed, and
    on nothing that ran before.
    """

    def __init__(self, posterior: LocalPosterior, *, sampler: Sampler, step_size: float, seed: int) -> None:
        """Begin at w*.

        Raises:
            MissingDependencyError: devinterp is not installed.
        """
        self._posterior = posterior
        self._leaves = {
            name: tensor.clone().requires_grad_() for name, tensor in posterior.mean_loss.parameters.items()
        }
        self._step_size = step_size
        self._optimizer = _optimizer(sampler, list(self._leaves.values()), posterior, step_size)
        device = next(iter(self._leaves.values())).device
        self._noise = torch.Generator(device).manual_seed(derived_seed(seed, 0))
        self._batches = torch.Generator().manual_seed(derived_seed(seed, 1))
        self._others = torch.Generator().manual_seed(derived_seed(seed, 2))

    def run(self, steps: int, *, every: int = 1, twice: bool = False) -> Records:
        """Go on by some steps and note what is known before every so many-th of them; end where it is not finite.

        Args:
            steps: how many.
            every: of them, something is noted.
            twice: whether the loss is noted by a second batch too.
        """
        records = np.full((5, steps // every), np.nan)
        for step in range(1, steps + 1):
            batch = self._posterior.draw(self._batches)
            loss = self._posterior.gradient(self._leaves, batch)
            if step % every:
                self._optimizer.step(noise_generator=self._noise)
                continue
            other = self._posterior.loss_anew(self._leaves, loss, self._others) if twice else math.nan
            noted = self._posterior.centred(loss, batch), *self._step()
            if not all(math.isfinite(figure) for figure in noted):
                break
            records[:, step // every - 1] = *noted, other
        return Records(*records)

    def _step(self) -> tuple[float, float, float]:
        """Take a step and say how much it heats the chain, and the distance and the virial where it began."""
        nbeta, localization = self._posterior.nbeta, self._posterior.localization
        products = []
        distance = virial = 0.0
        for leaf, centre in zip(self._leaves.values(), self._posterior.mean_loss.parameters.values(), strict=True):
            slope = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad * nbeta
            away = leaf.detach() - centre
            distance += float(away.square().sum())
            virial += float((slope * away).sum())
            products.append(torch.add(slope, away, alpha=localization).mul_(slope))
        self._optimizer.step(noise_generator=self._noise)
        total = 0.0
        for leaf, product in zip(self._leaves.values(), products, strict=True):
            mean_square = self._optimizer.state[leaf].get("square_avg")
            scaled = product if mean_square is None else product / (mean_square.sqrt() + FLOOR)
            total += float(scaled.sum())
        return self._step_size / 8 * total, distance, virial


def largest_scale(sampler: Sampler) -> float:
    """The largest G there is."""
    return 1.0 if sampler == "sgld" else 1 / FLOOR


def _optimizer(sampler: Sampler, leaves: Sequence[torch.Tensor], posterior: LocalPosterior, step_size: float) -> Any:  # noqa: ANN401 - devinterp has no types
    """The sampler of devinterp, as torch's optimizers are."""
    try:
        from devinterp.optim import SGMCMC
    except ImportError as error:
        need = "the learning coefficient"
        raise MissingDependencyError(need, "devinterp", "llc") from error

    options: dict[str, Any] = {"lr": step_size, "nbeta": posterior.nbeta, "localization": posterior.localization}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "nbeta set to 1")  # a temperature as good as any, where a user wants it
        if sampler == "sgld":
            return SGMCMC.sgld(leaves, **options)
        return SGMCMC.rmsprop_sgld(leaves, alpha=DECAY, eps=FLOOR, **options)
