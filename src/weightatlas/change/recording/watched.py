"""The parameters of a model in training that are recorded, named as a survey of its checkpoints names them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from weightatlas.change.recording.local_parts import LocalPart, flat_parts, local_part
from weightatlas.checkpoints import Skipped, open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weightatlas.anatomy import Layer

WRAPPED: Final = "_fsdp_wrapped_module"
"""The name under which `FullyShardedDataParallel` holds what it wraps."""

Tensors = Literal["weights", "all"]
"""Which parameters: those of more than one dimension, as the paper has it, or all."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """One parameter that is recorded.

    Attributes:
        layer: module path, wrappers undone.
        tensor: its full name in the model's state dict.
        role: what it is for, as `anatomy` tells it.
        shape: of all of it.
        dtype: of its values.
        part: what this process holds.
    """

    layer: str
    tensor: str
    role: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    part: LocalPart

    @property
    def parameters(self) -> int:
        """How many elements all of it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What of a model is recorded.

    Attributes:
        watched: in the order of the network.
        skipped: parameters that are not, with the reasons; biases and norms that were not asked for are not named.
        notes: what was undone in the names.
    """

    watched: tuple[Watched, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """A name of its own for each: the module path, or the full name where a module has several."""
        often = Counter(each.layer for each in self.watched)
        return tuple(each.layer if often[each.layer] == 1 else each.tensor for each in self.watched)


class _Found(NamedTuple):
    shape: tuple[int, ...]
    dtype: torch.dtype
    trained: bool
    part: LocalPart | None
    problem: str | None = None


def watched(model: nn.Module, *, tensors: Tensors = "weights", frozen: bool = False) -> Selection:
    """Choose the parameters of a model to record.

    A parameter under several names is recorded once, under the first. Nothing is read, copied or communicated.

    Args:
        model: plain, compiled, in DistributedDataParallel, or sharded by `fully_shard` or `FullyShardedDataParallel`.
        tensors: "weights", those of more than one dimension, or "all".
        frozen: record those too that require no gradient now.
    """
    found = _parameters(model)
    stand_ins = {name: _stand_in(entry) for name, entry in found.items()} | dict(_buffers(model))
    checkpoint = open_checkpoint(stand_ins) if stand_ins else None
    chosen: list[Watched] = []
    skipped: list[Skipped] = []
    for layer in checkpoint.layers if checkpoint is not None else ():
        entry = found.get(layer.tensor)
        if entry is None or (tensors == "weights" and len(layer.shape) < 2):
            continue
        reason = entry.problem or _reason(entry, layer, frozen=frozen)
        if reason is None and entry.part is not None:
            chosen.append(Watched(layer.layer, layer.tensor, layer.role, entry.shape, entry.dtype, entry.part))
        elif reason is not None:
            skipped.append(Skipped(layer.tensor, reason))
    return Selection(tuple(chosen), tuple(skipped), checkpoint.notes if checkpoint is not None else ())


def _parameters(model: nn.Module) -> dict[str, _Found]:
    """The parameters of a model by their full names, those in flat ones under their own."""
    found: dict[str, _Found] = {}
    seen: set[int] = set()
    flat: set[int] = set()
    for path, module in model.named_modules():
        for name, shape, trained, part in flat_parts(module):
            found[f"{path}.{name}" if path else name] = _Found(shape, part.flat.dtype, trained, part)
            flat |= {id(part.flat), *(id(parameter) for parameter in part.flat._params or ())}  # noqa: SLF001
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in seen and id(parameter) not in flat:
                seen.add(id(parameter))
                found[f"{path}.{name}" if path else name] = _described(parameter, module, name)
    return _in_order_of_modules(model, found) if flat else found


def _in_order_of_modules(model: nn.Module, found: dict[str, _Found]) -> dict[str, _Found]:
    """What lies in flat parameters among the rest: a flat one of a whole network stands before those of its parts."""
    places: dict[str, int] = {}
    for place, (path, _) in enumerate(model.named_modules()):
        places.setdefault(_without_wrappers(path), place)
    return dict(sorted(found.items(), key=lambda item: places[_without_wrappers(item[0].rpartition(".")[0])]))


def _without_wrappers(path: str) -> str:
    return ".".join(part for part in path.split(".") if part != WRAPPED)


def _described(parameter: nn.Parameter, module: nn.Module, name: str) -> _Found:
    problem = None
    whole: Any = parameter  # what frameworks add to it is not known to type checkers
    if is_lazy(whole):
        return _Found((1, 1), torch.float32, True, None, "it has no shape yet: run one batch, then record")
    if hasattr(whole, "ds_tensor"):
        return _Found(tuple(whole.ds_shape), parameter.dtype, True, None, "DeepSpeed keeps its values elsewhere")
    if parameter.is_meta:
        problem = "on the meta device: it has a shape and no values"
    elif not parameter.dtype.is_floating_point:
        problem = f"its values are {str(parameter.dtype).removeprefix('torch.')}"
    part = local_part(parameter, module, name)
    return _Found(tuple(parameter.shape), parameter.dtype, parameter.requires_grad, part, problem)


def _reason(entry: _Found, layer: Layer, *, frozen: bool) -> str | None:
    if layer.skipped is not None:
        return layer.skipped
    return None if entry.trained or frozen else "frozen: it requires no gradient"


def _stand_in(entry: _Found) -> torch.Tensor:
    """A tensor of the same shape and type without memory of its own."""
    return torch.empty((), dtype=entry.dtype).expand(entry.shape)


def _buffers(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Buffers of the state dict: roles are told from what lies beside them."""
    for path, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set and buffer.layout == torch.strided:  # noqa: SLF001
                full = f"{path}.{name}" if path else name
                yield full, torch.empty((), dtype=buffer.dtype).expand(tuple(buffer.shape))
