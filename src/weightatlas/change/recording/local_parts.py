"""What one process holds of a parameter: all of it, its shard, or a part of a flat one; nothing is communicated."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import distributed, nn

from weightatlas.errors import SourceError
from weightatlas.recording.processes import rank_and_world

if TYPE_CHECKING:
    from collections.abc import Iterator


class LocalPart(Protocol):
    """A part of a parameter that this process holds."""

    @property
    def is_sharded(self) -> bool:
        """Whether other processes hold other parts."""

    @property
    def counts(self) -> bool:
        """Whether this process is the one that records the part: of copies one does."""

    def take(self) -> torch.Tensor:
        """Give its values as they are now, without a copy; on each call anew, for the training may move them."""


@dataclass(slots=True, eq=False)
class Whole:
    """A parameter that lies here whole, as it does in data-parallel training; the first process records it.

    Attributes:
        parameter: as it was first seen.
        holder: the module that holds it.
        attribute: its name there.
    """

    parameter: nn.Parameter
    holder: nn.Module
    attribute: str
    is_sharded: bool = False

    @property
    def counts(self) -> bool:
        """Whether this is the first process."""
        return rank_and_world()[0] == 0

    def take(self) -> torch.Tensor:
        """Give the parameter's values; one that stands in its place is followed.

        Raises:
            SourceError: its place holds a shard now.
        """
        now = getattr(self.holder, self.attribute, None)
        if is_dtensor(now):
            problem = "it was sharded after the recorder was made"
            raise SourceError(self.attribute, problem, "make the recorder after fully_shard")
        if isinstance(now, nn.Parameter):
            self.parameter = now
        return self.parameter.detach()


@dataclass(slots=True, eq=False)
class Sharded:
    """A parameter of `fully_shard` or of tensor parallelism (a DTensor): the local shard.

    Of the copies along replicated dimensions of its mesh the first counts.
    """

    parameter: Any
    is_sharded: bool = True

    @property
    def counts(self) -> bool:
        """Whether this process is in the mesh and is the first of those that hold the same."""
        place = self.parameter.device_mesh.get_coordinate()
        placements = self.parameter.placements
        return place is not None and all(
            coordinate == 0 or placement.is_shard() for coordinate, placement in zip(place, placements, strict=True)
        )

    def take(self) -> torch.Tensor:
        """Give the local shard."""
        with torch.no_grad():
            local: torch.Tensor = self.parameter.to_local().detach()
        return local


@dataclass(slots=True, eq=False)
class Flat:
    """A parameter of `FullyShardedDataParallel`: a stretch of the local shard of the flat parameter that holds it."""

    flat: Any
    low: int
    high: int
    counts: bool
    is_sharded: bool = True

    def take(self) -> torch.Tensor:
        """Give the stretch."""
        local: torch.Tensor = getattr(self.flat, "_local_shard", self.flat)
        return local.detach().view(-1)[self.low : self.high]


def local_part(parameter: nn.Parameter, holder: nn.Module, attribute: str) -> LocalPart:
    """Give what this process holds of a parameter of a module."""
    if is_dtensor(parameter):
        return Sharded(parameter)
    return Whole(parameter, holder, attribute)


def is_dtensor(tensor: object) -> bool:
    """Whether a tensor is a DTensor; without loading what defines it, where nothing has."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def flat_parts(module: nn.Module) -> Iterator[tuple[str, tuple[int, ...], bool, Flat]]:
    """Give what lies in the flat parameter of a module that `FullyShardedDataParallel` wraps itself.

    Yields:
        For each parameter its path below the wrapped module, its whole shape, whether it is trained, and the local
        part.
    """
    handle: Any = getattr(module, "_handle", None)
    flat: Any = getattr(handle, "flat_param", None)
    if flat is None or not hasattr(module, "_fsdp_wrapped_module"):
        return
    own = (flat._params or ()) if handle.uses_sharded_strategy else ()  # noqa: SLF001 - torch has no public name for it
    trained = [parameter.requires_grad for parameter in own] or [flat.requires_grad] * len(flat._fqns)  # noqa: SLF001
    counts = _is_first_of_its_copies(module, handle)
    for name, shape, is_trained, (low, high) in zip(
        flat._fqns,  # noqa: SLF001
        flat._shapes,  # noqa: SLF001
        trained,
        _stretches(handle, flat),
        strict=True,
    ):
        yield name, tuple(shape), is_trained, Flat(flat, low, high, counts)


def _stretches(handle: Any, flat: Any) -> Iterator[tuple[int, int]]:  # noqa: ANN401 - torch's private classes
    if not handle.uses_sharded_strategy:
        low = 0
        for view in flat._shapes:  # noqa: SLF001
            yield low, low + view.numel()
            low += view.numel()
        return
    for part in flat._shard_param_infos:  # noqa: SLF001
        yield (part.offset_in_shard, part.offset_in_shard + part.numel_in_shard) if part.in_shard else (0, 0)


def _is_first_of_its_copies(module: nn.Module, handle: Any) -> bool:  # noqa: ANN401
    if not handle.uses_sharded_strategy:
        return rank_and_world()[0] == 0
    between = getattr(module, "_inter_node_pg", None)
    return between is None or distributed.get_rank(between) == 0
