"""Where every tensor of a run is: in which of its checkpoints, under which name, with which shape."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from weightatlas.result import cell_text
from weightatlas.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from weightatlas.anatomy.layers import Layer
    from weightatlas.checkpoints import Checkpoint, TensorInfo

Tensors = Literal["weights", "all"]
"""Every parameter with two axes or more, as the paper measures, or every tensor that holds floating-point numbers."""

NOT_WEIGHTS: Final = frozenset({"norm", "bias", "buffer"})

NEW: Final = "new in this checkpoint"


@dataclass(frozen=True, slots=True)
class Lineage:
    """One tensor over the checkpoints of a run.

    Attributes:
        layer: module path.
        parameter: "weight", "in_proj_weight", ...
        role: what it is for.
        shape: of the latest checkpoint that has it.
        names: its full name in each checkpoint; None where it cannot be compared there.
        reasons: by the position of a checkpoint, why it cannot be compared with the one before.
    """

    layer: str
    parameter: str
    role: str
    shape: tuple[int, ...]
    names: tuple[str | None, ...]
    reasons: Mapping[int, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What it is called in journals."""
        return f"{self.layer}|{self.parameter}"

    @property
    def tensor(self) -> str:
        """Its full name, in the latest checkpoint that has it."""
        return next((name for name in reversed(self.names) if name is not None), self.layer)

    @property
    def pairs(self) -> tuple[int, ...]:
        """The positions of the checkpoints that can be compared with the one before."""
        names = self.names
        return tuple(
            place
            for place in range(1, len(names))
            if names[place - 1] is not None and names[place] is not None and self.elements
        )

    @property
    def elements(self) -> int:
        """How many it has."""
        return math.prod(self.shape)


def lineages(checkpoints: Sequence[Checkpoint], tensors: Tensors) -> tuple[list[Lineage], list[str]]:
    """Follow every tensor through the checkpoints, in the order of the latest network; and say what was left out.

    A tensor is described, and its shape told, by the latest checkpoint that has it in floating-point numbers.
    """
    places = [{(info.layer, info.parameter): info for info in checkpoint.info.values()} for checkpoint in checkpoints]
    described: dict[tuple[str, str], Layer] = {}
    left_out: dict[tuple[str, str], Layer] = {}
    seen: set[tuple[tuple[str, str], tuple[int, ...], str]] = set()
    for checkpoint, place in zip(reversed(checkpoints), reversed(places), strict=True):
        here = {(key, info.shape, info.dtype) for key, info in place.items()}
        if here <= seen:
            continue
        seen |= here
        for layer in checkpoint.layers:
            key = (layer.layer, layer.parameter)
            known = described if _is_wanted(layer, tensors) else left_out
            known.setdefault(key, layer)
    found = [_lineage(layer, [place.get(key) for place in places]) for key, layer in described.items()]
    return found, _notes(left_out.keys() - described.keys(), tensors)


def _lineage(layer: Layer, infos: Sequence[TensorInfo | None]) -> Lineage:
    """Only what has the latest shape, and holds floating-point numbers, is compared; the rest says why not."""
    reasons = {}
    for index in range(1, len(infos)):
        reason = _reason(layer, infos[index - 1], infos[index])
        if reason == NEW and any(infos[:index]):
            reason = "not in the checkpoint before"
        if reason is not None:
            reasons[index] = reason
    names = [info.name if info and info.shape == layer.shape and _is_floating(info.dtype) else None for info in infos]
    return Lineage(layer.layer, layer.parameter, layer.role, layer.shape, tuple(names), reasons)


def _reason(layer: Layer, before: TensorInfo | None, after: TensorInfo | None) -> str | None:
    """Why a tensor cannot be compared with the checkpoint before."""
    if after is None:
        return "not in this checkpoint"
    if before is None:
        return NEW
    for info, when in ((after, "here"), (before, "in the checkpoint before")):
        if not _is_floating(info.dtype):
            return f"it is of type {info.dtype} {when}, which is no floating-point number"
    if after.shape != before.shape:
        return f"its shape changed from {cell_text(before.shape)} to {cell_text(after.shape)}"
    if after.shape != layer.shape:
        return f"its shape is {cell_text(after.shape)}, later {cell_text(layer.shape)}"
    return None if math.prod(after.shape) else "it has no elements"


def _is_floating(dtype: str) -> bool:
    return dtype.startswith(("float", "bfloat"))


def _is_wanted(layer: Layer, tensors: Tensors) -> bool:
    if not _is_floating(layer.dtype):
        return False
    return tensors == "all" or (len(layer.shape) > 1 and layer.kind not in NOT_WEIGHTS)


def _notes(left_out: Collection[tuple[str, str]], tensors: Tensors) -> list[str]:
    if not left_out:
        return []
    what = counted(len(left_out), "tensor")
    if tensors == "all":
        return [f"{what} left out: they hold no floating-point numbers"]
    return [f"{what} left out: biases, norms, running statistics (tensors=all measures them, too)"]
