"""The same account of a network from its modules, which know what shapes and names only suggest."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from torch import nn

from weightatlas.anatomy.kinds import kind_of
from weightatlas.anatomy.layers import Layer, assemble
from weightatlas.anatomy.vocabulary import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from weightatlas.anatomy.vocabulary import Kind

_CONVOLUTIONS: Final = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_NORMS: Final = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)  # noqa: SLF001 - no public base
_NORM_NAME: Final = re.compile(r"(Batch|Layer|RMS|Group|Instance)_?Norm|Norm$|^RMSNorm")
_ACTIVATION_NAME: Final = re.compile(
    r"(ReLU6?|[CS]?ELU|GELU\w*|SiLU|Swish|HardSwish|Mish|Tanh|Sigmoid|Softplus|Activation|GLU)$", re.IGNORECASE
)
_GATE_NAME: Final = re.compile(r"sigmoid$", re.IGNORECASE)


class _Tensor(NamedTuple):
    """What a state dict says of one tensor; a `Described`."""

    name: str
    layer: str
    parameter: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


def describe_model(model: nn.Module) -> tuple[Layer, ...]:
    """Tell kind and role of every tensor of a model from its modules, in the order of its state dict.

    Kinds come from module types and the number of groups from the convolutions. Linear projections are told from the
    activation that does not follow. What no type says, attention's matrices and squeeze-and-excitation, is told by the
    rules of `describe_tensors`. Tensors of modules that are not torch's own are told by those rules as well.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4))
        >>> [layer.role for layer in describe_model(network) if layer.kind == "convolution"]
        ['depthwise', 'pointwise-linear']
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
    tensors = [_tensor(name, value) for name, value in model.state_dict().items()]
    siblings: dict[str, dict[str, tuple[int, ...]]] = {}
    for tensor in tensors:
        siblings.setdefault(tensor.layer, {})[tensor.parameter] = tensor.shape
    activated = _activated(modules)
    parts = [
        _part(tensor, modules, siblings[tensor.layer], activated, is_buffer=tensor.name in buffers)
        for tensor in tensors
    ]
    return assemble(tensors, parts)


def _tensor(name: str, value: torch.Tensor) -> _Tensor:
    path, _, parameter = name.rpartition(".")
    nbytes = value.numel() * value.element_size()
    return _Tensor(name, path or name, parameter, tuple(value.shape), str(value.dtype).removeprefix("torch."), nbytes)


def _part(
    tensor: _Tensor,
    modules: Mapping[str, nn.Module],
    siblings: Mapping[str, tuple[int, ...]],
    activated: Mapping[str, bool | None],
    *,
    is_buffer: bool,
) -> Part:
    path = tensor.name.rpartition(".")[0]
    module = modules.get(path)
    holder = modules.get(path.rpartition(".")[0])
    groups = module.groups if isinstance(module, _CONVOLUTIONS) else None
    shape = tensor.shape
    if (
        module is not None
        and groups is not None
        and "Transpose" in type(module).__name__
        and tensor.parameter == "weight"
    ):
        # Stored as (in, out / groups, ...); the rules read (out, in / groups, ...).
        shape = (shape[1] * groups, shape[0] // groups, *shape[2:])
    return Part(
        tensor.layer,
        tensor.parameter,
        shape,
        _kind(tensor, module, siblings, is_buffer=is_buffer),
        groups=groups,
        activated=activated.get(path),
        gated=holder is not None and any(_GATE_NAME.search(type(child).__name__) for child in holder.children()),
    )


def _kind(
    tensor: _Tensor, module: nn.Module | None, siblings: Mapping[str, tuple[int, ...]], *, is_buffer: bool
) -> Kind:
    if is_buffer:
        return "buffer"
    told = _kind_of_module(module) if tensor.parameter == "weight" and module is not None else None
    return told or kind_of(tensor.layer, tensor.parameter, tensor.shape, siblings, whole_number=False)


def _kind_of_module(module: nn.Module) -> Kind | None:
    name = type(module).__name__
    kinds: tuple[tuple[bool, Kind], ...] = (
        (isinstance(module, _CONVOLUTIONS), "convolution"),
        (isinstance(module, nn.Linear) or name == "Conv1D", "linear"),  # transformers' Conv1D is a matrix, (in, out)
        (isinstance(module, nn.Embedding | nn.EmbeddingBag), "embedding"),
        (isinstance(module, _NORMS) or bool(_NORM_NAME.search(name)), "norm"),
        (isinstance(module, nn.PReLU), "other"),
    )
    return next((kind for matches, kind in kinds if matches), None)


def _activated(modules: Mapping[str, nn.Module]) -> dict[str, bool | None]:
    """Whether an activation follows each convolution before the next one in its block, by the order of registration.

    None where the block has no activation module at all: its code may then call a function instead.
    """
    leaves = [(name, module) for name, module in modules.items() if not any(module.children())]
    weighted = [index for index, (_, module) in enumerate(leaves) if isinstance(module, (*_CONVOLUTIONS, nn.Linear))]
    holders = Counter(leaves[index][0].rpartition(".")[0] for index in weighted)
    used = {ancestor for name, module in leaves if _is_activation(module) for ancestor in _ancestors(name)}
    followed: dict[str, bool | None] = {}
    for index, following in zip(weighted, [*weighted, len(leaves)][1:], strict=True):
        name = leaves[index][0]
        block = name.rpartition(".")[0]
        if holders[block] == 1 and block:  # a wrapper of one convolution and its norm
            block = block.rpartition(".")[0]
        near = [module for leaf, module in leaves[index + 1 : following] if block in _ancestors(leaf)]
        followed[name] = any(map(_is_activation, near)) if block in used else None
    return followed


def _ancestors(name: str) -> set[str]:
    path = name.split(".")[:-1]
    return {".".join(path[:depth]) for depth in range(len(path) + 1)}


def _is_activation(module: nn.Module) -> bool:
    return bool(_ACTIVATION_NAME.search(type(module).__name__))
