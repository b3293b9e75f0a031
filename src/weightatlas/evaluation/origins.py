"""Where the tensors of a running network come from: the layer that made each, its channel axis, its norm's affine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import torch
from torch import distributed, nn
from torch.func import functional_call
from torch.nn import functional

FIRST: Final = frozenset({"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
"""Functions that give channels along axis 1."""

LAST: Final = frozenset({"addmm", "linear", "matmul", "mm"})
"""Functions that give channels along the last axis."""

KEPT: Final = frozenset(
    {
        *("alias", "alpha_dropout", "bfloat16", "clone", "contiguous", "cpu", "cuda", "detach", "double", "dropout"),
        *("dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout", "feature_dropout", "float", "half"),
        *("native_dropout", "requires_grad", "to", "type"),
    }
)
"""Functions that leave a layer's output what it is: the same channels, the same distribution up to dropout."""

RESHAPED: Final = frozenset(
    {
        *(
            "chunk",
            "expand",
            "expand_as",
            "flatten",
            "get",
            "getitem",
            "index_select",
            "narrow",
            "reshape",
            "reshape_as",
            "select",
            "slice",
            "split",
        ),
        *(
            "split_with_sizes",
            "squeeze",
            "tensor_split",
            "unbind",
            "unflatten",
            "unsafe_view",
            "unsqueeze",
            "view",
            "view_as",
        ),
    }
)
"""Functions that show the same values, or some of them, in another shape."""

MOVED: Final = frozenset({"permute", "swapaxes", "swapdims", "transpose"})

WORDS: Final = {"add": "sum", "iadd": "sum", "mul": "product", "imul": "product", "concat": "cat", "sub": "difference"}
"""What a function's result is called where its name is a verb."""

NORMS: Final = {
    "batch_norm": ("batch", 1, 2),
    "native_batch_norm": ("batch", 1, 2),
    "native_batch_norm_legit": ("batch", 1, 2),
    "native_batch_norm_legit_no_training": ("batch", 1, 2),
    "instance_norm": ("instance", 1, 2),
    "group_norm": ("group", 2, 3),
    "native_group_norm": ("group", 1, 2),
    "layer_norm": ("layer", 2, 3),
    "native_layer_norm": ("layer", 2, 3),
    "rms_norm": ("rms", 2, None),
}
"""Kinds of normalising functions, with the places of weight and bias among the arguments of torch's operators."""

_PARTS: Final = ("weight", "bias")

_RUNNING_FIRST: Final = (functional.batch_norm, functional.instance_norm)
"""Of these the running statistics stand before weight and bias."""


