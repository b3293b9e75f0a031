"""The words for a layer: its kind, its role, and the part of it that the rules of this room look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor as the rules for roles see it.

    Attributes:
        layer: module path.
        parameter: the tensor's name within its module.
        shape: as stored.
        kind: what the tensor is, already told.
        groups: of a convolution, where its module says so; None where only the shape is known.
        activated: whether a nonlinearity follows before the next weights, where the modules say so.
        gated: whether the module around it ends in a sigmoid, as squeeze-and-excitation does, where the modules say so.
    """

    layer: str
    parameter: str
    shape: tuple[int, ...]
    kind: Kind
    groups: int | None = None
    activated: bool | None = None
    gated: bool = False

    @property
    def is_weight(self) -> bool:
        """Whether channels are mixed here: a convolution or a matrix."""
        return self.kind in ("convolution", "linear")

    @property
    def pointwise(self) -> bool:
        """Whether it sees one position at a time: a matrix, or a kernel of extent 1."""
        return all(extent == 1 for extent in self.shape[2:])
