"""Networks whose loss is a function of their weights alone, with learning coefficients that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from weightatlas.degeneracy.sampling.options import ChainOptions
from weightatlas.degeneracy.sampling.posterior import LocalPosterior

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.evaluation.batches import Batch

NOTHING: list[Batch] = [(torch.zeros(3, 1), torch.zeros(3))]


class Potential(nn.Module):
    """Gives a function of its weights, which start at 0 or where they are told, whatever it is given."""

    def __init__(
        self, potential: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...], start: float = 0.0
    ) -> None:
        super().__init__()
        self.potential = potential
        self.weight = nn.Parameter(torch.full(shape, start, dtype=torch.float64))

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.potential(self.weight)


def itself(output: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return output


def options_of(**changed: Any) -> ChainOptions:  # noqa: ANN401 - of any option
    plain: dict[str, Any] = {
        "chains": 4,
        "draws": 100,
        "burn_in": None,
        "thinning": None,
        "step_size": None,
        "accuracy": 0.05,
        "localization": 1.0,
        "nbeta": None,
        "batch_size": None,
        "sampler": "sgld",
    }
    return ChainOptions(**{**plain, **changed})


def posterior_of(model: nn.Module, **changed: Any) -> tuple[LocalPosterior, ChainOptions]:  # noqa: ANN401 - of any option
    options = options_of(**changed)
    return LocalPosterior(model, NOTHING, options, loss=itself, examples=None, seed=0), options
