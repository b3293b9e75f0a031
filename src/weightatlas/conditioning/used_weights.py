"""The gradient of a loss at the weights that layers convolve with, standardised or not."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from weightatlas.evaluation.mean_loss import MeanLoss, wide
from weightatlas.nn.standardization import Standardization
from weightatlas.nn.ws_conv import WS_CONVOLUTIONS
from weightatlas.nn.ws_parametrization import Standardized

if TYPE_CHECKING:
    from collections.abc import Mapping

FUNCTIONS: Final[frozenset[Any]] = frozenset(
    (
        torch.conv1d,
        torch.conv2d,
        torch.conv3d,
        torch.conv_transpose1d,
        torch.conv_transpose2d,
        torch.conv_transpose3d,
        torch.nn.functional.linear,
    )
)
"""What takes inputs and then weights."""

OTHERS: Final = frozenset(
    {
        *(("timm", name) for name in ("StdConv2d", "StdConv2dSame", "ScaledStdConv2d", "ScaledStdConv2dSame")),
        ("transformers", "WeightStandardizedConv2d"),
    }
)
"""Other packages' convolutions that standardise, all as timm's `StdConv2d` does, with an `eps` of their own."""


@dataclass(frozen=True, slots=True, eq=False)
class UsedWeight:
    """A layer's weights, and the gradient at what it makes of them.

    Attributes:
        layer: module path.
        kind: class of the module.
        weight: what is standardised: the parameter. Of a layer that does not standardise, what it convolves with.
        gradient: of the loss at the standardised weights, before any gain; of a layer that does not standardise, at
            `weight`. None where the loss does not reach it.
        how: how it is standardised; None where it is not.
        unit_axis: axis of the output channels.
        groups: of a transposed convolution; else 1.
        skipped: why there is no gradient, or None.
    """

    layer: str
    kind: str
    weight: torch.Tensor
    gradient: torch.Tensor | None
    how: Standardization | None
    unit_axis: int
    groups: int
    skipped: str | None = None


def used_weights(mean_loss: MeanLoss, layers: Mapping[str, torch.nn.Module]) -> tuple[UsedWeight, ...]:
    """Find the gradient of a mean loss at the weights that each layer uses.

    What a layer uses is seen where it calls torch's convolution (or `linear`): any way of computing weights is found,
    and a layer that is called several times has the sum of its gradients.

    Args:
        mean_loss: of the network.
        layers: convolutions and linear layers of it, by module path.
    """
    gradients: dict[str, torch.Tensor] = {}
    used: dict[str, torch.Tensor] = {}
    calls = dict.fromkeys(layers, 0)
    with mean_loss.ready():
        for inputs, targets in mean_loss.batches:
            leaves = {name: tensor.detach().requires_grad_() for name, tensor in mean_loss.parameters.items()}
            seen = _Seen(layers)
            with seen.watching():
                loss = mean_loss.loss(mean_loss.outputs(leaves, inputs), targets)
            reached = [(name, weight) for name, weight in seen.weights if weight.requires_grad]
            found = torch.autograd.grad(loss, [weight for _, weight in reached], allow_unused=True) if reached else ()
            # a layer that is called twice may use one tensor twice: torch gives its whole gradient each time
            once = {(name, id(weight)): gradient for (name, weight), gradient in zip(reached, found, strict=True)}
            for (name, _), gradient in once.items():
                if gradient is not None:
                    share = gradient.detach().to(wide(gradient)) * (len(inputs) / mean_loss.examples)
                    gradients[name] = gradients[name] + share if name in gradients else share
            for name, weight in seen.weights:
                used[name] = weight.detach()
                calls[name] += 1
        return tuple(
            _measured(name, module, used.get(name), gradients.get(name), called=calls[name] > 0)
            for name, module in layers.items()
        )


@dataclass(slots=True, eq=False)
class _Seen:
    """Watches which weights the layers use in one forward pass."""

    layers: Mapping[str, torch.nn.Module]
    weights: list[tuple[str, torch.Tensor]] = field(default_factory=list)
    running: list[str] = field(default_factory=list)

    def watching(self) -> ExitStack:
        """Watch while this is open."""
        stack = ExitStack()
        for name, module in self.layers.items():
            hooks = (
                module.register_forward_pre_hook(lambda *_, name=name: self.running.append(name)),
                module.register_forward_hook(lambda *_: self._left()),
            )
            for hook in hooks:
                stack.callback(hook.remove)
        stack.enter_context(_Convolutions(self))
        return stack

    def _left(self) -> None:
        self.running.pop()


class _Convolutions(TorchFunctionMode):
    """Tells a watcher the weights of each convolution of a running layer."""

    def __init__(self, seen: _Seen) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401 - any of torch's functions
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        given = kwargs or {}
        if func in FUNCTIONS and self._seen.running:
            weight = args[1] if len(args) > 1 else given["weight"]
            self._seen.weights.append((self._seen.running[-1], weight))
        return func(*args, **given)


def _measured(
    name: str, module: torch.nn.Module, used: torch.Tensor | None, gradient: torch.Tensor | None, *, called: bool
) -> UsedWeight:
    """What is known of a layer's weights."""
    transposed = isinstance(module, _ConvTransposeNd)
    how, weight, factor = _standardization(module)
    if how is None or weight is None:
        weight = used if used is not None else _weight(module)
    reason = None
    if not called:
        reason = "the network does not call it"
    elif gradient is None:
        reason = "no gradient of the loss reaches its weights, or they are not trained"
    found = UsedWeight(
        layer=name,
        kind=type(module).__name__,
        weight=weight,
        gradient=gradient,
        how=how,
        unit_axis=int(transposed),
        groups=int(getattr(module, "groups", 1)) if transposed else 1,
        skipped=reason,
    )
    return found if factor is None or gradient is None else replace(found, gradient=_per_unit(factor, gradient, found))


