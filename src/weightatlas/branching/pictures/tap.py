"""A model up to one layer: what goes into it or comes out of it, and nothing computed behind."""

from __future__ import annotations

import difflib
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import nn

from weightatlas.checkpoints.untrusted import summary
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

At = Literal["output", "input"]
SHOWN: Final = 12

_CHANNELS_SECOND: Final = (
    nn.modules.conv._ConvNd,  # noqa: SLF001 - no public base
    nn.modules.batchnorm._NormBase,  # noqa: SLF001 - no public base
    nn.GroupNorm,
)
_CHANNELS_LAST: Final = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.MultiheadAttention)


class _ReachedError(BaseException):
    """The layer has run. No `Exception`: a model's own handlers must not catch it."""

    def __init__(self, activation: torch.Tensor) -> None:
        self.activation = activation


@dataclass(frozen=True, slots=True, eq=False)
class Trunk:
    """A model up to one layer; made by `trunk`.

    Attributes:
        layer: module path.
        module: the layer.
    """

    layer: str
    module: nn.Module
    _run: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """The layer's activations with units along axis 1: (batch, units) or (batch, units, ...) of positions."""
        activation = self._run(inputs)
        axis = unit_axis(self.module, activation)
        return activation if axis == 1 else activation.movedim(axis, 1)


@contextmanager
def trunk(model: nn.Module, layer: str, *, at: At = "output") -> Iterator[Trunk]:
    """Open a model up to a layer, in evaluation mode; nothing behind the layer is computed.

    A layer that is called several times (a rectifier that blocks share) stops the model at its first call.

    Afterwards every module is in the mode it was in, without hooks, and torch's random generators stand where they
    stood. Parameters are not touched: whoever wants gradients with respect to inputs alone asks autograd for those.

    Args:
        model: any module; of a compiled one the original runs.
        layer: module path, "" for the model itself.
        at: whether activations are those behind the layer or those that it reads.

    Raises:
        SourceError: the model has no such layer; when called, the model cannot take the inputs, does not come to the
            layer, or the layer gives no tensor.
    """
    model = getattr(model, "_orig_mod", model)
    module = find_layer(model, layer)
    modes = [(part, part.training) for part in model.modules()]
    name = type(model).__name__
    devices = list({tensor.device for tensor in model.parameters() if tensor.device.type == "cuda"})

    def stop(_module: nn.Module, *passed: Any) -> None:  # noqa: ANN401 - whatever a layer takes and gives
        raise _ReachedError(_tensor(layer, passed[-1]))

    hook = module.register_forward_hook(stop) if at == "output" else module.register_forward_pre_hook(stop)

    def run(inputs: torch.Tensor) -> torch.Tensor:
        try:
            model(inputs)
        except _ReachedError as reached:
            return reached.activation
        except SourceError:
            raise
        except Exception as error:
            problem = f"it does not take images {list(inputs.shape)} ({summary(error)})"
            raise SourceError(name, problem, "give the size that it was made for, or a model of images") from error
        problem = f"{name} does not call it"
        raise SourceError(layer, problem, "name a layer that the forward pass goes through")

    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(0)  # what a layer draws is the same each time
        try:
            for part, _ in modes:
                part.training = False  # not eval(): models override it, and exported graphs refuse it
            yield Trunk(layer, module, run)
        finally:
            hook.remove()
            for part, training in modes:
                part.training = training


def find_layer(model: nn.Module, layer: str) -> nn.Module:
    """The module at a path.

    Raises:
        SourceError: there is none; near names are given, else the first of the list.
    """
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    if layer and layer not in names:
        near = difflib.get_close_matches(layer, names, n=3, cutoff=0.6)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        remedy = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(names[:SHOWN])}{more}"
        raise SourceError(layer, f"{type(model).__name__} has no such layer", remedy)
    return model.get_submodule(layer)


def unit_axis(module: nn.Module, activation: torch.Tensor) -> int:
    """The axis along which a layer's units lie.

    Types say it where they can; else three axes are (batch, tokens, units), and of four the two that are equal are
    taken for height and width: (batch, units, n, n), or (batch, n, n, units) as Swin and ConvNeXt have it.
    """
    last = activation.ndim - 1
    if isinstance(module, _CHANNELS_SECOND) or type(module).__name__.endswith("2d") or last < 2:
        return min(1, last)
    if isinstance(module, _CHANNELS_LAST):
        return last
    square, square_last = activation.shape[-1] == activation.shape[-2], activation.shape[1] == activation.shape[2]
    return last if last == 2 or (square_last and not square) else 1


def centre(positions: tuple[int, ...]) -> tuple[int, ...]:
    """The position in the middle; of tokens that of the patches, which follow what tokens stand before them.

    Example:
        >>> centre((7, 7)), centre((197,)), centre(())
        ((3, 3), (106,), ())
    """
    if len(positions) != 1:
        return tuple(length // 2 for length in positions)
    side = math.isqrt(positions[0])
    return (positions[0] - side * side + side // 2 * side + side // 2,)


def device_of(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Where a model lies, and the type of its first floating-point parameter or buffer."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float32


def image_channels(model: nn.Module) -> int:
    """Channels of the images that a model reads: those of its first convolution over images, else 3."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    return 3


def _tensor(layer: str, passed: object) -> torch.Tensor:
    """The first tensor of what a layer takes or gives."""
    while isinstance(passed, tuple | list) and passed:
        passed = passed[0]
    if isinstance(passed, dict):
        passed = next((value for value in passed.values() if isinstance(value, torch.Tensor)), passed)
    if not isinstance(passed, torch.Tensor) or not passed.ndim:
        raise SourceError(layer, f"it gives a {type(passed).__name__}, no tensor of units", "name a layer within it")
    return passed
