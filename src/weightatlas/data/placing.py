"""Where the pixels of an augmented image are read: copied from whole places, or sampled between them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from weightatlas.data.moving import moved


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """What is done to each of n images, float64 (n,) on the CPU, but for `mirrored`.

    Attributes:
        top: first row of the part that is cut out.
        left: its first column.
        height: how many rows the part has.
        width: how many columns.
        down: how far the part is moved, in pixels of the output.
        right: the same to the right.
        mirrored: whether it is mirrored left-right before it is moved, bool (n,).
        angle: what it is turned by after that, about its middle, in radians counter-clockwise.
    """

    top: torch.Tensor
    left: torch.Tensor
    height: torch.Tensor
    width: torch.Tensor
    down: torch.Tensor
    right: torch.Tensor
    mirrored: torch.Tensor
    angle: torch.Tensor


def copied(images: torch.Tensor, placement: Placement, size: tuple[int, int]) -> torch.Tensor:
    """Read images whose placements are whole: parts of the output's size, moved by whole pixels and not turned.

    Args:
        images: (n, channels, height, width) of any dtype.
        placement: of each.
        size: height and width of the output.

    Returns:
        (n, channels, *size), the same dtype and device.
    """
    count, channels, height, width = images.shape
    top = placement.top - placement.down
    last = placement.left + placement.right + size[1] - 1
    left = torch.where(placement.mirrored, last, placement.left - placement.right)
    step = torch.where(placement.mirrored, -1.0, 1.0)
    top, left, step = moved(torch.stack([top, left, step]).long(), images.device)[:, :, None].unbind()
    rows = _reflected(top + torch.arange(size[0], device=images.device), height)
    columns = _reflected(left + step * torch.arange(size[1], device=images.device), width)
    # One flat index for all channels: five times as fast as indexing by four broadcast tensors.
    flat = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)[:, None].expand(-1, channels, -1)
    return images.flatten(2).gather(2, flat).reshape(count, channels, *size)


def sampled(images: torch.Tensor, placement: Placement, size: tuple[int, int]) -> torch.Tensor:
    """Read images bilinearly, each under one map of places; bytes are rounded.

    Args:
        images: (n, channels, height, width), bytes or floating point.
        placement: of each.
        size: height and width of the output.

    Returns:
        (n, channels, *size), the same dtype and device.
    """
    maps = moved(_maps(placement, size).float(), images.device)
    rows, columns = torch.meshgrid(*(torch.arange(side, device=images.device) for side in size), indexing="ij")
    places = torch.stack([columns, rows, torch.ones_like(rows)]).flatten(1).to(maps.dtype)
    last = torch.tensor([max(side - 1, 1) for side in (images.shape[3], images.shape[2])], dtype=maps.dtype)
    grid = ((maps @ places).mT * moved(2 / last, images.device) - 1).reshape(
        len(images), *size, 2
    )  # -1 to 1 from first to last pixel
    pixels = images if images.is_floating_point() else images.float()
    read = functional.grid_sample(pixels, grid.to(pixels.dtype), padding_mode="reflection", align_corners=True)
    return read if images.is_floating_point() else read.round_().to(images.dtype)


def _maps(placement: Placement, size: tuple[int, int]) -> torch.Tensor:
    """The maps from (column, row, 1) of the output to column and row of the image, float64 (n, 2, 3)."""
    tall, wide = size
    zero = torch.zeros_like(placement.top)
    across, along = placement.width / wide, placement.height / tall
    # Pixels are unit squares: the edge of the part is half a pixel before the middle of its first.
    window = _map(across, zero, placement.left + (across - 1) / 2, zero, along, placement.top + (along - 1) / 2)
    sign = torch.where(placement.mirrored, -1.0, 1.0).to(zero)
    flip = _map(sign, zero, (1 - sign) / 2 * (wide - 1), zero, zero + 1, zero)
    shift = _map(zero + 1, zero, -placement.right, zero, zero + 1, -placement.down)
    # Rows count downwards: counter-clockwise to the eye, the output reads from places turned clockwise.
    cos, sin = placement.angle.cos(), placement.angle.sin()
    x, y = (wide - 1) / 2, (tall - 1) / 2
    turn = _map(cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)
    return (window @ flip @ shift @ turn)[:, :2]


def _map(*entries: torch.Tensor) -> torch.Tensor:
    """Affine maps (n, 3, 3) of their six entries (n,), row by row."""
    maps = entries[0].new_zeros(len(entries[0]), 3, 3)
    maps[:, :2] = torch.stack(entries, dim=1).reshape(-1, 2, 3)
    maps[:, 2, 2] = 1
    return maps


def _reflected(places: torch.Tensor, length: int) -> torch.Tensor:
    """Places beyond the first or last of `length`, mirrored about it."""
    return (length - 1) - ((length - 1) - places.abs()).abs()
