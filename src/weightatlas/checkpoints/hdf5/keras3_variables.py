"""What Keras 3's numbered variables are, by the class of their layer: `vars/0` of a convolution is its kernel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.checkpoints.hdf5.hdf5_file import Array
    from weightatlas.checkpoints.hdf5.keras_config import LayerConfig

_KERNEL: Final = ("kernel", "bias")
_CELL: Final = ("kernel", "recurrent_kernel", "bias")
_SEPARABLE: Final = ("depthwise_kernel", "pointwise_kernel", "bias")
_SCALES: Final = ("gamma", "beta")
_MOMENTS: Final = ("moving_mean", "moving_variance")

VARIABLES: Final[dict[str, tuple[str, ...]]] = {
    "dense": _KERNEL,
    "einsum_dense": _KERNEL,
    **{f"conv{rank}d{suffix}": _KERNEL for rank in (1, 2, 3) for suffix in ("", "_transpose")},
    **{f"depthwise_conv{rank}d": _KERNEL for rank in (1, 2)},
    **{f"separable_conv{rank}d": _SEPARABLE for rank in (1, 2)},
    **{f"{cell}_cell": _CELL for cell in ("lstm", "gru", "simple_rnn", "conv_lstm")},
    "batch_normalization": (*_SCALES, *_MOMENTS),
    "layer_normalization": _SCALES,
    "group_normalization": _SCALES,
    "rms_normalization": ("scale",),
    "embedding": ("embeddings",),
    "reversible_embedding": ("embeddings", "reverse_embeddings"),
    "position_embedding": ("embeddings",),
    "p_re_lu": ("alpha",),
}
"""The variables of a class in the order in which they are numbered; the last may be missing."""
_COUNTER: Final = re.compile(r"_\d+$")


def class_of(group: str, name: str | None, config: LayerConfig | None) -> str:
    """A layer's class in snake case: of the configuration, of its path, or of the name that Keras gave it; else "".

    Example:
        >>> class_of("layers/conv2d_1", "stem", None), class_of("fc", "dense_3", None), class_of("fc", "out", None)
        ('conv2d', 'dense', '')
    """
    if config is not None:
        return config.kind
    for candidate in (group.rpartition("/")[2], name or ""):
        kind = _COUNTER.sub("", candidate)
        if kind in VARIABLES:
            return kind
    if group.rpartition("/")[2] == "cell":
        return "lstm_cell"  # the cells of all recurrent layers number alike
    return "embedding" if "embed" in (name or group.rpartition("/")[2]) else ""


def variable_names(kind: str, arrays: Sequence[Array], config: LayerConfig | None) -> list[str]:
    """Keras's names of a layer's variables; "" for one of which nothing certain can be said.

    Without the class of a layer its shapes tell some: a kernel before the bias of its outputs, four vectors of one
    length (a batch normalization). Three vectors of one may be with or without scale: only the moments are certain.
    """
    shapes = [array.shape for array in arrays]
    own = [array.name.rpartition("/")[2] for array in arrays]
    if not all(name.isdigit() for name in own):
        return ["" if name.isdigit() else name for name in own]
    is_float = [str(array.dtype).startswith(("float", "bfloat")) for array in arrays]
    names = _by_class(kind, shapes, config) if kind in VARIABLES else _by_shapes(shapes)
    names = [*names, *[""] * len(shapes)][: len(shapes)]
    return [
        "" if not real and len(shape) < 2 else name for name, shape, real in zip(names, shapes, is_float, strict=True)
    ]


def _by_class(kind: str, shapes: Sequence[tuple[int, ...]], config: LayerConfig | None) -> Sequence[str]:
    names = VARIABLES[kind]
    if names[:2] == _SCALES:
        return _normalization(names, len(shapes), config)
    matrices = sum(name.endswith(("kernel", "embeddings")) for name in names)
    return names if all(len(shape) >= 2 for shape in shapes[:matrices]) else ()


def _normalization(names: Sequence[str], count: int, config: LayerConfig | None) -> Sequence[str]:
    """A normalization may lack its scale (gamma) or its shift (beta)."""
    moments = names[2:]
    if config is not None:
        absent = {
            name for option, name in (("scale", "gamma"), ("center", "beta")) if config.options.get(option) is False
        }
        present = [name for name in names if name not in absent]
        return present if len(present) == count else ()
    scales = count - len(moments)
    if scales == 2:
        return names
    return ["", *moments] if scales == 1 else moments if scales == 0 else ()


def _by_shapes(shapes: Sequence[tuple[int, ...]]) -> Sequence[str]:
    ranks = [len(shape) for shape in shapes]
    if ranks == [1, 1, 1, 1] and len(set(shapes)) == 1:
        return (*_SCALES, *_MOMENTS)
    if len(shapes) == 2 and 1 <= ranks[1] < ranks[0] and shapes[0][-ranks[1] :] == shapes[1]:
        return _KERNEL
    return _KERNEL[:1] if len(ranks) == 1 and ranks[0] in {2, 4, 5} else ()
