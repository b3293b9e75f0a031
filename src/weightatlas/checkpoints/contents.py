"""What a format finds in a source, before wrappers are undone and arrays are laid out: headers, and where bytes lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from weightatlas.checkpoints.checkpoint import Skipped
    from weightatlas.checkpoints.places.blob import Blob

Layout = Literal["oihw", "hwio"]


@dataclass(frozen=True, slots=True)
class Span:
    """Where a tensor's elements lie as plain bytes, so that it can be mapped, or fetched in ranges.

    Attributes:
        blob: what holds them.
        offset: the byte of its first element.
        strides: steps between elements along each axis, in elements; None is C order.
        big_endian: whether the bytes of an element are in network order.
    """

    blob: Blob
    offset: int
    strides: tuple[int, ...] | None = None
    big_endian: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """One tensor as its format stores it.

    Attributes:
        name: the full name in the file.
        key: module path and parameter with dots between, wrappers still on.
        shape: as stored.
        dtype: torch's name without "torch.".
        nbytes: its size in the file.
        file: the file that holds it, or the name of the live model.
        span: where its bytes lie, if they lie plainly in one place; else `Contents.read` fetches it.
        axes: the permutation that turns the stored array into torch's order, or None where it is in that order.
        merge: the shape to take after the permutation (a depthwise kernel's in * multiplier), or None.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    file: str
    span: Span | None = None
    axes: tuple[int, ...] | None = None
    merge: tuple[int, ...] | None = None


def _nothing(name: str) -> torch.Tensor:
    message = f"no way to read {name!r}"
    raise KeyError(message)


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a format finds.

    Attributes:
        format: what the source is, for readers: "safetensors, 3 files".
        headers: in the order of the file.
        read: one tensor as stored, by its full name, where its header has no span.
        metadata: text the file carries about itself.
        skipped: what is there and is no tensor that can be read.
        notes: what was undone or assumed, one sentence each.
        fixed_layout: the format says itself how its arrays are laid out; nothing is left to assume.
        in_order: the headers stand in the order of the network, whatever their names look like.
    """

    format: str
    headers: Sequence[Header]
    read: Callable[[str], torch.Tensor] = _nothing
    metadata: Mapping[str, str] = field(default_factory=dict)
    skipped: Sequence[Skipped] = ()
    notes: Sequence[str] = ()
    fixed_layout: bool = False
    in_order: bool = False
