"""Which unit is in which branch, and which in which family: what users hand in, checked and numbered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from weightatlas.errors import SourceError
from weightatlas.wording import counted, listed, printable

if TYPE_CHECKING:
    Labels = npt.NDArray[np.int64]


class Branched(Protocol):
    """What names the branch of each unit; `anatomy.branches.Branching` does."""

    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102 - described where they are set
    @property
    def labels(self) -> npt.NDArray[np.int64]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Names, and the place in them of each unit of a layer.

    Attributes:
        names: of the parts, in order.
        labels: (units,) index of each unit's part, -1 where it is in none.
    """

    names: tuple[str, ...]
    labels: Labels

    @property
    def units(self) -> int:
        """Units of the layer, those in no part among them."""
        return len(self.labels)

    @property
    def sizes(self) -> Labels:
        """How many units each part has, (parts,)."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.names)).astype(np.int64)


def branch_partition(
    branches: Mapping[str, Iterable[int]] | Branched | int, *, layer: str = "", units: int | None = None
) -> Partition:
    """The branch of every unit.

    Args:
        branches: a mapping from a branch's name to its units, what has `names` and `labels`, or a number of branches
            of equal width, in the order of the units.
        layer: a name for errors.
        units: how many the layer has; by default one more than the largest that a branch names.

    Raises:
        SourceError: a unit stands in two branches or is none of the layer, there are no branches, or they do not divide
            the units.

    Example:
        >>> branch_partition({"1x1": range(2), "3x3": range(2, 5)}, units=6).labels
        array([ 0,  0,  1,  1,  1, -1])
        >>> branch_partition(2, units=4).labels
        array([0, 0, 1, 1])
    """
    source = layer or "branches"
    if isinstance(branches, int):
        return _equal_runs(branches, units, source)
    if not isinstance(branches, Mapping):
        names, labels = tuple(branches.names), np.asarray(branches.labels, dtype=np.int64)
        if labels.ndim != 1 or (len(labels) and not -1 <= labels.min() <= labels.max() < len(names)):
            raise SourceError(source, "branch labels that name no branch", "give one label a unit, -1 for none")
        return _with_branches(Partition(names, labels), source)
    members = {str(name): np.unique(_units(chosen, f"branch {name!r}", source)) for name, chosen in branches.items()}
    largest = max((int(each.max()) for each in members.values() if len(each)), default=-1)
    count = largest + 1 if units is None else units
    labels = np.full(count, -1, dtype=np.int64)
    for place, (name, chosen) in enumerate(members.items()):
        _within(chosen, count, f"branch {name!r}", source)
        taken = chosen[labels[chosen] >= 0]
        if len(taken):
            other = tuple(members)[labels[taken[0]]]
            problem = f"unit {taken[0]} is in the branches {printable(other)!r} and {printable(name)!r}"
            raise SourceError(source, problem, "give branches that share no unit")
        labels[chosen] = place
    return _with_branches(Partition(tuple(members), labels), source)


def family_members(
    families: Mapping[str, Iterable[int]] | Sequence[object] | npt.NDArray[Any], *, units: int, layer: str = ""
) -> dict[str, Labels]:
    """The units of every family, ascending, each once.

    Args:
        families: a mapping from a family's name to its units, or one label a unit, where None, NaN, -1 and "" mean
            that it has none.
        units: how many the layer has.
        layer: a name for errors.

    Raises:
        SourceError: a family names a unit that the layer does not have, or there is not one label a unit.

    Example:
        >>> family_members(["curve", None, "line", "curve"], units=4)
        {'curve': array([0, 3]), 'line': array([2])}
    """
    source = layer or "families"
    if isinstance(families, Mapping):
        members = {}
        for name, chosen in families.items():
            members[str(name)] = np.unique(_units(chosen, f"family {name!r}", source))
            _within(members[str(name)], units, f"family {name!r}", source)
        return members
    labels = [_label(label) for label in np.asarray(families, dtype=object).ravel().tolist()]
    if len(labels) != units:
        problem = f"{counted(len(labels), 'label')} for {counted(units, 'unit')}"
        raise SourceError(source, problem, "give one label for each unit of the layer, None for a unit of no family")
    names = dict.fromkeys(label for label in labels if label is not None)
    return {name: np.array([unit for unit, label in enumerate(labels) if label == name]) for name in names}


def family_partition(members: Mapping[str, Labels], *, units: int) -> tuple[Partition, Labels]:
    """The family of every unit that has exactly one, and the units that have several; those are -1, too."""
    often = np.zeros(units, dtype=np.int64)
    labels = np.full(units, -1, dtype=np.int64)
    for place, chosen in enumerate(members.values()):
        often[chosen] += 1
        labels[chosen] = place
    several = np.flatnonzero(often > 1)
    labels[several] = -1
    return Partition(tuple(members), labels), several


def _equal_runs(count: int, units: int | None, source: str) -> Partition:
    if units is None or count < 1 or units % count:
        have = "an unknown number of units" if units is None else counted(units, "unit")
        problem = f"{have} cannot be cut into {count} branches of equal width"
        raise SourceError(source, problem, "name the units of each branch")
    return Partition(
        tuple(f"branch {place + 1}" for place in range(count)), np.repeat(np.arange(count), units // count)
    )


def _with_branches(partition: Partition, source: str) -> Partition:
    if not np.any(partition.labels >= 0):
        raise SourceError(source, "no unit is in a branch", "name the units of each branch")
    return partition


def _units(chosen: Iterable[int], what: str, source: str) -> Labels:
    """Unit indices.

    Raises:
        SourceError: they are none.
    """
    listed_units = list(chosen)
    bad = [unit for unit in listed_units if isinstance(unit, bool) or not isinstance(unit, int | np.integer)]
    if bad:
        problem = f"{printable(what)} names {printable(repr(bad[0]), limit=40)}, which is no unit"
        raise SourceError(source, problem, "number units from 0 in the order of the layer")
    return np.array(listed_units, dtype=np.int64)


def _within(units: Labels, count: int, what: str, source: str) -> None:
    outside = units[(units < 0) | (units >= count)]
    if len(outside):
        names = listed([str(unit) for unit in outside[:5]])
        problem = f"{printable(what)} names {names}, and the layer has {counted(count, 'unit')}"
        raise SourceError(source, problem, "number units from 0 in the order of the layer")


def _label(label: object) -> str | None:
    """A family's name as text; None where the label says that there is none."""
    missing = label is None or label == "" or (isinstance(label, float) and math.isnan(label))
    if missing or (isinstance(label, int | float) and not isinstance(label, bool) and label == -1):
        return None
    return str(label)
