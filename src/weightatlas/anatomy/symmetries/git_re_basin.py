"""Specifications as Git Re-Basin writes them: for each axis of each parameter the name of its permutation, or None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from weightatlas.anatomy.symmetries.layout import Factor, Layout, factors_of
from weightatlas.anatomy.symmetries.report import Symmetries, described, entries_of
from weightatlas.anatomy.symmetries.verified import verified

if TYPE_CHECKING:
    import torch

    from weightatlas.anatomy.graph.exporting import Example

Specification = Mapping[str, Sequence[str | None]]

KEPT = "the specification keeps it"


def to_git_re_basin(symmetries: Symmetries) -> dict[str, tuple[str | None, ...]]:
    """Write symmetries as the dictionary `axes_to_perm` of Git Re-Basin.

    Such a dictionary says one permutation for a whole axis. A group that somewhere is one of several factors or
    segments of an axis (heads, channels with positions, what a concatenation joins) cannot be written, and stays.

    Args:
        symmetries: of a network.

    Returns:
        For each tensor, a name or None for each axis.

    **Source:** Ainsworth, Hayase and Srinivasa, Git Re-Basin (2023), `PermutationSpec.axes_to_perm`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from weightatlas.anatomy.symmetry import symmetries
        >>> network = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> to_git_re_basin(symmetries(network, torch.zeros(2, 3)))
        {'0.weight': ('0', None), '0.bias': ('0',), '2.weight': (None, '0'), '2.bias': (None,)}
    """
    axes = [axis for several in symmetries.layouts.values() for axis in several]
    parts = {factor.group for axis in axes if not isinstance(axis, Factor) for factor in factors_of(axis)}
    return {name: tuple(_whole(axis, parts) for axis in several) for name, several in symmetries.layouts.items()}


def from_git_re_basin(
    specification: Specification, model: torch.nn.Module, example_inputs: Example | None = None, *, seed: int = 0
) -> Symmetries:
    """Read a dictionary in the form of Git Re-Basin's `axes_to_perm`, for networks that cannot be exported.

    Args:
        specification: for each tensor, a permutation's name or None for each axis; what is not named stays.
        model: whose tensors these are.
        example_inputs: what to call the model with; the permutations are then verified, and those that change the
            outputs pinned. Without it nothing is known to be right.
        seed: of what is drawn to verify.

    Returns:
        The symmetries.

    Raises:
        ValueError: a tensor is not the model's or has another number of axes, or axes of several lengths have one name.
        SourceError: the model does not run on these inputs.

    **Source:** Ainsworth, Hayase and Srinivasa, Git Re-Basin (2023), `PermutationSpec.axes_to_perm`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> wrong = {"0.weight": ("P", "Q"), "0.bias": ("P",), "2.weight": (None, "P")}
        >>> found = from_git_re_basin(wrong, network, torch.ones(2, 3))
        >>> [group.name for group in found.groups], [one.tensor for one in found.pinned if "changes" in one.reason]
        (['P'], ['0.weight'])
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    sizes: dict[str, int] = {}
    layouts = {name: tuple(Factor(size, None, KEPT) for size in shape) for name, shape in shapes.items()}
    for tensor, names in specification.items():
        _check(tensor, names, shapes, sizes)
        layouts[tensor] = tuple(
            Factor(size, name, None if name else KEPT) for name, size in zip(names, shapes[tensor], strict=True)
        )
    if example_inputs is None:
        return described(entries_of(model), layouts)
    return verified(model, example_inputs, layouts, seed=seed)


def _whole(axis: Layout, parts: set[str | None]) -> str | None:
    return axis.group if isinstance(axis, Factor) and axis.group not in parts else None


def _check(
    tensor: str, names: Sequence[str | None], shapes: Mapping[str, tuple[int, ...]], sizes: dict[str, int]
) -> None:
    """Refuse what does not fit the model; `sizes` learns the length of each name."""
    if tensor not in shapes:
        message = f"the model has no parameter or buffer of numbers that is named {tensor!r}"
        raise ValueError(message)
    if len(names) != len(shapes[tensor]):
        message = f"{tensor} has {len(shapes[tensor])} axes, and the specification names {len(names)}"
        raise ValueError(message)
    for name, size in zip(names, shapes[tensor], strict=True):
        if name is not None and sizes.setdefault(name, size) != size:
            message = f"{name} is the permutation of axes of {sizes[name]} and, in {tensor}, of {size} entries"
            raise ValueError(message)
