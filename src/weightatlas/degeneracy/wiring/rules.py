"""What becomes of a layer's units in functions that are linear in them and treat all units alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import torch

from weightatlas.degeneracy.wiring.calls import tensors_in
from weightatlas.degeneracy.wiring.units import OTHER, whole_units
from weightatlas.evaluation.origins import KEPT, MOVED, RESHAPED

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.degeneracy.wiring.calls import Call
    from weightatlas.degeneracy.wiring.units import Units

    Results = list[tuple[int, Units]]
    Rule = Callable[[Call, torch.Tensor, Units], Results | str]

SAME: Final = KEPT - {"detach", "requires_grad"}
"""Functions that give in evaluation what they are given, with its derivative."""

MOVING: Final = (MOVED | RESHAPED) | {
    *("adjoint", "broadcast_to", "cat", "concat", "concatenate", "flip", "gather", "hstack", "index", "movedim"),
    *("moveaxis", "ravel", "repeat", "repeat_interleave", "roll", "stack", "t", "tile", "vstack"),
}
"""Functions that move numbers, or put several tensors beside each other."""

_JOINING: Final = frozenset({"cat", "concat", "concatenate", "hstack", "stack", "vstack"})
"""Those of them that are given no indices: their integers are numbers too."""

AVERAGING: Final = frozenset(
    {*(f"{kind}avg_pool{axes}d" for kind in ("", "adaptive_") for axes in (1, 2, 3)), "interpolate", "upsample"}
)
"""Functions that average over places, channel by channel."""

MAXIMA: Final = frozenset(
    {*(f"{kind}max_pool{axes}d" for kind in ("", "adaptive_") for axes in (1, 2, 3)), "max_pool2d_with_indices"}
)
"""Functions that take the largest of several places, unit by unit: that commutes with positive scales alone."""

REDUCING: Final = frozenset({"mean", "sum"})

SCALING: Final = frozenset({"mul", "div", "true_divide", "neg", "multiply", "divide", "imul", "itruediv", "truediv"})
"""Functions that are linear where the other factor is a number."""

_WORDS: Final = {
    **dict.fromkeys(("add", "iadd", "radd"), "a sum"),
    **dict.fromkeys(("sub", "isub", "rsub"), "a difference"),
    **dict.fromkeys(("mul", "imul", "rmul", "multiply"), "a product"),
    "layer_norm": "a layer norm",
    "rms_norm": "an RMS norm",
    "group_norm": "a group norm",
    "instance_norm": "an instance norm",
    "batch_norm": "a batch norm",
    "softmax": "a softmax",
    "setitem": "an assignment to a part of it",
    "written into": "an assignment to a part of it",
    "linear": "a layer with weights that are computed as it runs",
    "multi_head_attention_forward": "attention",
}


def wording(call: Call) -> str:
    """A function in words, and where it runs."""
    word = _WORDS.get(call.name, f"the function {call.name}")
    return f"{word} (in {call.path})" if call.path else word


def refusal(call: Call) -> str:
    """Why what a function takes is no longer followed."""
    return f"what it gives goes into {wording(call)}"


def moved_by(call: Call) -> list[torch.Tensor]:
    """Those arguments of a function that moves numbers whose numbers it moves: not its indices."""
    given = tensors_in((call.arguments, dict(call.named)))
    return [one for one in given if one.is_floating_point() or one.is_complex() or call.name in _JOINING]


def passed(call: Call, tensor: torch.Tensor, units: Units) -> Results | str:
    """The units in what a function gives, or a sentence that says why they are lost."""
    if not all(one.is_floating_point() for one, _ in call.made):
        return refusal(call)  # rounded, or read as what it is not
    if call.name in SAME:
        is_random = "dropout" in call.name and call.argument(2, "training", call.named.get("train", True))
        return refusal(call) if is_random else [(value, units) for _, value in call.made]
    for names, rule in _RULES:
        if call.name in names:
            return rule(call, tensor, units)
    return refusal(call)


def _moved(call: Call, tensor: torch.Tensor, units: Units) -> Results | str:
    """Call the function once more, on the units' numbers."""
    numbers = {id(one) for one in moved_by(call)}

    def again(own: torch.Tensor) -> torch.Tensor:
        def given(value: Any) -> Any:  # noqa: ANN401 - whatever the function was given
            if value is tensor:
                return own
            return torch.full(value.shape, OTHER, dtype=own.dtype) if id(value) in numbers else value

        arguments, named = torch.utils._pytree.tree_map(  # noqa: SLF001 - torch names no other
            given, (call.arguments, dict(call.named))
        )
        return call.function(*arguments, **named)  # type: ignore[no-any-return]

    if any(isinstance(one, torch.dtype) for one in (*call.arguments, *call.named.values())):
        return refusal(call)  # the bytes of other numbers
    try:
        unit, place = (tensors_in(again(one)) for one in (units.unit, units.place))
    except RuntimeError:  # a view of what is broadcast
        unit, place = (tensors_in(again(one.contiguous())) for one in (units.unit, units.place))
    values = [value for _, value in call.made]
    if not len(unit) == len(values) == len(place):
        return refusal(call)
    found = [replace(units, unit=one, place=other) for one, other in zip(unit, place, strict=True)]
    return [(value, one) for value, one in zip(values, found, strict=True) if bool((one.unit != OTHER).any())]


