"""The sizes of connections between the units of two layers that follow each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from weightatlas.branching.hidden.kernel_norms import Norm, kernel_norms

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

Array = np.ndarray


def connection_sizes(
    units: int,
    second: torch.Tensor | npt.ArrayLike,
    *,
    norm: Norm = "l2",
    transposed: bool = False,
    group: int | None = None,
) -> Float[Array, "units next_units"]:
    """Reduce the kernels of the second layer to a table of units against units, the first layer's down.

    A layer that reads a flattened map has several weights for a unit, next to each other: they are one kernel. A
    grouped layer gives the table of one of its groups, zero elsewhere.

    Raises:
        ValueError: the channels of the second layer are not the units of the first, or it is depthwise, or it is
            grouped and no group, or none of its groups, is named.
    """
    norms = kernel_norms(second, norm=norm, transposed=transposed).T
    channels, next_units = norms.shape
    if transposed:
        # A grouped transposed convolution is stored (in, out / groups): its groups do not show in its first axis.
        if channels != units:
            message = f"the second layer reads {channels} channels and the first has {units} units"
            raise ValueError(message)
        return norms
    if channels == units:
        _refuse_group(group, "the second layer has no groups")
        return norms
    if channels > units and channels % units == 0:
        _refuse_group(group, "the second layer has no groups")
        places = norms.reshape(units, channels // units, next_units)
        joined: Array = places.sum(axis=1) if norm == "l1" else np.linalg.norm(places, axis=1)
        return joined
    if units % channels:
        message = f"the second layer reads {channels} channels, which are not the {units} units of the first"
        raise ValueError(message)
    return _one_group(norms, units, group)


def _one_group(norms: Array, units: int, group: int | None) -> Array:
    """The table of one group of a grouped convolution."""
    channels, next_units = norms.shape
    groups = units // channels
    if next_units % groups:
        message = f"{next_units} units of the second layer do not divide among {groups} groups"
        raise ValueError(message)
    if channels == 1:
        message = "the second layer is depthwise: each of its units reads one, and no connections are left to compare"
        raise ValueError(message)
    if group is None:
        message = (
            f"the second layer has {groups} groups, which are branches already; "
            f"give group=0 to {groups - 1} to look for branches within one"
        )
        raise ValueError(message)
    if not 0 <= group < groups:
        message = f"group must be 0 to {groups - 1}, not {group}"
        raise ValueError(message)
    width = next_units // groups
    table = np.zeros((units, next_units))
    there = slice(group * width, (group + 1) * width)
    table[group * channels : (group + 1) * channels, there] = norms[:, there]
    return table


def _refuse_group(group: int | None, reason: str) -> None:
    if group is not None:
        message = f"group={group}: {reason}"
        raise ValueError(message)
