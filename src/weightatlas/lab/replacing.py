"""Exchange modules of a network in place: a head for its pooling, CoordConv for a convolution."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.lab.last_map import WIDTHS
from weightatlas.nn import CoordConv2d, build_head

if TYPE_CHECKING:
    from weightatlas.lab.last_map import LastMap
    from weightatlas.nn import HeadName


def put_head(network: nn.Module, name: HeadName, last: LastMap) -> tuple[str, ...]:
    """Put a head over the last map, in place, with a new fully connected layer behind it.

    The head stands where the first pooling stood, or, where a convolution read the map whole, before its successor. It
    gives features as the pooling gave them: (batch, features), or (batch, features, 1, 1) with a module of torch's that
    adds the axes.

    Returns:
        Paths of what is new.
    """
    old = network.get_submodule(last.classifier)
    with torch.device("meta" if _weight(old).is_meta else "cpu"):
        head = build_head(name, last.channels, last.height, last.width)
        inputs = head.out_features
        classifier = _fully_connected(old, inputs)
    parts = OrderedDict[str, nn.Module](head=head, as_map=nn.Unflatten(1, (-1, 1, 1)))
    for pool in last.pooling:
        network.set_submodule(pool, nn.Identity())
    if last.covering:
        network.set_submodule(last.classifier, _like(nn.Sequential(parts | {"classifier": classifier}), old))
        return (last.classifier,)
    network.set_submodule(last.pooling[0], _like(head if last.flat else nn.Sequential(parts), old))
    network.set_submodule(last.classifier, _like(classifier, old))
    features = _weight(old)[0].numel()
    for norm in last.norms if inputs != features else ():
        _resize(network.get_submodule(norm), features, inputs)
    return (last.pooling[0], last.classifier)


def add_coordinates(network: nn.Module, source: str, layer: str) -> None:
    """Let a convolution read the coordinates as well, in place: its weights stay, those of the coordinates are drawn.

    Raises:
        SourceError: there is no such layer, or it is no convolution that can be changed; `source` is the model's name.
    """
    try:
        old = network.get_submodule(layer)
    except AttributeError as error:
        raise SourceError(source, f"it has no module {layer!r}", "name convolutions by their module paths") from error
    if type(old) is not nn.Conv2d or old.groups != 1:
        kind = f"{old.groups} groups" if isinstance(old, nn.Conv2d) and old.groups != 1 else type(old).__name__
        problem = f"coordconv cannot change {layer} ({kind})"
        raise SourceError(source, problem, "name layers that are plain convolutions of one group")
    options: dict[str, Any] = {
        "stride": old.stride,
        "padding": old.padding,
        "dilation": old.dilation,
        "bias": old.bias is not None,
        "padding_mode": old.padding_mode,
    }
    with torch.device("meta" if old.weight.is_meta else "cpu"):
        new = CoordConv2d(old.in_channels, old.out_channels, cast("tuple[int, int]", old.kernel_size), **options)
    _like(new, old)
    with torch.no_grad():
        new.weight[:, : old.in_channels] = old.weight
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    network.set_submodule(layer, new)


def _fully_connected(old: nn.Module, inputs: int) -> nn.Module:
    """A fully connected layer with other inputs."""
    bias = old.bias is not None
    if isinstance(old, nn.Conv2d):
        return nn.Conv2d(inputs, old.out_channels, 1, bias=bias)
    return nn.Linear(inputs, cast("nn.Linear", old).out_features, bias=bias)


def _like(new: nn.Module, old: nn.Module) -> nn.Module:
    """The new module on the device, of the type and in the mode of the old one."""
    return new.to(_weight(old)).train(old.training)


def _weight(module: nn.Module) -> torch.Tensor:
    return cast("torch.Tensor", module.weight)


def _resize(norm: nn.Module, features: int, inputs: int) -> None:
    """Make a normalisation anew, in place, for another number of features."""
    for name, parameter in norm.named_parameters():
        setattr(norm, name, nn.Parameter(parameter.new_empty(inputs)))
    for name, buffer in norm.named_buffers():
        if buffer.shape == (features,):
            setattr(norm, name, buffer.new_empty(inputs))
    for width in WIDTHS:
        if hasattr(norm, width):
            setattr(norm, width, (inputs,) if isinstance(getattr(norm, width), tuple) else inputs)
    cast("nn.LayerNorm", norm).reset_parameters()
