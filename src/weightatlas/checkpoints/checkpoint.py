"""What every source of weights becomes: a read-only mapping of tensor name to tensor, read on access."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from weightatlas.anatomy.layers import Layer, describe_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What a header says of one tensor, known without reading it.

    Attributes:
        name: the full name in the file.
        layer: the module path it belongs to, wrappers undone; the key every command uses.
        parameter: the last part of its canonical name: "weight", "bias", "running_mean", ...
        shape: as read: convolution kernels (out, in, h, w), matrices (out, in).
        dtype: torch's name without "torch.": "float32", "bfloat16", "float8_e4m3fn".
        nbytes: its size in the file.
        file: the file that holds it, or the name of the live model.
    """

    name: str
    layer: str
    parameter: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    file: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in a source that is no tensor that can be read, and why."""

    name: str
    reason: str


class Checkpoint(Mapping[str, "torch.Tensor"]):
    """The tensors of a file, a folder, a live model or a zoo's network, by their full names, read on access.

    Attributes:
        source: the name the user gave.
        file_format: what the source is, for readers: "safetensors, 3 files".
        info: what the header says of each tensor, without reading it.
        metadata: text the file carries about itself.
        skipped: what is in the file and cannot be read as a tensor, with the reason.
        notes: what was undone or assumed on the way in: wrappers, layouts; one sentence each.
    """

    def __init__(
        self,
        source: str,
        info: Sequence[TensorInfo],
        read: Callable[[TensorInfo], torch.Tensor],
        *,
        parts: Callable[[TensorInfo], Callable[[int, int], torch.Tensor]] | None = None,
        is_mapped: Callable[[TensorInfo], bool] | None = None,
        reopen: Callable[[], Checkpoint] | None = None,
        file_format: str = "",
        metadata: Mapping[str, str] | None = None,
        skipped: Sequence[Skipped] = (),
        notes: Sequence[str] = (),
    ) -> None:
        """Hold the headers.

        `read` fetches one tensor, mapped from the file where the format allows it; `parts` gives what fetches its
        elements from one to another, flat, where that is cheaper; `is_mapped` says where those cost no memory;
        `reopen`, which pickles, opens it once more.
        """
        self.source = source
        self.file_format = file_format
        self.info: Mapping[str, TensorInfo] = {tensor.name: tensor for tensor in info}
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.skipped = tuple(skipped)
        self.notes = tuple(notes)
        self._read = read
        self._parts = parts or self._slices
        self._is_mapped = is_mapped
        self._reopen = reopen

    def __getitem__(self, name: str) -> torch.Tensor:
        """Read one tensor."""
        return self._read(self.info[name])

    def __iter__(self) -> Iterator[str]:
        """Go through the names in the order of the file; where that is the order of text, layer 2 before layer 10."""
        return iter(self.info)

    def __len__(self) -> int:
        """Count the tensors."""
        return len(self.info)

    def __contains__(self, name: object) -> bool:
        """Say whether there is a tensor of that name, without reading it."""
        return name in self.info

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Kind and role of every tensor, told from names and shapes."""
        return describe_tensors(self.info.values())

    def is_mapped(self, name: str) -> bool:
        """Say whether parts of a tensor are mapped from this disk: they cost no memory, however many are held."""
        return self._is_mapped is not None and self._is_mapped(self.info[name])

    def parts(self, name: str) -> Callable[[int, int], torch.Tensor]:
        """Give what fetches a tensor's elements from one to another, flat.

        Where they lie plainly in a file each part is mapped alone, and behind a URL fetched alone. Else the whole
        tensor is read here, once.
        """
        return self._parts(self.info[name])

    def chunks(self, name: str, size: int) -> Iterator[torch.Tensor]:
        """Yield a tensor flat, `size` elements at a time (the last may be shorter).

        Where the elements lie plainly in a file each chunk is mapped alone, and behind a URL fetched alone, so that a
        tensor larger than memory can be gone through.

        Raises:
            ValueError: `size` is not positive.
        """
        if size < 1:
            message = f"size must be positive, not {size}"
            raise ValueError(message)
        total = math.prod(self.info[name].shape)
        fetch = self.parts(name)
        for start in range(0, total, size):
            yield fetch(start, min(start + size, total))

    def _slices(self, tensor: TensorInfo) -> Callable[[int, int], torch.Tensor]:
        flat = self._read(tensor).reshape(-1)
        return lambda start, stop: flat[start:stop]

    def __reduce__(self) -> tuple[Callable[[], Checkpoint], tuple[()]]:
        """Travel to another process as the name of the source, which is opened there.

        Raises:
            TypeError: the weights are in memory alone.
        """
        if self._reopen is None:
            message = f"{self.source}: weights that lie in no file do not travel to another process; save them first"
            raise TypeError(message)
        return self._reopen, ()

    def __repr__(self) -> str:
        """Say what is open, not what is in it."""
        return f"Checkpoint({self.source!r}, {len(self)} tensors)"
