"""The weights between two networks, computed tensor by tensor when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from weightatlas.connectivity.line import interpolate
from weightatlas.evaluation.recalibration import recalibrate, statistics_names
from weightatlas.evaluation.repair import channel_statistics, repair
from weightatlas.evaluation.states import first_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from weightatlas.connectivity.matching import Matching
    from weightatlas.connectivity.scoring.scored_lines import Recalibration
    from weightatlas.evaluation.held_batches import HeldBatches


class MergedState(Mapping[str, torch.Tensor]):
    """A state at (1 - weight) a + weight P(b), by the model's names; one tensor of each network is read for each.

    Integers and truth values are those of a, and at a weight of 1 those of b.

    Attributes:
        weight: of b.
        replaced: what stands instead of the average, by name.

    Example:
        >>> a, b = {"bias": torch.zeros(2)}, {"bias": torch.ones(2)}
        >>> MergedState(a, b, 0.25, None)["bias"]
        tensor([0.2500, 0.2500])
    """

    def __init__(
        self, a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor], weight: float, matching: Matching | None
    ) -> None:
        """Hold both states, of the same names; `matching` gives P, None is the identity."""
        self.replaced: dict[str, torch.Tensor] = {}
        self.weight = weight
        self._a, self._b, self._matching = a, b, matching

    def __getitem__(self, name: str) -> torch.Tensor:
        """Compute one tensor, of a's type.

        Raises:
            SourceError: it cannot be read, or is of another shape in one of the two.
        """
        if name in self.replaced:
            return self.replaced[name]
        if self.weight == 0:
            return self._a[name]
        second = {name: self._b[name]}
        if self._matching is not None:
            second = self._matching.align(second)
        return second[name] if self.weight == 1 else interpolate({name: self._a[name]}, second, self.weight)[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names, in the order of the model's state dict."""
        return iter(self._a)

    def __len__(self) -> int:
        """Count them."""
        return len(self._a)

    def __contains__(self, name: object) -> bool:
        """Say whether there is one of that name, without computing it."""
        return name in self._a


def estimated(
    model: nn.Module,
    state: MergedState,
    ends: tuple[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]],
    batches: HeldBatches,
    kind: Recalibration,
    *,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    """Estimate what an average gets wrong anew.

    Args:
        model: the network.
        state: the average.
        ends: what it is an average of, aligned.
        batches: to run the network on.
        kind: "batch-norm" or "repair".
        seed: of random layers.

    Returns:
        The tensors that are to stand instead of those in the state, by name.
    """
    first = first_names(model)
    if kind == "batch-norm":
        fresh, changed = recalibrate(model, state, batches, seed=seed), set(statistics_names(model))
    else:
        one, other = (channel_statistics(model, end, batches, seed=seed) for end in ends)
        goals = {path: goal.blended(other[path], state.weight) for path, goal in one.items()}
        fresh = repair(model, state, goals, batches, seed=seed)
        changed = {f"{path}.{name}".lstrip(".") for path in goals for name in ("weight", "bias")}
    return {name: tensor for name, tensor in fresh.items() if first[name] in changed}
