"""A value of a run by the slots of the parameters that its numbers move with, and what calls do to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn import functional

from weightatlas.degeneracy.wiring.calls import tensors_in
from weightatlas.degeneracy.wiring.slots import ABSENT, Part
from weightatlas.degeneracy.wiring.units import Units, whole_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.degeneracy.wiring.calls import Call, Run


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """A value of the run.

    Attributes:
        slots: int64, of its shape: the slot that each number moves with; of a parameter by itself its own numbers.
        units: the channel and the place of each number.
        constants: the maps whose bias each number holds once, with the calls since that are no mere moves.
        parameter: its name, where it is a parameter that was moved only.
    """

    slots: torch.Tensor
    units: Units
    constants: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    parameter: str | None = None

    def marked(self, number: int) -> Flow:
        """After a call that changes constants."""
        return replace(self, constants={key: (*path, number) for key, path in self.constants.items()})


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What adds a constant to a value: a map with a bias or, where that is missing, the one that it would have.

    Attributes:
        part: the slots of what it gives.
        bias: the parameter that a constant is added to; None where there is none.
        is_table: whether that is an embedding, all of whose rows move.
    """

    part: Part
    bias: str | None
    is_table: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """A call that takes constants.

    Attributes:
        number: of the call.
        reader: the map that reads them, by its weight; None where they cannot be followed.
        constants: of what it takes, as in `Flow`.
        is_direct: whether a constant that is read is one that is given.
    """

    number: int
    reader: str | None
    constants: Mapping[str, tuple[int, ...]]
    is_direct: bool


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of a batch norm in evaluation mode: names of its shifts, mean and variance, and its epsilon."""

    bias: str | None
    mean: str
    variance: str
    epsilon: float


def moved(call: Call, given: Sequence[torch.Tensor], flows: Mapping[int, Flow | None]) -> list[tuple[int, Flow]] | None:
    """The values that a call makes of others by moving their numbers; None where that cannot be told.

    Args:
        call: the call.
        given: its arguments of numbers.
        flows: what is known of each, by its identity.
    """
    if any(isinstance(one, torch.dtype) for one in (*call.arguments, *call.named.values())):
        return None  # the bytes of other numbers
    offsets, start = {}, 0
    for key, flow in flows.items():
        offsets[key] = start
        start += 0 if flow is None else int(flow.units.place.max()) + 1
    none = {id(one): torch.full(one.shape, ABSENT) for one in given}
    known = {key: flow for key, flow in flows.items() if flow is not None}
    slots = _again(call, none | {key: flow.slots for key, flow in known.items()})
    unit = _again(call, none | {key: flow.units.unit.long() for key, flow in known.items()})
    place = _again(call, none | {key: flow.units.place.long() + offsets[key] for key, flow in known.items()})
    if not len(slots) == len(unit) == len(place) == len(call.made):
        return None
    constants: dict[str, tuple[int, ...]] = {}
    for number, flow in known.items():
        for name, path in flow.constants.items():
            beside = (call.number, offsets[number]) if len(flows) > 1 else ()  # they are in a part of the value only
            constants[name] = (*constants.get(name, ()), *path, *beside)
    mixes = all(flow.units.mixes for flow in known.values())
    parameter = next(iter(known.values())).parameter if len(flows) == 1 else None
    return [
        (value, Flow(own, Units(one.to(torch.int32), other.to(torch.int32), mixes), constants, parameter))
        for (_, value), own, one, other in zip(call.made, slots, unit, place, strict=True)
    ]


def _again(call: Call, own: Mapping[int, torch.Tensor]) -> list[torch.Tensor]:
    """Call a function that moves numbers once more, on others."""

    def given(value: Any) -> Any:  # noqa: ANN401 - whatever the function was given
        return own.get(id(value), value) if isinstance(value, torch.Tensor) else value

    arguments, named = torch.utils._pytree.tree_map(given, (call.arguments, dict(call.named)))  # noqa: SLF001 - torch names no other
    try:
        return tensors_in(call.function(*arguments, **named))
    except RuntimeError:  # a view of what is broadcast
        if all(one.is_contiguous() for one in own.values()):
            raise
        return _again(call, {key: one.contiguous() for key, one in own.items()})


def either(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The slots of one value, and of another one where these are absent."""
    return torch.where(first == ABSENT, second, first)


def spread(units: Units, shape: torch.Size) -> Units:
    """Units after broadcasting."""
    axis = units.axis
    if axis is not None:
        return whole_units(shape, axis - units.unit.ndim, mixes=units.mixes)
    return replace(units, unit=units.unit.expand(shape), place=units.place.expand(shape), mixes=False)


def rows_of(slots: torch.Tensor) -> torch.Tensor:
    """All different rows along the last axis, and perhaps some again."""
    for axis in range(slots.ndim - 1):
        if slots.stride(axis) == 0:
            slots = slots.narrow(axis, 0, min(1, slots.shape[axis]))
    return slots.reshape(-1, slots.shape[-1])


def is_unpadded(call: Call) -> bool:
    """Whether a convolution reads nothing beside its input."""
    padding = call.argument(4, "padding", 0)
    if "transpose" in call.name:
        return False
    values = padding if isinstance(padding, list | tuple) else (padding,)
    return all(one in {0, "valid"} for one in values)


_RUNNING: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "batch_norm": (
        ("running_mean", "running_var", "weight", "bias"),
        ("weight", "bias", "running_mean", "running_var"),
    ),
    "layer_norm": (("", "weight", "bias"),) * 2,
    "rms_norm": (("", "weight"),) * 2,
    "group_norm": (("", "weight", "bias"),) * 2,
}
_RUNNING["instance_norm"] = _RUNNING["batch_norm"]


def norm_arguments(call: Call, run: Run) -> tuple[dict[str, str | None], dict[str, Any]]:
    """Names of the running statistics, None where the batch's are taken; and the scales and shifts."""
    order = _RUNNING[call.name][0 if call.function in (functional.batch_norm, functional.instance_norm) else 1]
    found = {name: call.argument(place, name) for place, name in enumerate(order, start=1) if name}
    training = call.argument(5, "training", default=False)
    names = {
        key: None if training or found.get(key) is None else run.name_of(call, found[key])
        for key in ("running_mean", "running_var")
    }
    return names, {key: found.get(key) for key in ("weight", "bias")}
