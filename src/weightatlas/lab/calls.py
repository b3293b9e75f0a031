"""What a network does to an image, module by module, without doing it: calls and shapes on torch's meta device."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from weightatlas.checkpoints.untrusted import summary
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from torch.autograd.graph import Node


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a module that holds no other, or that has parameters of its own.

    Attributes:
        name: its module path.
        module: the module, on the meta device.
        inputs: its first argument, without values.
        outputs: what it gave.
        leaf: whether it holds no other module, or none that is looked into.
        entry: where its argument stands in the graph of gradients.
        origin: where its answer stands there, before anything else changed it in place.
    """

    name: str
    module: nn.Module
    inputs: torch.Tensor
    outputs: torch.Tensor
    leaf: bool
    entry: Node | None
    origin: Node | None

    @property
    def map_shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width of what it read; None unless that is (batch, C, H, W) with two positions or more.

        A linear layer reads the last axis, so what it is given is no map.
        """
        if self.inputs.ndim != 4 or isinstance(self.module, nn.Linear):
            return None
        channels, height, width = self.inputs.shape[1:]
        return (channels, height, width) if height * width > 1 else None


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """All calls of one forward pass in evaluation mode, in their order, and its answer.

    Attributes:
        calls: of the modules that take and give a tensor and hold no other, or have parameters of their own.
        answer: what the network gave; a tensor for a plain classifier.
        used: names of the parameters that the answer's gradient reaches.
        images: what the network was given.
    """

    calls: tuple[Call, ...]
    answer: Any
    used: frozenset[str]
    images: torch.Tensor

    def is_bottleneck(self, call: Call) -> bool:
        """Whether everything that the answer knows of the images went through one call."""
        seen = {call.origin}
        waiting = [self.answer.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in seen:
                seen.add(node)
                if getattr(node, "variable", None) is self.images:
                    return False
                waiting.extend(earlier for earlier, _ in node.next_functions)
        return True


def trace(model: nn.Module, shape: tuple[int, ...], *, whole: tuple[type[nn.Module], ...] = ()) -> Trace:
    """Run a copy of a network on the meta device, in evaluation mode, and write down its calls.

    Args:
        model: any network of images; it is left alone, and no tensor of it is copied.
        shape: of the images, (batch, channels, height, width).
        whole: classes of modules whose insides are of no interest.

    Raises:
        SourceError: the network does not run on tensors without values, or not on this shape.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 16, 4))
        >>> found = trace(network, (2, 3, 6, 6))
        >>> [(call.name, call.map_shape) for call in found.calls], tuple(found.answer.shape)
        ([('0', (3, 6, 6)), ('1', (8, 4, 4)), ('2', None)], (2, 4))
    """
    calls: list[Call] = []
    network = _without_values(model).eval()
    inside = {part for one in network.modules() if isinstance(one, whole) for part in one.modules() if part is not one}
    for name, module in network.named_modules():
        leaf = isinstance(module, whole) or not any(True for _ in module.children())
        if module not in inside and (leaf or any(True for _ in module.parameters(recurse=False))):
            module.register_forward_hook(_writer(name, calls, leaf=leaf))
    parameters = {name: one.requires_grad_() for name, one in network.named_parameters() if one.is_floating_point()}
    dtype = next((one.dtype for one in parameters.values()), torch.float32)
    try:
        with torch.enable_grad():
            images = torch.zeros(shape, device="meta", dtype=dtype, requires_grad=True)
            answer = network(images)
            used = _reached(answer, parameters)
    except Exception as error:  # the network's own code may fail in any way
        size = " x ".join(str(length) for length in shape[1:])
        problem = f"cannot be run on images of {size} without values ({summary(error)})"
        remedy = "give the input size it is made for, or a model whose forward() does not look at values"
        raise SourceError(type(model).__name__, problem, remedy) from error
    return Trace(tuple(calls), answer, used, images)


def _writer(name: str, calls: list[Call], *, leaf: bool) -> Any:  # noqa: ANN401 - a hook
    def write(module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:  # noqa: ANN401 - any module's
        if inputs and isinstance(inputs[0], torch.Tensor) and isinstance(outputs, torch.Tensor):
            entry, origin = inputs[0].grad_fn, outputs.grad_fn
            calls.append(Call(name, module, inputs[0], outputs, leaf, entry, origin))

    return write


def _without_values(model: nn.Module) -> nn.Module:
    """A copy whose tensors have shapes and no values; nothing is copied on the way."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values(), *vars(module).values()):  # noqa: SLF001
            if isinstance(tensor, nn.Parameter):
                memo[id(tensor)] = nn.Parameter(tensor.detach().to("meta"), requires_grad=tensor.requires_grad)
            elif isinstance(tensor, torch.Tensor):
                memo[id(tensor)] = tensor.detach().to("meta")
    return copy.deepcopy(model, memo)


def _reached(answer: Any, parameters: dict[str, torch.Tensor]) -> frozenset[str]:  # noqa: ANN401 - any network's
    if not isinstance(answer, torch.Tensor) or not answer.requires_grad:
        return frozenset()
    gradients = torch.autograd.grad(answer.sum(), list(parameters.values()), allow_unused=True)
    return frozenset(name for name, one in zip(parameters, gradients, strict=True) if one is not None)