def _weight(module: Any) -> torch.Tensor:  # noqa: ANN401 - a layer that has one
    """The weight of a layer that was not called."""
    weight: torch.Tensor = module.weight
    return weight.detach()


def _standardization(
    module: Any,  # noqa: ANN401 - a layer of ours, of torch or of another package
) -> tuple[Standardization | None, torch.Tensor | None, torch.Tensor | None]:
    """How a layer standardises, what it standardises, and what each unit is multiplied by afterwards."""
    if parametrize.is_parametrized(module, "weight"):
        steps = module.parametrizations["weight"]
        last = steps[-1]
        if not isinstance(last, Standardized):
            return None, None, None
        weight = _before_last(steps)
        return last.how, weight.detach(), None if last.gain is None else last.gain.detach() * last.scale
    weight = module.weight.detach()
    if issubclass(type(module), tuple(WS_CONVOLUTIONS.values())):
        fan_in = weight.numel() // module.out_channels
        return module.how, weight, None if module.gain is None else module.gain.detach() * module.gamma * fan_in**-0.5
    if (type(module).__module__.partition(".")[0], type(module).__name__) in OTHERS:
        gain = getattr(module, "gain", None)
        return Standardization(eps=module.eps), weight, None if gain is None else gain.detach() * module.scale
    return None, None, None


def _before_last(steps: Any) -> torch.Tensor:  # noqa: ANN401 - torch's parametrisations of a weight
    """What the last of several parametrisations is given; the first may take several tensors."""
    given = [steps.original] if steps.is_tensor else [getattr(steps, f"original{i}") for i in range(steps.ntensors)]
    weight: torch.Tensor = given[0] if len(steps) == 1 else steps[0](*given)
    for step in list(steps)[1:-1]:
        weight = step(weight)
    return weight


def _per_unit(factor: torch.Tensor, gradient: torch.Tensor, layer: UsedWeight) -> torch.Tensor:
    """The gradient times a factor of each unit."""
    flat = factor.reshape(-1).to(gradient)
    rest = [1] * (gradient.ndim - 1)
    if layer.unit_axis == 0:
        return gradient * flat.reshape(-1, *rest)
    apart = gradient.reshape(layer.groups, -1, *gradient.shape[1:])
    return (apart * flat.reshape(layer.groups, 1, -1, *rest[1:])).reshape(gradient.shape)
