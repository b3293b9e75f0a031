"""Tell what a tensor is from its shape, its neighbours in the same module, and last its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.anatomy import naming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.anatomy.vocabulary import Kind

    Shape = tuple[int, ...]


def kind_of(layer: str, parameter: str, shape: Shape, siblings: Mapping[str, Shape], *, whole_number: bool) -> Kind:
    """What a tensor is.

    Args:
        layer: module path.
        parameter: its name within the module.
        shape: as stored.
        siblings: shapes of all parameters of the same module, itself included.
        whole_number: whether it is stored as integers or booleans.

    Example:
        >>> kind_of("bn1", "weight", (64,), {"weight": (64,), "running_mean": (64,)}, whole_number=False)
        'norm'
        >>> kind_of("embed", "weight", (64, 3, 7, 7), {"weight": (64, 3, 7, 7)}, whole_number=False)
        'convolution'
    """
    constant = naming.says_buffer(parameter) or (whole_number and not naming.says_weight(parameter))
    if parameter in naming.STATISTICS or constant or _is_mask(parameter, shape):
        return "buffer"
    if naming.says_bias(parameter):
        return "bias"
    if _is_norm(layer, parameter, shape, siblings):
        return "norm"
    if _is_embedding(layer, parameter, shape, siblings):
        return "embedding"
    bare = parameter == layer and len(shape) in (2, 4)  # an array under a name of its own, as in an .npz file
    return _kind_of_weight(parameter, shape) if naming.says_weight(parameter) or bare else "other"


def _kind_of_weight(parameter: str, shape: Shape) -> Kind:
    if len(shape) == 2:
        return "linear"
    if len(shape) == 3 and parameter.lower().endswith("proj"):
        return "linear"  # a stack of experts: (experts, out, in)
    return "convolution" if 3 <= len(shape) <= 5 else "other"


def _is_mask(parameter: str, shape: Shape) -> bool:
    """GPT-2 files carry their causal mask as `attn.bias`, 1 x 1 x positions x positions."""
    return parameter == "bias" and len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3]


def _is_norm(layer: str, parameter: str, shape: Shape, siblings: Mapping[str, Shape]) -> bool:
    """A norm's scale has running statistics beside it, or a shift of its own shape, or is a vector alone."""
    if parameter not in ("weight", "gamma", "scale"):
        return False
    if siblings.get("running_mean") == shape or siblings.get("moving_mean") == shape:
        return True
    shift = siblings.get("bias", siblings.get("beta"))
    if shift is not None:
        return shift == shape and len(shape) > 0
    return parameter == "weight" and len(shape) == 1 and shape[0] > 1 and not naming.says_scale(layer)


def _is_embedding(layer: str, parameter: str, shape: Shape, siblings: Mapping[str, Shape]) -> bool:
    """A table of vectors: two axes, or more with nothing on the first; never beside a bias."""
    table = len(shape) == 2 or (len(shape) > 2 and shape[0] == 1 and parameter != "weight")
    vector = len(shape) == 1 and parameter not in ("weight", "")
    return (table or vector) and "bias" not in siblings and naming.says_embedding(layer, parameter)
