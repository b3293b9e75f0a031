"""What a layer is: one tensor's place in a network, told from its name and shape or from the module that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["convolution", "linear", "embedding", "norm", "bias", "buffer", "other"]

Role = Literal[
    "dense",  # convolution over space and all channels
    "depthwise",  # one input channel a filter
    "grouped",  # some input channels a filter
    "pointwise",  # 1 x 1
    "pointwise-linear",  # 1 x 1 projection that follows a depthwise convolution, with no activation after it
    "squeeze-excite-reduce",
    "squeeze-excite-expand",
    "linear",
    "attention-q",
    "attention-k",
    "attention-v",
    "attention-qkv",  # fused, or any two of the three
    "attention-o",
    "embedding",
    "norm",
    "bias",
    "statistic",  # a running mean, a counter: moved by data, not by gradients
    "other",
]


class Described(Protocol):
    """What a header says of a tensor; `checkpoints.TensorInfo` is one."""

    @property
    def name(self) -> str: ...
    @property
    def layer(self) -> str: ...
    @property
    def parameter(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Layer:
    """One tensor of a network and what it is for.

    Attributes:
        layer: module path without wrappers; the key of every command.
        tensor: the full name in the file.
        parameter: "weight", "bias", "running_mean", ...
        kind: what the tensor is.
        role: what it is for.
        shape: convolution kernels as (out, in / groups, h, w).
        dtype: torch's name.
        parameters: number of elements.
        nbytes: size in the file.
        skipped: why it cannot be measured, or None.
    """

    layer: str
    tensor: str
    parameter: str
    kind: Kind
    role: Role
    shape: tuple[int, ...]
    dtype: str
    parameters: int
    nbytes: int
    skipped: str | None = None


def describe_tensors(tensors: Iterable[Described]) -> tuple[Layer, ...]:
    """Tell kind and role of every tensor from names and shapes alone, in the order given."""
    raise NotImplementedError
