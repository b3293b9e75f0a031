"""What a search for symmetries found: groups, what is pinned and why, and states with their units moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from weightatlas.anatomy.symmetries.layout import Layout, factors_of, moved_share, positions_of
from weightatlas.anatomy.symmetries.permuting import permuted
from weightatlas.anatomy.symmetries.separating import Owners, Separation

HELD: Final = "it was asked to stay"
SHOWN: Final = 8
"""Names that a message lists at most."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorAxis:
    """An axis of a parameter or buffer that a group moves.

    Attributes:
        tensor: its name in the state dict.
        axis: its number.
        layout: all that the axis is made of; `str(layout)` reads "[heads] × [width]", "[first] + [second]", "[c] × 49".
        positions: int64 (size of the group, copies): where on the axis each entry of the group stands; several places
            where the axis has other factors too, in the same order for all entries.
    """

    tensor: str
    axis: int
    layout: Layout
    positions: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PermutationGroup:
    """Entries that may change places, all axes that have them at once.

    Attributes:
        name: of the first layer whose units they are; ":1" says that they count another axis of it, "/0" that they are
            one of several factors of the axis.
        size: how many entries.
        axes: where they stand.
    """

    name: str
    size: int
    axes: tuple[TensorAxis, ...]


@dataclass(frozen=True, slots=True)
class Pinned:
    """Entries of an axis that must stay.

    Attributes:
        tensor: a name in the state dict.
        axis: its number.
        entries: how many of its entries stay; a factor of an axis counts with its own length.
        reason: why.
    """

    tensor: str
    axis: int
    entries: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Symmetries:
    """The permutation symmetries of a network.

    A permutation is an array in which place i has the number of the entry that comes to stand there, as
    `numpy.take` and `torch.index_select` read it. A group that is not among the permutations given stays.

    Attributes:
        groups: all that can move, in the order of the state dict.
        pinned: what cannot, and why.
        layouts: for each tensor that was followed, what its axes are made of.
        verified: whether random permutations of all groups were seen to leave the outputs as they are.
        coverage: share of the network's parameters, 0 to 1, that at least one group moves.
        change: the largest change of an output that was seen, as a share of the largest output; NaN if not verified.
        separable: for groups that stand beside others wherever they stand (the width of a head beside the heads), the
            names of those; see `holding`.
        entries: of each parameter, how many.
    """

    groups: tuple[PermutationGroup, ...]
    pinned: tuple[Pinned, ...]
    layouts: Mapping[str, tuple[Layout, ...]]
    verified: bool
    coverage: float
    change: float = field(default=float("nan"))
    separable: Owners = field(default_factory=dict)
    entries: Mapping[str, int] = field(default_factory=dict)

    def holding(self, *names: str) -> Symmetries:
        """The symmetries that are left when some groups stay: what they stand beside can then move for each entry.

        All heads of a layer may change places, with one permutation of the width for all of them; or each head has a
        permutation of its own, and the heads stay. Both at once are no longer independent of each other: a width's
        permutation would belong to a head or to a place, and would have to follow the heads.

        Args:
            names: of groups.

        Returns:
            Symmetries in which these are pinned; "width@0" and so on in the place of a group "width" that is
            separable by one of them.

        Raises:
            ValueError: there is no such group.

        Example:
            >>> from torch import nn
            >>> from weightatlas.anatomy.symmetry import symmetries
            >>> heads = nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Softmax(2), nn.Flatten())
            >>> found = symmetries(nn.Sequential(nn.Linear(4, 6), heads, nn.Linear(6, 2)), torch.ones(1, 4))
            >>> print(found.layouts["0.bias"][0], dict(found.separable))
            [0/0] × [0/1] {'0/1': ('0/0',)}
            >>> print(found.holding("0/0").layouts["0.bias"][0])
            [0/1@0] + [0/1@1]
        """
        self._known(names)
        separation = Separation(self.separable, frozenset(names), HELD)
        layouts = {name: separation.tensor(axes) for name, axes in self.layouts.items()}
        seen = self.change if self.verified else None
        return described(self.entries, layouts, change=seen, separable=separation.left)

    def identity(self) -> dict[str, NDArray[np.int64]]:
        """The permutations that move nothing."""
        return {group.name: np.arange(group.size) for group in self.groups}

    def random(self, seed: int) -> dict[str, NDArray[np.int64]]:
        """Permutations of all groups, drawn evenly and on their own."""
        generator = np.random.default_rng(seed)
        return {group.name: generator.permutation(group.size) for group in self.groups}

    def inverse(self, permutations: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
        """The permutations that undo others."""
        return {name: np.argsort(order) for name, order in self._checked(permutations).items()}

    def compose(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
        """The permutations that do what first some and then others do."""
        ours, theirs = self._checked(first), self._checked(second)
        return {name: ours[name][theirs[name]] for name in ours}

    def permute(self, state: Mapping[str, Any], permutations: Mapping[str, Any]) -> dict[str, Any]:
        """A state dict whose units have changed places, buffers such as running statistics with them.

        Args:
            state: tensors or arrays of any type by name; names that are not known are passed on.
            permutations: for groups by name, a permutation each.

        Returns:
            A new dictionary; what nothing moves is the very tensor that was given.

        Raises:
            ValueError: a tensor has another shape than in the model, or a permutation is none.
        """
        return permuted(state, self.layouts, self._checked(permutations))

    def rows(self) -> list[dict[str, Any]]:
        """A row a group (`group`, `size`, `axes`, `pinned` is None), then a row a reason, with what it pins."""
        rows: list[dict[str, Any]] = [
            {"group": one.name, "size": one.size, "axes": [f"{at.tensor}:{at.axis}" for at in one.axes], "pinned": None}
            for one in self.groups
        ]
        for reason in dict.fromkeys(one.reason for one in self.pinned):
            those = [one for one in self.pinned if one.reason == reason]
            axes = [f"{one.tensor}:{one.axis}" for one in those]
            rows.append({"group": None, "size": sum(one.entries for one in those), "axes": axes, "pinned": reason})
        return rows

    def _checked(self, permutations: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
        """All groups' permutations as arrays; those that are not given stay."""
        sizes = {group.name: group.size for group in self.groups}
        self._known(permutations)
        return {
            name: _permutation(name, permutations[name], size) if name in permutations else np.arange(size)
            for name, size in sizes.items()
        }

    def _known(self, names: Iterable[str]) -> None:
        known = [group.name for group in self.groups]
        strange = next((name for name in names if name not in known), None)
        if strange is not None:
            shown = ", ".join([*known[:SHOWN], *(["…"] if len(known) > SHOWN else [])])
            message = f"no group is named {strange!r}; groups are {shown or 'none'}"
            raise ValueError(message)


def described(
    entries: Mapping[str, int],
    layouts: Mapping[str, tuple[Layout, ...]],
    *,
    change: float | None = None,
    separable: Owners | None = None,
) -> Symmetries:
    """Symmetries by the layouts of a model's tensors.

    Args:
        entries: how many each of its parameters has.
        layouts: of the axes of each tensor.
        change: of the outputs, as it was seen; None where nothing was tried.
        separable: groups by those of whose entries each could have copies.
    """
    places = {
        (name, number): axis for name, axes in layouts.items() for number, axis in enumerate(axes) if axis.size != 1
    }
    groups = tuple(
        PermutationGroup(
            group,
            size,
            tuple(
                TensorAxis(*place, axis, positions_of(axis, group))
                for place, axis in places.items()
                if any(factor.group == group for factor in factors_of(axis))
            ),
        )
        for group, size in sizes_of(layouts).items()
    )
    pinned = tuple(
        Pinned(*place, factor.size, factor.reason)
        for place, axis in places.items()
        for factor in factors_of(axis)
        if factor.reason is not None
    )
    seen = float("nan") if change is None else change
    coverage = _coverage(entries, layouts)
    return Symmetries(groups, pinned, layouts, change is not None, coverage, seen, separable or {}, entries)


def entries_of(model: torch.nn.Module) -> dict[str, int]:
    """How many entries each parameter of a model has."""
    return {name: parameter.numel() for name, parameter in model.named_parameters()}


def sizes_of(layouts: Mapping[str, tuple[Layout, ...]]) -> dict[str, int]:
    """The groups of layouts, in order, with how many entries each has."""
    factors = (factor for axes in layouts.values() for axis in axes for factor in factors_of(axis))
    return {factor.group: factor.size for factor in factors if factor.group is not None}


def _coverage(sizes: Mapping[str, int], layouts: Mapping[str, tuple[Layout, ...]]) -> float:
    """The share of the parameters' entries for which some axis moves."""
    moved = 0.0
    for name, size in sizes.items():
        staying = float(np.prod([1 - moved_share(axis) for axis in layouts.get(name, ())]))
        moved += size * (1 - staying)
    return moved / max(sum(sizes.values()), 1)


def _permutation(name: str, given: Any, size: int) -> NDArray[np.int64]:  # noqa: ANN401 - a tensor, an array, a list
    order = np.asarray(given.cpu() if isinstance(given, torch.Tensor) else given)
    if order.shape != (size,) or not np.array_equal(np.sort(order), np.arange(size)):
        message = f"the permutation of {name!r} must have each of 0 to {size - 1} once"
        raise ValueError(message)
    return order.astype(np.int64)