class Call(NamedTuple):
    """A call of one of torch's functions; `name` is its plain one."""

    function: Any
    name: str
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """The last affine map of a norm, y = weight * x + bias, one of each a channel.

    Attributes:
        weight: (channels,), or None for ones.
        bias: (channels,), or None for zeros.
        zeros: numbers of the channels whose weight is 0, int64, ascending.
        bare: the normalised values of those channels before the map, for it cannot be undone: shape of the output
            with `len(zeros)` channels along `axis`; None where there is no such channel, or where they are not known.
        axis: of the channels in `bare`.
    """

    weight: torch.Tensor | None
    bias: torch.Tensor | None
    zeros: torch.Tensor | None = None
    bare: torch.Tensor | None = None
    axis: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What made a tensor.

    Attributes:
        layer: path of the module; with the word for a function in brackets where that was no layer.
        channels: how many the layer made.
        axis: of the channels; None where that is not known.
        norm: kind of the norm, None where it was none.
        affine: what the norm ended with.
        nonlinear: whether it was an elementwise nonlinearity.
    """

    layer: str
    channels: int = 0
    axis: int | None = None
    norm: str | None = None
    affine: Affine | None = None
    nonlinear: bool = False


def tensors_of(arguments: Sequence[Any], named: Mapping[str, Any] | None = None) -> Iterator[torch.Tensor]:
    """Go through the tensors of a call, those in lists and tuples too."""
    for value in (*arguments, *(named or {}).values()):
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (part for part in value if isinstance(part, torch.Tensor))


def affine_of(call: Call) -> Affine | None:
    """Give the affine map that a normalising function ends with; None where it has another shape than the channels'.

    Where a channel's weight is 0 the function is called once more without the map, on the same inputs and without
    touching running statistics.
    """
    kind, *places = NORMS[call.name]
    if call.function in _RUNNING_FIRST:
        places = [3, 4]
    weight, bias = (
        None if place is None else call.arguments[place] if len(call.arguments) > place else call.named.get(key)
        for place, key in zip(places, ("weight", "bias"), strict=True)
    )
    if any(given is not None and given.ndim != 1 for given in (weight, bias)):
        return None
    zeros = None if weight is None else (weight.detach() == 0).nonzero().flatten()
    if zeros is None or not len(zeros):
        return Affine(weight, bias)
    axis = -1 if kind in {"layer", "rms"} else 1
    bare = _without_map(call, places)
    return Affine(weight, bias, zeros, bare.index_select(axis, zeros.to(bare.device)), axis)


def _without_map(call: Call, places: Sequence[int | None]) -> torch.Tensor:
    """What a norm gives before its affine map; running statistics, which it moves in training, are handed as copies."""
    arguments = [
        None if place in places else value.clone() if isinstance(value, torch.Tensor) and value.ndim == 1 else value
        for place, value in enumerate(call.arguments)
    ]
    named = {
        key: None if key in {"weight", "bias"} else value.clone() if isinstance(value, torch.Tensor) else value
        for key, value in call.named.items()
    }
    with torch.no_grad():
        output = call.function(*arguments, **named)
    given: torch.Tensor = output[0] if isinstance(output, tuple | list) else output
    return given


def affine_of_module(module: nn.Module, arguments: tuple[Any, ...], axis: int, channels: int) -> Affine | None:
    """Give the affine map that a norm which computes by itself ends with; None where its parameters are none of one.

    They are `channel_weight` and `channel_bias` of a batch-channel norm, one a group, or else `weight` and `bias`.
    Where a channel's weight is 0 the module is called once more with ones in their place. Norms that talk to other
    processes are not: those may not be listening.
    """
    parameters: dict[str, torch.Tensor] = {}
    for name in ("weight", "bias"):
        own = f"channel_{name}" if hasattr(module, f"channel_{name}") else name
        value = getattr(module, own, None)
        if value is None:
            continue
        if not isinstance(value, torch.Tensor) or value.ndim != 1 or channels % len(value):
            return None
        parameters[own] = value.detach()
    weight, bias = (
        None if part is None else part.repeat_interleave(channels // len(part))
        for part in (next((parameters[own] for own in parameters if own.endswith(word)), None) for word in _PARTS)
    )
    zeros = None if weight is None else (weight == 0).nonzero().flatten()
    if zeros is None or not len(zeros) or (distributed.is_initialized() and distributed.get_world_size() > 1):
        return Affine(weight, bias)
    values = {own: torch.full_like(value, float(own.endswith("weight"))) for own, value in parameters.items()}
    values |= {name: buffer.clone() for name, buffer in module.named_buffers() if name not in values}
    was_training = module.training
    with torch.no_grad():
        try:
            # a norm by estimates has moved them already: what it gave is what they give now
            module.training = was_training and not getattr(module, "estimated", False)
            bare = functional_call(module, values, arguments)
        finally:
            module.training = was_training
    return Affine(weight, bias, zeros, bare.index_select(axis, zeros), axis)


def channel_axis(tensor: torch.Tensor, origin: Origin) -> int:
    """Say along which axis of a tensor its channels lie.

    Where the layer that made it does not tell: 1 for pairs (examples, channels) and for maps, the last for sequences
    (examples, places, channels).
    """
    if origin.axis is not None:
        return origin.axis
    return tensor.ndim - 1 if tensor.ndim == 3 else 1


def followed(call: Call, origin: Origin, output: torch.Tensor) -> Origin:
    """Give the origin of what a function that keeps, reshapes or moves a layer's output hands on."""
    if call.name in KEPT or origin.axis is None:
        return origin
    if call.name in MOVED:
        return replace(origin, axis=_moved_to(call, origin.axis))
    same = [axis for axis in range(1, output.ndim) if output.shape[axis] == origin.channels]
    if same:
        return origin if origin.axis in same else replace(origin, axis=same[-1])
    before = next(tensors_of(call.arguments)).ndim
    if before != output.ndim:
        return replace(origin, axis=None, norm=None, affine=None, channels=0)
    return replace(origin, norm=None, affine=None, channels=output.shape[origin.axis])


def _moved_to(call: Call, axis: int) -> int:
    """Where an axis goes."""
    count = call.arguments[0].ndim
    if call.name == "permute":
        order = call.named.get("dims", call.arguments[1:])
        flat = order[0] if len(order) == 1 and isinstance(order[0], list | tuple) else order
        return [number % count for number in flat].index(axis)
    keys = ("dim0", "dim1") if call.name == "transpose" else ("axis0", "axis1")
    one, other = (*call.arguments[1:], *(call.named[key] for key in keys if key in call.named))
    swapped = {one % count: other % count, other % count: one % count}
    return int(swapped.get(axis, axis))
