"""Parameters in groups whose weights are kept together: of one type, on one device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.change.recording.device_kept import DeviceKept
from weightatlas.change.recording.host_kept import HostKept

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from weightatlas.change.recording.kept import Kept
    from weightatlas.change.recording.watched import Watched

    Members = Mapping[tuple[torch.device, torch.dtype], list[Watched]]

WITHOUT_FLOAT64: Final = ("mps",)
"""Accelerators that cannot add up in float64: what is recorded of them is kept on the host."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Parameters of one type, on one device, and what is kept of them."""

    watched: tuple[Watched, ...]
    kept: Kept


def grouped(
    watched: Iterable[Watched],
    keep_device: torch.device | str | None,
    keep_dtype: torch.dtype | None,
    *,
    median: bool = False,
) -> Members:
    """Give parameters by where and in what type their weights are to be kept.

    Raises:
        ValueError: medians are asked for where they cannot be counted.
    """
    groups: dict[tuple[torch.device, torch.dtype], list[Watched]] = {}
    for each in watched:
        device = each.part.take().device if keep_device is None else torch.device(keep_device)
        if device.type in WITHOUT_FLOAT64:
            device = torch.device("cpu")
        if median and device.type != "cpu":
            message = 'the median is counted on the CPU: give keep_device="cpu", or leave it out'
            raise ValueError(message)
        groups.setdefault((device, keep_dtype or each.dtype), []).append(each)
    return groups


def kept_groups(
    members: Members, *, with_start: bool, with_previous: bool, median: bool, compiled: bool
) -> tuple[Group, ...]:
    """Keep the weights of groups as they are now."""
    groups = []
    for (device, dtype), watched in members.items():
        parts = [each.part for each in watched]
        kept: Kept
        if device.type == "cpu":
            kept = HostKept(parts, dtype=dtype, with_start=with_start, with_previous=with_previous, median=median)
        else:
            kept = DeviceKept(
                parts,
                dtype=dtype,
                device=device,
                with_start=with_start,
                with_previous=with_previous,
                compiled=compiled,
            )
        groups.append(Group(tuple(watched), kept))
    return tuple(groups)
