"""Do permutations leave a network's outputs as they are? In float64, with norms as if they were trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from weightatlas.anatomy.graph.exporting import Example, arguments_of, quiet_torch
from weightatlas.anatomy.symmetries.permuting import Layouts, Permutations, permuted
from weightatlas.errors import SourceError

TOLERANCE: Final = 1e-8
"""Largest change of an output, as a share of the largest output: float64 rounds at 1e-16, and depth adds to it."""

SMALL: Final = 0.1
"""Constants below this, as scales that begin near 0, would hide a branch: what is verified has larger ones."""

_SHORT: Final = frozenset({torch.float32, torch.float16, torch.bfloat16})
_SHORTENING: Final = frozenset({torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16})


class _Double(TorchFunctionMode):
    """Whatever a model casts to a shorter floating type becomes float64, so that nothing hides behind rounding."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if func in _SHORTENING:
            return args[0].double()
        named = {name: _longer(one) for name, one in (kwargs or {}).items()}
        return func(*(_longer(one) for one in args), **named)


def _longer(one: Any) -> Any:  # noqa: ANN401
    return torch.float64 if isinstance(one, torch.dtype) and one in _SHORT else one


@dataclass(slots=True, eq=False)
class Trial:
    """A copy of a network in float64, and its outputs as they are without permutations.

    What is the same everywhere, such as norms and biases before training, positions that begin at 0, and inputs of
    zeros, is drawn at random first: it would be the same after any permutation.

    Attributes:
        model: the copy, in evaluation mode.
        state: its parameters and buffers.
        inputs: what it is called with.
        outputs: what it gives.
    """

    model: nn.Module
    state: Mapping[str, torch.Tensor]
    inputs: tuple[tuple[Any, ...], dict[str, Any]]
    outputs: list[torch.Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, model: nn.Module, example: Example, *, seed: int) -> Trial:
        """Copy a network.

        Raises:
            SourceError: it has no values, does not run in float64, or gives values that are not finite.
        """
        name = type(model).__name__
        if any(tensor.is_meta for tensor in model.state_dict().values()):
            remedy = "load weights, or give verify=False"
            raise SourceError(name, "has shapes and no values, so that its symmetries cannot be verified", remedy)
        generator = torch.Generator().manual_seed(seed)
        double = copy.deepcopy(model).double().eval()
        state = {key: _stirred(value.cpu(), generator) for key, value in double.state_dict().items()}
        inputs = tree_map(lambda one: _given(one, generator), arguments_of(example))
        trial = cls(double.cpu(), _tied(model, state), inputs)
        try:
            trial.outputs = trial.run(trial.state)
        except Exception as error:  # the model's own code may fail in any way
            problem = f"does not run in float64 ({type(error).__name__}: {str(error).strip()[:200]})"
            raise SourceError(name, problem, "give verify=False") from error
        if not all(bool(one.isfinite().all()) for one in trial.outputs):
            problem = "gives values that are not finite, so that its symmetries cannot be verified"
            raise SourceError(name, problem, "give weights without NaN and infinity, or verify=False")
        return trial

    def run(self, state: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """The floating-point outputs with a state."""
        self.model.load_state_dict(state)
        with quiet_torch(), torch.no_grad(), torch.random.fork_rng(devices=[]), _Double():
            torch.manual_seed(0)
            given = self.model(*self.inputs[0], **self.inputs[1])
        found = [one for one in tree_leaves(given) if isinstance(one, torch.Tensor)]
        return [one.double() for one in found if not one.is_complex()]

    def change(self, layouts: Layouts, permutations: Permutations) -> float:
        """The largest change of an output under permutations, as a share of the largest value of that output."""
        after = self.run(permuted(self.state, layouts, permutations))
        changes = [
            float((ours - theirs).abs().max() / ours.abs().max().clamp_min(torch.finfo(torch.float64).tiny))
            for ours, theirs in zip(self.outputs, after, strict=True)
            if ours.numel()
        ]
        return max((change if np.isfinite(change) else np.inf for change in changes), default=0.0)


def offenders(groups: Sequence[str], change: Callable[[Sequence[str]], float]) -> dict[str, float]:
    """Those of several groups whose permutations change the outputs, found by bisection.

    Args:
        groups: their names.
        change: by how much permuting several of them changes the outputs.

    Returns:
        By how much each changes them. All of a set stand in it that changes them only together.

    Example:
        >>> offenders("abcde", lambda several: float("d" in several))
        {'d': 1.0}
    """
    changed = change(groups) if groups else 0.0
    if changed <= TOLERANCE:
        return {}
    if len(groups) == 1:
        return {groups[0]: changed}
    middle = len(groups) // 2
    found = offenders(groups[:middle], change) | offenders(groups[middle:], change)
    return found or dict.fromkeys(groups, changed)


def shuffled(size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """A permutation that moves something, if there is anything to move."""
    identity = np.arange(size)
    order = generator.permutation(size)
    while size > 1 and (order == identity).all():
        order = generator.permutation(size)
    return order


def _given(one: Any, generator: torch.Generator) -> Any:  # noqa: ANN401
    """An input in float64; numbers of other types stay."""
    return _stirred(one.detach().double().cpu(), generator) if _floating(one) else one


def _floating(one: object) -> bool:
    return isinstance(one, torch.Tensor) and one.is_floating_point()


def _stirred(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A tensor that is the same everywhere, drawn at random about that; any other as it is."""
    if not _floating(tensor) or tensor.numel() < 2 or bool((tensor != tensor.reshape(-1)[0]).any()):
        return tensor.clone()
    level = float(tensor.reshape(-1)[0])
    if not level:
        return torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype) * SMALL
    about = level if abs(level) >= SMALL else np.copysign(0.5, level)
    return about * (0.5 + torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype))


def _tied(model: nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same values under all names of one tensor."""
    first: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        state[name] = state[first.setdefault(id(tensor), name)]
    return state
