"""Norms: what has a parameter for each channel moves with it, and groups of channels move as groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from weightatlas.anatomy.symmetries.terms import UNIT
from weightatlas.anatomy.symmetries.unification import pin, split, unify

if TYPE_CHECKING:
    from weightatlas.anatomy.symmetries.calls import Call, Result, Rule, Value

_STATISTICS: Final = ("weight", "bias", "running_mean", "running_var")


def by_channel(call: Call) -> Result:
    """Batch norm and instance norm: parameters and statistics of each channel."""
    value = call.value("input")
    for name in _STATISTICS:
        given = call.optional(name)
        if given is not None:
            unify(given.axes[0], value.axes[1])
    if call.name == "instance_norm":
        call.within(value.axes[:2])
    return _outputs(call, value)


def by_position(call: Call) -> Result:
    """Layer norm and RMS norm: over the last axes, symmetric in their entries."""
    value = call.value("input")
    for name in ("weight", "bias"):
        given = call.optional(name)
        for ours, theirs in zip(reversed(given.axes if given else ()), reversed(value.axes), strict=False):
            unify(ours, theirs)
    call.within(value.axes[: len(value.axes) - len(call.arguments["normalized_shape"])])
    return _outputs(call, value)


def by_group(call: Call) -> Result:
    """Group norm: over the channels of a group."""
    value = call.value("input")
    groups = int(call.arguments.get("num_groups") or call.arguments.get("group") or 1)
    halves = split(value.axes[1], groups)
    if halves is None:
        pin(value.axes[1], f"its {groups} groups run across its parts")
    for name in ("weight", "bias"):
        given = call.optional(name)
        if given is not None:
            unify(given.axes[0], value.axes[1])
    call.within([value.axes[0], halves[0] if halves is not None else value.axes[1]])
    return _outputs(call, value)


def _outputs(call: Call, value: Value) -> Result:
    """The normalised value, and statistics beside it where the operator gives them."""
    made = [call.made(value.axes)]
    for output, shape in enumerate(call.shapes[1:], start=1):
        fits = len(shape) == len(value.shape) and all(n in {1, m} for n, m in zip(shape, value.shape, strict=True))
        axes = [UNIT if n == 1 else axis for n, axis in zip(shape, value.axes, strict=False)] if fits else None
        made.append(call.fresh("statistics of a norm", output) if axes is None else call.made(axes, output))
    return made


NORMALIZING: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(
        (
            *("batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"),
            *("_native_batch_norm_legit", "instance_norm"),
        ),
        by_channel,
    ),
    **dict.fromkeys(("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm"), by_position),
    **dict.fromkeys(("group_norm", "native_group_norm"), by_group),
}
"""By the operator's name in torch's `aten`."""