def _averaged(call: Call, tensor: torch.Tensor, units: Units) -> Results | str:
    """A function that keeps the channels along their axis, the first one behind the examples."""
    axis = units.axis
    (output, value), *others = call.made
    if axis is None or others or output.ndim != tensor.ndim or output.shape[axis] != tensor.shape[axis]:
        return refusal(call)
    if axis >= tensor.ndim - _places(call, tensor):
        return refusal(call)
    mixes = units.mixes and call.name not in MAXIMA
    return [(value, whole_units(output.shape, axis, mixes=mixes))]


def _places(call: Call, tensor: torch.Tensor) -> int:
    """How many of the last axes count places."""
    return int(call.name[-2]) if call.name[-1:] == "d" and call.name[-2:-1].isdigit() else tensor.ndim - 2


def _padded(call: Call, tensor: torch.Tensor, units: Units) -> Results | str:
    """Padding by zeros or by what is there; a constant of another kind is no linear map."""
    mode, value = call.argument(2, "mode", "constant"), call.argument(3, "value", None)
    axis = units.axis
    (output, number), *_ = call.made
    if axis is None or (mode == "constant" and value not in (None, 0)) or output.shape[axis] != tensor.shape[axis]:
        return refusal(call)
    if axis >= tensor.ndim - len(call.argument(1, "pad")) // 2:
        return refusal(call)
    return [(number, whole_units(output.shape, axis, mixes=units.mixes))]


def _reduced(call: Call, tensor: torch.Tensor, units: Units) -> Results | str:
    """A mean or a sum over places."""
    given = call.argument(1, "dim", call.named.get("axis"))
    axis = units.axis
    if axis is None or given is None:
        return refusal(call)
    reduced = {one % tensor.ndim for one in (given if isinstance(given, list | tuple) else [given])}
    if axis in reduced or not reduced:
        return refusal(call)
    kept = [one for one in range(tensor.ndim) if one not in reduced]
    (output, value), *_ = call.made
    where = axis if output.ndim == tensor.ndim else kept.index(axis)
    return [(value, whole_units(output.shape, where, mixes=units.mixes))]


def _scaled(call: Call, tensor: torch.Tensor, units: Units) -> Results | str:
    """A product with a number of Python's, or a quotient by one."""
    if sum(isinstance(one, torch.Tensor) for one in (*call.arguments, *call.named.values())) != 1:
        return refusal(call)  # of another value, or of itself
    if len(call.taken) != 1 or not any(one is tensor for one in call.arguments[:1]):
        other = call.arguments[0] if call.arguments else None
        if len(call.taken) != 1 or not isinstance(other, int | float) or "div" in call.name:
            return refusal(call)
    if call.named.get("rounding_mode") is not None:
        return refusal(call)
    return [(value, replace(units, is_direct=False)) for _, value in call.made]


_RULES: Final[tuple[tuple[frozenset[str], Rule], ...]] = (
    (frozenset(MOVING), _moved),
    (AVERAGING | MAXIMA, _averaged),
    (frozenset({"pad"}), _padded),
    (REDUCING, _reduced),
    (SCALING, _scaled),
)
