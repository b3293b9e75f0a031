"""Move the units of a network: the axes of its tensors in the order that permutations of groups give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from weightatlas.anatomy.symmetries.layout import Layout, order_of

Permutations = Mapping[str, NDArray[np.int64]]
Layouts = Mapping[str, tuple[Layout, ...]]


def permuted(state: Mapping[str, Any], layouts: Layouts, permutations: Permutations) -> dict[str, Any]:
    """A state with the axes of its tensors in another order; what has no layout is passed on as it is.

    Raises:
        ValueError: a tensor has another shape than its layout.
    """
    made = dict(state)
    for name, axes in layouts.items():
        if name in made:
            _fits(name, tuple(made[name].shape), axes)
            made[name] = _taken(made[name], [order_of(axis, permutations) for axis in axes])
    return made


def _fits(name: str, shape: tuple[int, ...], axes: tuple[Layout, ...]) -> None:
    expected = tuple(axis.size for axis in axes)
    if shape != expected:
        message = f"{name} has the shape {shape}, and {expected} in the model whose symmetries these are"
        raise ValueError(message)


def _taken(tensor: Any, orders: list[NDArray[np.int64]]) -> Any:  # noqa: ANN401 - a tensor or an array
    for axis, order in enumerate(orders):
        if (order == np.arange(len(order))).all():
            continue
        if isinstance(tensor, torch.Tensor):
            tensor = tensor.index_select(axis, torch.from_numpy(order).to(tensor.device))
        else:
            tensor = np.take(tensor, order, axis=axis)
    return tensor
