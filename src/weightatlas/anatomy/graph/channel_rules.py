"""What operators that neither move values nor read weights do to channels: keep, join, scale or lose them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from weightatlas.anatomy.graph.channel_ids import (
    Channels,
    Constant,
    Unfollowed,
    Value,
    broadcast,
    compact,
    shape_of_both,
)
from weightatlas.anatomy.graph.channel_records import Joint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from weightatlas.anatomy.graph.channel_walk import Call

Result = Value | list[Value]

SQUASHING: Final = frozenset(
    {"sigmoid", "hardsigmoid", "tanh", "softmax", "_softmax", "relu", "relu6", "hardtanh", "silu", "gelu", "hardswish"}
    | {"elu", "celu", "selu", "leaky_relu", "prelu", "mish", "softplus", "log_sigmoid", "softsign", "exp", "clamp"}
)
"""Operators whose result gates what it is multiplied with."""


def keep(call: Call) -> Result:
    """The channels of the first value with any, if no axis along which they differ has changed."""
    values = call.values()
    value = next((one for one in values if isinstance(one, Channels)), values[0])
    return kept(call, value)


def kept(call: Call, value: Value) -> Value:
    """One value's channels for the result of a call."""
    squashed = call.name in SQUASHING
    if isinstance(value, Unfollowed):
        kind = "weights" if value.kind == "scores" and call.name in {"softmax", "_softmax"} else value.kind
        return call.lost(operator=value.operator, kind=kind)
    if isinstance(value, Constant):
        return call.lost()
    if not value.varying and len(call.shape) != len(value.shape):
        return call.channels(value.ids.reshape([1] * len(call.shape)), squashed=squashed)
    offset = len(call.shape) - len(value.shape)
    fits = offset >= 0 and all(call.shape[axis + offset] == value.shape[axis] for axis in value.varying)
    if not fits:
        return call.lost()
    return call.channels(value.ids.reshape([1] * offset + list(value.ids.shape)), squashed=squashed)


def pointwise(call: Call) -> Result:
    """An operator on each element: what it does to one value it leaves alone, several make the channels unknown."""
    known = [value for value in call.values() if isinstance(value, Channels)]
    unknown = [value for value in call.values() if isinstance(value, Unfollowed)]
    if len(known) == 1 and not any(_as_large(value, known[0]) for value in unknown):
        return kept(call, known[0])
    if not known:
        return kept(call, unknown[0])
    return call.lost()


def join(call: Call) -> Result:
    """A sum, or a choice between values: its channels are those of all of them at once."""
    values = call.values()
    known = [value for value in values if isinstance(value, Channels)]
    unknown = [value for value in values if isinstance(value, Unfollowed)]
    scores = next((value for value in unknown if value.kind), None)
    if scores is not None:
        return call.lost(operator=scores.operator, kind=scores.kind)
    if not known:
        return kept(call, unknown[0])
    for lost in unknown:
        if _as_large(lost, known[0]) and call.name in {"add", "sub", "rsub"} and lost.operator != "input":
            call.walk.note(f"what {call.path or 'the model'} adds to its channels is not followed ({lost.operator})")
    together = known[0]
    for value in known[1:]:
        joined = _joined(call, together, value)
        if joined is None:
            return call.lost()
        together = joined
    return kept(call, together)


def _joined(call: Call, first: Channels, second: Channels) -> Channels | None:
    """Two values with channels, made one; a value that is the same for all channels of the other adds none."""
    alone = _lone(first, second)
    if alone is not None:
        return alone
    if not _share(first, second):
        return None
    left, right = broadcast([first, second])
    call.walk.nodes.merge(left, right)
    ids = torch.maximum(left, right)  # the later units: those of a block and not of the stream it adds to
    shape = shape_of_both(first.shape, second.shape)
    call.walk.sums.append(Joint(call.step, (first, second), ids))
    return Channels(ids, shape, call.step)


def _lone(first: Channels, second: Channels) -> Channels | None:
    """The one of two values that has several channels, where the other has a single one for all of them."""
    if bool(first.varying) == bool(second.varying):
        return None
    return first if first.varying else second


def _share(first: Channels, second: Channels) -> bool:
    """Whether two values differ along a common axis, counted from the last, or are a single channel each."""
    ours, theirs = ({axis - len(value.shape) for axis in value.varying} for value in (first, second))
    return bool(ours & theirs) or not (ours or theirs)


