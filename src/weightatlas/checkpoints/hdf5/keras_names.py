"""torch's names for Keras's weights, told from their names and, where those say nothing, from their shapes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDINGS: Final = (
    ("depthwise_kernel", "depthwise", "weight"),
    ("pointwise_kernel", "pointwise", "weight"),
    ("recurrent_kernel", "", "recurrent_weight"),
    ("kernel", "", "weight"),
    ("embeddings", "", "weight"),
    ("moving_variance", "", "running_var"),
    ("moving_mean", "", "running_mean"),
    ("running_mean", "", "running_mean"),
    ("running_std", "", "running_var"),
    ("gamma", "", "weight"),
    ("beta", "", "bias"),
    ("bias", "", "bias"),
    ("alpha", "", "weight"),
    ("weight", "", "weight"),
    ("scale", "", "weight"),
    ("w", "", "weight"),
    ("b", "", "bias"),
)
"""How Keras's names end, the submodule it is of in a separable convolution (which has two), and torch's name.

Keras 1 calls `running_std` what is a variance.
"""
WHOLE: Final = frozenset({"alpha", "scale", "w", "b"})
"""Endings that count as whole names only."""

_COUNTER = re.compile(r"(:\d+|_\d+)+$")


def canonical_names(layer: str, weights: Sequence[tuple[str, tuple[int, ...]]]) -> list[tuple[str, str]]:
    """For every weight of a layer, the path below the layer ("" for itself) and torch's name of the parameter.

    A name that says nothing (Keras 1 called a kernel after its initialiser: `uniform25`) is told by its shape: the
    first array of two or more dimensions is the weight, a vector beside it the bias. Two that would be called the same
    keep their own names.

    Example:
        >>> canonical_names("fire9/expand3x3", [("uniform25", (3, 3, 64, 256)), ("fire9/expand3x3_b", (256,))])
        [('', 'weight'), ('', 'bias')]
    """
    named = [_by_name(layer, weight) for weight, _ in weights]
    if not any(name is not None and name[0].endswith("pointwise") for name in named):
        named = [("", "weight") if name == ("depthwise", "weight") else name for name in named]
    for number, (_, shape) in enumerate(weights):
        if named[number] is None and len(shape) >= 2 and ("", "weight") not in named:
            named[number] = ("", "weight")
    for number, (_, shape) in enumerate(weights):
        if named[number] is None and len(shape) == 1 and ("", "bias") not in named:
            named[number] = ("", "bias")
    own = [("", _last_part(weight)) for weight, _ in weights]
    return [own[number] if name is None or named.count(name) > 1 else name for number, name in enumerate(named)]


def module_path(layer: str, inner: str) -> str:
    """The layer's name and what lies below it as one dotted path."""
    return ".".join(part for part in (*layer.split("/"), *inner.split("/")) if part)


def _last_part(weight: str) -> str:
    return re.sub(r":\d+$", "", weight).rpartition("/")[2].replace(".", "_") or "weight"


def _by_name(layer: str, weight: str) -> tuple[str, str] | None:
    path, _, last = re.sub(r":\d+$", "", weight).rpartition("/")
    above = [part for part in path.split("/") if part]
    parts = [part for part in layer.split("/") if part]
    if above[1 : 1 + len(parts)] == parts:
        above = above[1:]  # a subclassed model puts its own name before its layers'
    for part in parts:
        if above[:1] == [part]:
            above = above[1:]
    stem = layer.rpartition("/")[2]
    rest = last.removeprefix(f"{layer}_").removeprefix(f"{stem}_")
    rest = _COUNTER.sub("", rest)
    for ending, submodule, parameter in ENDINGS:
        if rest.lower() == ending or (ending not in WHOLE and rest.lower().endswith(f"_{ending}")):
            return "/".join([*above, *([submodule] if submodule else [])]), parameter
    return None
