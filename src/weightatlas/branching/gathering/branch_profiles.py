"""What each branch of a run took, as one row of figures a branch, and the same with units permuted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from weightatlas.branching.gathering.information import permuted_tables
from weightatlas.branching.gathering.membership import Partition, branch_partition
from weightatlas.branching.specialization import Specialization

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from weightatlas.branching.gathering.membership import Branched

    Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BranchProfile:
    """Figures of the units of one run and the branches they are in.

    Attributes:
        names: of the figures.
        values: (units, figures), each scaled to mean 0 and variance 1 over the run; NaN where there is none.
        branches: of the units.
        source: the run.
    """

    names: tuple[str, ...]
    values: Array
    branches: Partition
    source: str = "run"


def branch_profile(
    figures: Mapping[str, npt.ArrayLike],
    branches: Mapping[str, Iterable[int]] | Branched | int,
    *,
    source: str = "run",
) -> BranchProfile:
    """Figures of units, such as chroma and frequency, for `consistency`: where families would waste what is known.

    Each is scaled over the units of the run that have it, so that runs of other architectures can be compared.

    Args:
        figures: name to values, (units,) each; NaN where a unit has none.
        branches: as in `specialization`.
        source: the run, for rows.

    Raises:
        ValueError: there are no figures, or they differ in length.
        SourceError: the branches are none.

    Example:
        >>> branch_profile({"chroma": [0.0, 0.0, 1.0, 1.0]}, 2).values.ravel()
        array([-1., -1.,  1.,  1.])
    """
    columns = [np.asarray(values, dtype=np.float64) for values in figures.values()]
    if not columns or columns[0].ndim != 1 or len({column.shape for column in columns}) > 1:
        message = f"figures must have one value a unit each, not {', '.join(str(each.shape) for each in columns) or 0}"
        raise ValueError(message)
    partition = branch_partition(branches, layer=source, units=len(columns[0]))
    columns = [np.where(partition.labels >= 0, column, np.nan) for column in columns]
    return BranchProfile(tuple(figures), np.stack([_scaled(column) for column in columns], axis=1), partition, source)


class Run(Protocol):
    """A run as it is compared: what its branches took, as it is and as chance has it."""

    @property
    def source(self) -> str: ...  # noqa: D102 - said in the classes
    @property
    def branches(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    def observed(self) -> Array: ...  # noqa: D102
    def drawn(self, count: int, *, seed: int) -> Array: ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False)
class FamilyRun:
    """A run whose units are in families: of each branch, the share of each family less that in all branches.

    Attributes:
        source: the run.
        branches: those with units, the rows.
        names: of the families, the columns.
        table: (families, branches) units.
    """

    source: str
    branches: tuple[str, ...]
    names: tuple[str, ...]
    table: npt.NDArray[np.int64]

    def observed(self) -> Array:
        """What each branch took, (branches, families)."""
        shares: Array = self._shares(self.table[None])[0]
        return shares

    def drawn(self, count: int, *, seed: int) -> Array:
        """The same with families permuted among the units, (count, branches, families)."""
        drawn: Array = np.concatenate(
            [self._shares(tables) for tables in permuted_tables(self.table, count, seed=seed)]
        )
        return drawn

    def _shares(self, tables: npt.NDArray[np.int64]) -> Array:
        sizes = self.table.sum(axis=0)
        expected = self.table.sum(axis=1)[:, None] / self.table.sum()
        shares: Array = np.swapaxes(tables / sizes - expected, 1, 2)
        return shares


@dataclass(frozen=True, slots=True, eq=False)
class FigureRun:
    """A run whose units have figures: of each branch, the mean of each figure over its units.

    Attributes:
        source: the run.
        branches: those with units, the rows.
        names: of the figures, the columns.
        values: (units, figures).
        labels: (units,) branch of each.
    """

    source: str
    branches: tuple[str, ...]
    names: tuple[str, ...]
    values: Array
    labels: npt.NDArray[np.int64]

    def observed(self) -> Array:
        """What each branch took, (branches, figures)."""
        return self._means(self.labels)

    def drawn(self, count: int, *, seed: int) -> Array:
        """The same with branches permuted among the units, (count, branches, figures)."""
        generator = np.random.default_rng(seed)
        return np.stack([self._means(generator.permutation(self.labels)) for _ in range(count)])

    def _means(self, labels: npt.NDArray[np.int64]) -> Array:
        known = np.isfinite(self.values)
        inside = np.equal.outer(np.arange(len(self.branches)), labels).astype(np.float64)
        sums, counts = inside @ np.where(known, self.values, 0.0), inside @ known
        means: Array = sums / np.maximum(counts, 1.0)
        return means


def as_run(profile: Specialization | BranchProfile, source: str) -> Run:
    """A run under this name, branches without units left out, and families without units too.

    Raises:
        ValueError: no unit of it has both a branch and a family or figures.
    """
    if isinstance(profile, Specialization):
        kept = np.flatnonzero(profile.profile.sum(axis=0))
        filled = np.flatnonzero(profile.profile.sum(axis=1))
        names = tuple(profile.branches[branch] for branch in kept)
        families = tuple(profile.families[family] for family in filled)
        run: Run = FamilyRun(source, names, families, profile.profile[np.ix_(filled, kept)])
    else:
        units = np.flatnonzero((profile.branches.labels >= 0) & np.isfinite(profile.values).any(axis=1))
        kept, labels = np.unique(profile.branches.labels[units], return_inverse=True)
        names = tuple(profile.branches.names[branch] for branch in kept)
        run = FigureRun(source, names, profile.names, profile.values[units], labels.ravel().astype(np.int64))
    if not run.branches:
        message = f"{source}: no unit has both a branch and what is compared"
        raise ValueError(message)
    return run


def _scaled(values: Array) -> Array:
    finite = np.isfinite(values)
    if not finite.any():
        return np.full_like(values, np.nan)
    spread = float(values[finite].std())
    centred = np.where(finite, values - values[finite].mean(), np.nan)
    return centred / spread if spread > 0 else centred
