"""Small networks for the rules of each family, and a check of their own that permutations leave outputs as they are."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from weightatlas.anatomy.graph.exporting import arguments_of
from weightatlas.anatomy.symmetry import symmetries

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.anatomy.symmetry import Symmetries


class Called(nn.Module):
    """Layers by name, and a function of them and of the inputs."""

    def __init__(self, call: Callable[..., Any], **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.call = call

    def forward(self, *inputs: torch.Tensor) -> Any:  # noqa: ANN401 - whatever the function gives
        return self.call(self, *inputs)


def found_in(call: Callable[..., Any] | nn.Module, *shape: int, **layers: nn.Module | nn.Parameter) -> Symmetries:
    """The symmetries of a module, or of a function of layers; seen to hold here too, none found wrong by bisection."""
    model = call if isinstance(call, nn.Module) else Called(call, **layers)
    example = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = symmetries(model, example)
    assert found.verified
    assert not [one for one in found.pinned if "changes the outputs" in one.reason]
    assert change_of(as_trained(model), example, found) < 1e-9
    return found


def sizes(found: Symmetries) -> dict[str, int]:
    return {group.name: group.size for group in found.groups}


def reasons(found: Symmetries) -> set[str]:
    """Why axes stay, other than as inputs, outputs or positions of a kernel."""
    usual = ("the order of the model's inputs", "the order of the model's outputs", "positions of a kernel")
    return {one.reason for one in found.pinned} - set(usual)


def as_trained(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy whose parameters and statistics are all different numbers."""
    made = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in made.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype).to(tensor.device)
                scale = max(tensor[0].numel() if tensor.ndim > 1 else 4, 1) ** -0.5
                tensor.copy_(0.5 + drawn.abs() if "var" in name else scale * drawn + (tensor.ndim == 1) * tensor)
    return made


def change_of(model: nn.Module, example: Any, found: Symmetries, seed: int = 1) -> float:  # noqa: ANN401
    """By how much random permutations change the outputs, as a share of the largest output, in float64."""
    double = copy.deepcopy(model).double().eval()
    arguments, named = arguments_of(example)
    inputs = [one.double() if one.is_floating_point() else one for one in arguments]
    state = {name: tensor.clone() for name, tensor in double.state_dict().items()}
    permutations = found.random(seed)
    with torch.no_grad():
        before = [one for one in tree_leaves(double(*inputs, **named)) if isinstance(one, torch.Tensor)]
        double.load_state_dict(found.permute(state, permutations))
        after = [one for one in tree_leaves(double(*inputs, **named)) if isinstance(one, torch.Tensor)]
        double.load_state_dict(found.permute(double.state_dict(), found.inverse(permutations)))
    assert all(torch.equal(tensor, state[name]) for name, tensor in double.state_dict().items()), "the way back"
    largest = [max(float(x.abs().max()), 1e-300) for x in before]  # a head may begin at 0
    return max(float((x - y).abs().max()) / by for x, y, by in zip(before, after, largest, strict=True))
