"""Units scaled on trial: whether a network still computes the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.func import functional_call

from weightatlas.anatomy.graph.exporting import arguments_of
from weightatlas.degeneracy.wiring.calls import attention_in_parts, tensors_in
from weightatlas.degeneracy.wiring.mixing import Mixing
from weightatlas.evaluation.modes import in_mode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from weightatlas.anatomy.graph.exporting import Example
    from weightatlas.degeneracy.rectified import RectifiedLayer

TOLERANCES: Final = {torch.float64: 1e-8, torch.float32: 1e-3}
"""Of the outputs' size: far above what rounding adds up to, far below what scaling by 2 does."""

_STRETCH: Final = 2.0
"""Factors are drawn evenly in their logarithm from the inverse of this to this."""


def disproved(model: nn.Module, example: Example, layers: Sequence[RectifiedLayer], *, seed: int) -> frozenset[str]:
    """The weights of those layers whose units cannot be scaled as it is said, by trying."""
    claimed = [one for one in layers if one.skipped is None]
    if not claimed:
        return frozenset()
    for dtype in TOLERANCES:
        trial = _Trial(model, example, dtype, seed)
        if trial.runs:
            break
    else:
        return frozenset()
    if trial.keeps(claimed):
        return frozenset()
    return frozenset(one.weight for one in claimed if not trial.keeps([one]))


class _Trial:
    """A network with its numbers in one precision, and what it gives for one input."""

    def __init__(self, model: nn.Module, example: Example, dtype: torch.dtype, seed: int) -> None:
        self._model, self._dtype, self._seed = model, dtype, seed
        self._parameters = {name: self._cast(one) for name, one in model.named_parameters()}
        self._buffers = {name: self._cast(one) for name, one in model.named_buffers()}
        arguments, named = arguments_of(example)
        generator = torch.Generator().manual_seed(seed)

        def given(value: Any) -> Any:  # noqa: ANN401 - whatever the network takes
            if not isinstance(value, torch.Tensor) or not value.is_floating_point():
                return value
            noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            return value.to(dtype) + noise.to(value.device, dtype)

        self._given = torch.utils._pytree.tree_map(given, (arguments, named))  # noqa: SLF001 - torch names no other
        try:
            self._outputs = self._run({})
        except RuntimeError:  # it makes tensors of another precision by itself
            self._outputs = []
        self.runs = bool(self._outputs) and all(bool(one.isfinite().all()) for one in self._outputs)

    def keeps(self, layers: Sequence[RectifiedLayer]) -> bool:
        """Whether the outputs stay where the units of some layers are scaled."""
        generator = np.random.default_rng(self._seed)
        parameters = dict(self._parameters)
        for layer in layers:
            mixing = Mixing.of(parameters, layer, self._model)
            if mixing is not None:
                factors = np.exp(generator.uniform(-np.log(_STRETCH), np.log(_STRETCH), layer.units))
                parameters |= mixing.rescaled(factors)
        size = max(float(one.abs().max()) for one in self._outputs if one.numel())
        differences = [
            float((one - other).abs().max())
            for one, other in zip(self._run(parameters), self._outputs, strict=True)
            if one.numel()
        ]
        return max(differences) <= TOLERANCES[self._dtype] * size

    def _cast(self, tensor: torch.Tensor) -> torch.Tensor:
        own = tensor.detach()
        return own.to(self._dtype) if own.is_floating_point() else own

    def _run(self, parameters: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        def fresh(value: Any) -> Any:  # noqa: ANN401 - whatever the network takes; it may write into it
            return value.clone() if isinstance(value, torch.Tensor) else value

        arguments, named = torch.utils._pytree.tree_map(fresh, self._given)  # noqa: SLF001 - torch names no other
        values = {**self._parameters, **self._buffers, **parameters}
        with in_mode(self._model, training=False), torch.no_grad(), attention_in_parts():
            output = functional_call(self._model, values, arguments, named)
        return [one for one in tensors_in(output) if one.is_floating_point()]
