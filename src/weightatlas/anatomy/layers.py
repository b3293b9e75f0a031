"""What a layer is: one tensor's place in a network, told from its name and shape or from the module that holds it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from weightatlas.anatomy.kinds import kind_of
from weightatlas.anatomy.roles import roles_of
from weightatlas.anatomy.vocabulary import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from weightatlas.anatomy.vocabulary import Kind, Role


class Described(Protocol):
    """What a header says of a tensor; `checkpoints.TensorInfo` is one."""

    @property
    def name(self) -> str: ...  # noqa: D102 - the attributes are described where they are set
    @property
    def layer(self) -> str: ...  # noqa: D102
    @property
    def parameter(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> str: ...  # noqa: D102
    @property
    def nbytes(self) -> int: ...  # noqa: D102


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
    """Tell kind and role of every tensor from names and shapes alone, in the order given.

    Shapes decide what they can: matrices, kernels, norms beside their running statistics, groups from the channels
    that flow in, squeeze-and-excitation from its two shapes. Names decide between what is left: the matrices of
    attention, embeddings. The order of the file is taken for the order of the network.

    Example:
        >>> from weightatlas.checkpoints import TensorInfo
        >>> stem = TensorInfo("conv1.weight", "conv1", "weight", (64, 3, 7, 7), "float32", 37632, "model.pt")
        >>> [(layer.kind, layer.role) for layer in describe_tensors([stem])]
        [('convolution', 'dense')]
    """
    listed = tuple(tensors)
    siblings: dict[str, dict[str, tuple[int, ...]]] = {}
    for tensor in listed:
        siblings.setdefault(tensor.layer, {})[tensor.parameter] = tensor.shape
    parts = [
        Part(
            tensor.layer,
            tensor.parameter,
            tensor.shape,
            kind_of(
                tensor.layer,
                tensor.parameter,
                tensor.shape,
                siblings[tensor.layer],
                whole_number=is_whole_number(tensor.dtype),
            ),
        )
        for tensor in listed
    ]
    return assemble(listed, parts)


def assemble(tensors: Sequence[Described], parts: Sequence[Part]) -> tuple[Layer, ...]:
    """Join what the headers say of tensors with what has been told of their parts."""
    return tuple(
        Layer(
            layer=tensor.layer,
            tensor=tensor.name,
            parameter=tensor.parameter,
            kind=part.kind,
            role=role,
            shape=tensor.shape,
            dtype=tensor.dtype,
            parameters=math.prod(tensor.shape),
            nbytes=tensor.nbytes,
            skipped=None if math.prod(tensor.shape) else "it has no elements",
        )
        for tensor, part, role in zip(tensors, parts, roles_of(parts), strict=True)
    )


def is_whole_number(dtype: str) -> bool:
    """Whether a dtype, by torch's name, holds integers or truth values."""
    return dtype.startswith(("int", "uint", "bool", "qint", "quint"))
