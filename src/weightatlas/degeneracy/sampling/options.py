"""What chains are to do, checked before any of them begins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from weightatlas.degeneracy.sampling.chain import Sampler


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """The options of `learning_coefficient`, by their names there.

    Attributes:
        chains: how many.
        draws: of each.
        burn_in: steps that are left out; None is to be found.
        thinning: steps between draws; None is to be found.
        step_size: of the steps; None is to be found.
        accuracy: share of the estimate that the length of steps may be wrong by.
        localization: the prior's precision.
        nbeta: inverse temperature; None is the data's own.
        batch_size: examples a step; None is all.
        sampler: whose steps.
    """

    chains: int
    draws: int
    burn_in: int | None
    thinning: int | None
    step_size: float | None
    accuracy: float
    localization: float
    nbeta: float | None
    batch_size: int | None
    sampler: Sampler

    def __post_init__(self) -> None:
        """Refuse what makes no chain.

        Raises:
            ValueError: an option is out of range.
        """
        for name, least in {"chains": 1, "draws": 1, "burn_in": 0, "thinning": 1, "batch_size": 1}.items():
            count = getattr(self, name)
            if count is not None and count < least:
                message = f"{name} must be {least} or more, not {count}"
                raise ValueError(message)
        for name in ("step_size", "accuracy", "nbeta"):
            figure = getattr(self, name)
            if figure is not None and not (math.isfinite(figure) and figure > 0):
                message = f"{name} must be finite and above 0, not {figure}"
                raise ValueError(message)
        if not (math.isfinite(self.localization) and self.localization >= 0):
            message = f"localization must be finite and not negative, not {self.localization}"
            raise ValueError(message)
        if self.sampler not in get_args(Sampler):
            message = f"sampler must be one of {', '.join(get_args(Sampler))}, not {self.sampler!r}"
            raise ValueError(message)
