"""Short and unique names of parallel paths, and the module around them."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def around(layers: Sequence[str], otherwise: str) -> str:
    """The module that holds all of several layers, or what their names begin with, or something else.

    Example:
        >>> around(["mixed.a.conv", "mixed.b.conv"], ""), around(["mixed3a_1x1", "mixed3a_3x3"], "")
        ('mixed', 'mixed3a')
        >>> around(["left", "right"], "cat")
        'cat'
    """
    parts = _shared([layer.split(".") for layer in layers])
    if parts and len(set(layers)) > 1:
        return ".".join(parts)
    return "".join(_shared(layers)).rstrip("._") or otherwise


def below(layers: Sequence[str]) -> list[str]:
    """What tells layers apart: the first parts of their paths below the module around all, as many as it takes.

    Example:
        >>> below(["inception3a.branch1.conv", "inception3a.branch2.1.conv", "inception3a.branch3.1.conv"])
        ['branch1', 'branch2', 'branch3']
        >>> below(["layer1.0.conv1", "layer1.1.conv1"])
        ['block 0', 'block 1']
    """
    paths = [layer.split(".") for layer in layers]
    shared = len(_shared(paths))
    rest = [path[shared:] or path[-1:] for path in paths]
    for depth in range(1, max(map(len, rest)) + 1):
        names = [".".join(path[:depth]) for path in rest]
        if len(set(names)) == len(names):
            return [f"block {name}" if name.isdigit() else name for name in names]
    return [f"{'.'.join(path)} ({place})" for place, path in enumerate(rest, 1)]


def kernel_names(kernels: Sequence[tuple[int, int]], *, pools: Sequence[bool]) -> list[str] | None:
    """Names from the kernels on the paths, "pool" for a pool with 1 x 1 kernels only; None if two are alike.

    Example:
        >>> kernel_names([(1, 1), (3, 3), (1, 1)], pools=[False, False, True])
        ['1x1', '3x3', 'pool']
        >>> kernel_names([(3, 3), (3, 3)], pools=[False, False]) is None
        True
    """
    names = [
        "pool" if pool and kernel == (1, 1) else f"{kernel[0]}x{kernel[1]}"
        for kernel, pool in zip(kernels, pools, strict=True)
    ]
    return names if len(set(names)) == len(names) else None


def _shared(sequences: Sequence[Sequence[str]]) -> list[str]:
    """What several sequences begin with."""
    return [together[0] for together in takewhile(lambda items: len(set(items)) == 1, zip(*sequences, strict=False))]
