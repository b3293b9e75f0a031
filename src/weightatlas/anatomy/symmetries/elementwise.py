"""Operators that treat entries alike: elementwise ones, reductions, and those that make new values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from weightatlas.anatomy.symmetries.calls import Call, Result, Rule, Value, broadcast, hold
from weightatlas.anatomy.symmetries.terms import UNIT, Leaf, Term
from weightatlas.anatomy.symmetries.unification import cut, pin, unify


def pointwise(call: Call) -> Result:
    """Element by element: axes that meet are the same."""
    values = call.values()
    if not values:
        return call.fresh("its numbers come from the model's code")
    axes = broadcast([value.axes for value in values], len(call.shape))
    return [call.made(axes, output) for output in range(len(call.shapes))]


def keep(call: Call) -> Result:
    """The first value, each of its entries treated like the others: axes stay."""
    return [call.made(call.values()[0].axes, output) for output in range(len(call.shapes))]


def normalize(call: Call) -> Result:
    """Entries along an axis divided by a sum over all of them."""
    value = call.values()[0]
    axis = call.axis(len(value.shape))
    call.within([one for place, one in enumerate(value.axes) if place != axis])
    return keep(call)


def scale_norm(call: Call) -> Result:
    """A weight of a given norm, taken over all axes but one."""
    value = call.values()[0]
    call.within(value.axes[call.axis(len(value.shape)) :][:1])
    return pointwise(call)


def uniform(call: Call) -> Result:
    """A new value that is the same everywhere, or anything at all: its entries may change places."""
    return call.fresh()


def enumerate_(call: Call) -> Result:
    """Numbers in an order."""
    return call.fresh(f"its numbers are made by {call.name}")


def reduce(call: Call) -> Result:
    """A sum, a mean, an extreme or a spread along axes, in any order."""
    value = call.values()[0]
    named = call.arguments.get("dim", call.arguments.get("axis"))
    axes = [named] if isinstance(named, int) else list(named or range(len(value.shape)))
    gone = {axis % max(len(value.shape), 1) for axis in axes}
    return [call.made(_reduced(call, value, gone), output) for output in range(len(call.shapes))]


def choose(call: Call) -> Result:
    """An extreme with its place, or an order: places have names."""
    value = call.values()[0]
    axis = call.arguments.get("dim")
    held = value.axes if axis is None else [value.axes[int(axis) % max(len(value.shape), 1)]]
    reason = f"{call.name} says at which of its entries"
    hold(held, reason)
    gone = set(range(len(value.shape))) if axis is None else {int(axis) % max(len(value.shape), 1)}
    return [
        call.made(_reduced(call, value, gone), output)
        if shape != value.shape
        else call.made([Leaf(n, reason) if place in gone else value.axes[place] for place, n in enumerate(shape)])
        for output, shape in enumerate(call.shapes)
    ]


def run(call: Call) -> Result:
    """Sums, products and the like of all entries before: their order counts."""
    value = call.values()[0]
    axis = call.axis(len(value.shape))
    reason = f"{call.name} runs along it"
    pin(value.axes[axis], reason)
    made = [Leaf(value.shape[place], reason) if place == axis else one for place, one in enumerate(value.axes)]
    return [call.made(made, output) for output in range(len(call.shapes))]


def positions(call: Call) -> Result:
    """Operators along the last axes, whose entries are positions: pools, interpolations, triangles."""
    value = call.values()[0]
    count = next((int(letter) for letter in call.name if letter.isdigit()), 2)
    first = max(len(value.shape) - count, 0)
    reason = f"{call.name} needs its entries in order"
    hold(value.axes[first:], reason)
    return [
        call.made([*value.axes[:first], *(Leaf(length, reason) for length in shape[first:])], output)
        for output, shape in enumerate(call.shapes)
    ]


def halve(call: Call) -> Result:
    """A gated linear unit: the first half of an axis, scaled by the second."""
    value = call.values()[0]
    axis = int(call.arguments.get("dim", -1)) % len(value.shape)
    halves = cut(value.axes[axis], value.shape[axis] // 2)
    if halves is None:
        pin(value.axes[axis], "it is cut within its parts")
        half: Term = Leaf(value.shape[axis] // 2, "it is cut within its parts")
    else:
        unify(*halves)
        half = halves[0]
    return call.made([half if place == axis else one for place, one in enumerate(value.axes)])


def prelu(call: Call) -> Result:
    """A slope for each channel, or one for all."""
    value, weight = call.values()[:2]
    if weight.shape and weight.shape[0] > 1:
        unify(value.axes[min(1, len(value.shape) - 1)], weight.axes[0])
    return call.made(value.axes)


def copy(call: Call) -> Result:
    """The second value in place of the first."""
    return call.made(broadcast([value.axes for value in call.values()[1:]], len(call.shape)))


def _reduced(call: Call, value: Value, gone: set[int]) -> list[Term]:
    if call.arguments.get("keepdim"):
        return [UNIT if place in gone else one for place, one in enumerate(value.axes)]
    return [one for place, one in enumerate(value.axes) if place not in gone]


_POINTWISE: Final = (
    "where", "masked_fill", "lerp", "addcmul", "addcdiv", "maximum", "minimum", "fmax", "fmin", "nan_to_num", "clamp",
    "dropout", "native_dropout", "softplus", "log_sigmoid", "softsign", "pow", "bernoulli", "true_divide", "glu_jvp",
    "hardswish", "hardsigmoid", "hardtanh", "relu6", "leaky_relu", "elu", "celu", "selu", "mish", "threshold", "square",
    "softshrink", "hardshrink", "rsub", "__and__", "__or__", "__xor__", "logical_and", "logical_or", "logical_not",
)  # fmt: skip
_KEEPING: Final = (
    "clone", "contiguous", "alias", "detach", "to", "_to_copy", "lift_fresh_copy", "type_as",
    "feature_dropout", "alpha_dropout", "feature_alpha_dropout",
)  # fmt: skip
_NORMALIZING: Final = ("softmax", "_softmax", "_safe_softmax", "log_softmax", "_log_softmax")
_UNIFORM: Final = (
    "zeros", "ones", "full", "empty", "scalar_tensor", "zeros_like", "ones_like", "full_like", "empty_like", "new_full",
    "new_zeros", "new_ones", "new_empty", "fill", "zero",
)  # fmt: skip
_REDUCING: Final = (
    "mean", "sum", "amax", "amin", "prod", "var", "std", "norm", "linalg_vector_norm", "logsumexp", "any", "all",
    "nanmean", "nansum", "var_mean", "std_mean", "count_nonzero",
)  # fmt: skip
_CHOOSING: Final = ("max", "min", "argmax", "argmin", "median", "topk", "sort", "argsort", "mode", "kthvalue")
_POSITIONS: Final = (
    *(f"{kind}_pool{axes}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "lp") for axes in (1, 2, 3)),
    *(f"max_pool{axes}d_with_indices" for axes in (1, 2, 3)), "_adaptive_avg_pool2d", "_adaptive_avg_pool3d",
    *(f"upsample_nearest{axes}d" for axes in (1, 2, 3)), "_upsample_nearest_exact2d", "upsample_linear1d",
    "upsample_bilinear2d", "_upsample_bilinear2d_aa", "upsample_bicubic2d", "_upsample_bicubic2d_aa",
    "upsample_trilinear3d", "tril", "triu",
    *(f"{kind}_pad{axes}d" for kind in ("reflection", "replication") for axes in (1, 2, 3)),
)  # fmt: skip

ELEMENTWISE: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(_POINTWISE, pointwise),
    **dict.fromkeys(_KEEPING, keep),
    **dict.fromkeys(_NORMALIZING, normalize),
    **dict.fromkeys(("_weight_norm", "_weight_norm_interface"), scale_norm),
    **dict.fromkeys(_UNIFORM, uniform),
    **dict.fromkeys(("arange", "linspace", "eye", "tril_indices", "triu_indices", "one_hot"), enumerate_),
    **dict.fromkeys(_REDUCING, reduce),
    **dict.fromkeys(_CHOOSING, choose),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "diff"), run),
    **dict.fromkeys(_POSITIONS, positions),
    "glu": halve,
    "prelu": prelu,
    "_prelu_kernel": pointwise,
    "copy": copy,
}
"""By the operator's name in torch's `aten`, without the underscore of those that work in place."""