def scale(call: Call) -> Result:
    """A product or a quotient: one value scales the other, whose channels stay."""
    values = call.values()
    known = [value for value in values if isinstance(value, Channels)]
    if not known:
        return kept(call, next(value for value in values if isinstance(value, Unfollowed)))
    if len(known) == 1 or call.name == "div":
        other = next((value for value in values if isinstance(value, Unfollowed)), None)
        if other is not None and len(known) == 1 and other.kind:
            return call.lost(operator=other.operator, kind=other.kind)
        return kept(call, known[0])
    gated, gate = _gated(known[0], known[1])
    if not gated.varying and gate.varying:
        gated, gate = gate, gated
    if _share(gated, gate):
        left, right = broadcast([gate, gated])
        pairs = torch.stack([left.reshape(-1), right.reshape(-1)], dim=1)
        call.walk.gates.append(torch.unique(pairs[pairs[:, 0] != pairs[:, 1]], dim=0))
    return kept(call, gated)


def _gated(first: Channels, second: Channels) -> tuple[Channels, Channels]:
    """What is scaled, and the gate: the smaller value, else the one that an activation made, else the second."""
    sizes = [torch.Size(value.shape).numel() for value in (first, second)]
    if sizes[0] != sizes[1]:
        return (first, second) if sizes[0] > sizes[1] else (second, first)
    return (second, first) if first.squashed and not second.squashed else (first, second)


def reduce(call: Call) -> Result:
    """A sum, a mean or an extreme along axes that are no channels."""
    value = call.values()[0]
    if not isinstance(value, Channels):
        return kept(call, value)
    named = call.arguments.get("dim", call.arguments.get("axis"))
    axes = [named] if isinstance(named, int) else list(named or range(len(value.shape)))
    axes = [axis % max(len(value.shape), 1) for axis in axes]
    if set(axes) & set(value.varying):
        return call.lost()
    ids = value.ids if call.arguments.get("keepdim") else value.ids.amax(dim=axes) if axes else value.ids
    return [call.channels(ids)]


def halve(call: Call) -> Result:
    """A gated linear unit: the first half of the channels, scaled by the second."""
    value = call.values()[0]
    if not isinstance(value, Channels):
        return kept(call, value)
    halves = value.expanded().chunk(2, dim=int(call.arguments.get("dim", -1)))
    first, second = (compact(half) for half in halves)
    left, right = second.expand_as(first), first
    call.walk.gates.append(torch.unique(torch.stack([left.reshape(-1), right.reshape(-1)], dim=1), dim=0))
    return call.channels(first)


def _as_large(value: Value, other: Channels) -> bool:
    """Whether a value has something of its own for each channel of another."""
    axes = [axis - len(other.shape) for axis in other.varying]
    return any(-axis <= len(value.shape) and value.shape[axis] > 1 for axis in axes)


_KEEPING: Final = (
    "batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "instance_norm",
    "layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "rms_norm", "_fused_rms_norm",
    "dropout", "native_dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "bernoulli",
    "max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "fractional_max_pool2d",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d", "upsample_linear1d",
    "upsample_bilinear2d", "_upsample_bilinear2d_aa", "upsample_bicubic2d", "_upsample_bicubic2d_aa",
    "upsample_trilinear3d", "contiguous", "clone", "detach", "alias", "to", "_to_copy", "type_as", "lift_fresh_copy",
    "softmax", "_softmax", "log_softmax", "_log_softmax", "cumsum", "prelu", "rrelu", "triu", "tril", "bernoulli",
    "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d",
    "replication_pad3d", "grid_sampler", "grid_sampler_2d", "nan_to_num", "masked_fill", "pow", "threshold",
    "hardswish", "hardsigmoid", "hardtanh", "relu6", "leaky_relu", "elu", "celu", "selu", "mish", "softplus",
    "log_sigmoid", "softsign", "logit", "clip", "square", "float_power", "softshrink", "hardshrink",
)  # fmt: skip
_REDUCING: Final = (
    "mean", "sum", "amax", "amin", "max", "min", "prod", "var", "std", "norm", "linalg_vector_norm", "logsumexp",
    "argmax", "argmin", "any", "all", "median", "nanmean", "nansum", "var_mean", "std_mean",
)  # fmt: skip

RULES: Final[Mapping[str, Callable[[Call], Result]]] = {
    **dict.fromkeys(_KEEPING, keep),
    **dict.fromkeys(("add", "sub", "rsub", "where", "maximum", "minimum", "lerp", "fmax", "fmin"), join),
    **dict.fromkeys(("mul", "div", "true_divide"), scale),
    **dict.fromkeys(_REDUCING, reduce),
    "glu": halve,
}
"""By the operator's name in torch's `aten`, without the underscore of those that work in place."""
