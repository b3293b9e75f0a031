"""A network to try permutations on: a copy in float64 that is run with one set of numbers after another."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from weightatlas.anatomy.graph.exporting import Example, arguments_of, quiet_torch
from weightatlas.anatomy.symmetries.numbers import is_floating, redrawn, stirred
from weightatlas.anatomy.symmetries.permuting import Layouts, Permutations, permuted
from weightatlas.errors import SourceError

_SHORT: Final = frozenset({torch.float32, torch.float16, torch.bfloat16})
_SHORTENING: Final = frozenset({torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16})
_INDEXED: Final = _SHORT | {torch.float64}

Draw = Callable[[Any, torch.Generator], Any]


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
    """A copy of a network in float64 with numbers to try, and its outputs with these.

    Attributes:
        model: the copy, in evaluation mode.
        state: parameters and buffers, in the types that the network has them in.
        inputs: what it is called with.
        outputs: what it gives.
    """

    model: nn.Module
    state: Mapping[str, Any]
    inputs: tuple[tuple[Any, ...], dict[str, Any]]
    outputs: list[torch.Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, model: nn.Module, example: Example, *, seed: int) -> Trial:
        """A network with its own numbers; what is the same everywhere is drawn at random.

        That is norms and biases before training, positions that begin at 0, inputs of zeros: they would be the same
        after any permutation.

        Raises:
            SourceError: it has no values, does not run in float64, or gives nothing, or values that are not finite.
        """
        name = type(model).__name__
        if any(one.is_meta for one in model.state_dict().values() if isinstance(one, torch.Tensor)):
            remedy = "load weights, or give verify=False"
            raise SourceError(name, "has shapes and no values, so that its symmetries cannot be verified", remedy)
        trial = cls(copy.deepcopy(model).cpu().double().eval(), *_numbers(model, example, stirred, seed=seed))
        try:
            trial.outputs = trial.run(trial.state)
        except Exception as error:  # the model's own code may fail in any way
            problem = f"does not run in float64 ({type(error).__name__}: {str(error).strip()[:200]})"
            raise SourceError(name, problem, "give inputs that it runs on, or verify=False") from error
        if not any(one.numel() for one in trial.outputs):
            raise SourceError(name, "gives no tensors that permutations could change", "give verify=False")
        if not all(bool(one.isfinite().all()) for one in trial.outputs):
            problem = "gives values that are not finite, so that its symmetries cannot be verified"
            raise SourceError(name, problem, "give weights without NaN and infinity, or verify=False")
        return trial

    def run(self, state: Mapping[str, Any]) -> list[torch.Tensor]:
        """The outputs with a state, as real numbers in float64."""
        self.model.load_state_dict(state)
        with quiet_torch(), torch.no_grad(), torch.random.fork_rng(devices=[]), _Double():
            torch.manual_seed(0)
            given = self.model(*self.inputs[0], **self.inputs[1])
        found = [one for one in tree_leaves(given) if isinstance(one, torch.Tensor)]
        return [(torch.view_as_real(one.resolve_conj()) if one.is_complex() else one).double() for one in found]

    def change(self, layouts: Layouts, permutations: Permutations) -> float:
        """The largest change of an output under permutations, as a share of the largest value of that output."""
        after = self.run(permuted(self.state, layouts, permutations))
        changes = [
            float((ours - theirs).abs().max() / ours.abs().max().clamp_min(torch.finfo(torch.float64).tiny))
            for ours, theirs in zip(self.outputs, after, strict=True)
            if ours.numel()
        ]
        return max((change if np.isfinite(change) else np.inf for change in changes), default=0.0)


def trials(model: nn.Module, example: Example, *, draws: int, seed: int) -> Iterator[Trial]:
    """A network with its own numbers, then with others of the same size, in its weights and its inputs.

    A unit that is dead on one input, or in one set of weights, is not in the next. Draws after the first on which the
    network fails, or overflows, say nothing and are left out.

    Args:
        model: left as it was.
        example: what to call it with; integers are given as they are.
        draws: how many sets of numbers.
        seed: of all that is drawn.

    Raises:
        SourceError: the network cannot be tried with its own numbers.
    """
    first = Trial.of(model, example, seed=seed)
    yield first
    for draw in range(1, draws):
        trial = Trial(first.model, *_numbers(model, example, redrawn, seed=seed + draw))
        try:
            trial.outputs = trial.run(trial.state)
        except Exception:  # noqa: BLE001, S112 - the model's own code may refuse what was drawn
            continue
        if all(bool(one.isfinite().all()) for one in trial.outputs):
            yield trial


def _numbers(
    model: nn.Module, example: Example, draw: Draw, *, seed: int
) -> tuple[dict[str, Any], tuple[tuple[Any, ...], dict[str, Any]]]:
    """State and inputs for a trial; the same values under all names of one tensor."""
    generator = torch.Generator().manual_seed(seed)
    drawn: dict[int, Any] = {}
    state: dict[str, Any] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in drawn:
            drawn[id(tensor)] = draw(_plain(tensor), generator)
        state[name] = drawn[id(tensor)]
    inputs = tree_map(lambda one: draw(_plain(one).double(), generator) if is_floating(one) else one, example)
    return state, arguments_of(inputs)


def _plain(one: Any) -> Any:  # noqa: ANN401
    """A tensor on the processor, of a type whose entries can be picked; anything else as it is."""
    if not isinstance(one, torch.Tensor):
        return one
    here = one.detach().cpu()
    return here if here.dtype in _INDEXED or not here.is_floating_point() else here.double()
