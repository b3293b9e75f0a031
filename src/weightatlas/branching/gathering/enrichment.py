"""Does a branch hold more of a family than chance gives it? One exact tail for each pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom, false_discovery_control, hypergeom

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.branching.gathering.membership import Labels, Partition

NO_UNITS = "the family has no unit that is in a branch"


@dataclass(frozen=True, slots=True)
class FamilyBranch:
    """How much of one family stands in one branch.

    Attributes:
        family: its name.
        branch: its name.
        k: units of the family in the branch.
        family_size: units of the family in any branch.
        branch_size: units of the branch.
        layer_size: units of the layer that are in any branch.
        p_value: P(K >= k), hypergeometric; NaN where it was not tested.
        q_value: the same, adjusted over all pairs that were tested together.
        binomial: P(Bin(family_size, branch_size / layer_size) >= k).
        skipped: why it was not tested, or None.
    """

    family: str
    branch: str
    k: int
    family_size: int
    branch_size: int
    layer_size: int
    p_value: float
    q_value: float
    binomial: float
    skipped: str | None = None

    @property
    def expected(self) -> float:
        """Units of the family that chance alone puts into the branch, on average."""
        return self.family_size * self.branch_size / self.layer_size


def enrichment(members: Mapping[str, Labels], branches: Partition) -> tuple[FamilyBranch, ...]:
    r"""Test every family against every branch.

    With N units in branches, n of them in the family, K in the branch and k in both:

    \[ p = P(X \ge k), \quad X \sim \mathrm{Hypergeometric}(N, n, K); \qquad
       \text{binomial} = P(Y \ge k), \quad Y \sim \mathrm{Bin}(n, K / N), \]

    which is \((K / N)^n\) where the whole family stands in the branch. Null: the family's units are any n of the N,
    each set as likely as another. `q_value` is Benjamini and Hochberg's over all pairs of the layer.

    Args:
        members: the units of each family.
        branches: the branch of each unit.

    Returns:
        Every family with every branch, families first.

    **Source:** Branch Specialization (Voss and others, 2021), whose "1/10^8" and "1/10^20" are the binomial figures;
    units are drawn without replacement, so the hypergeometric is exact.
    """
    sizes = branches.sizes
    total = int(sizes.sum())
    counts = np.array([_counts(units, branches) for units in members.values()], dtype=np.int64).reshape(-1, len(sizes))
    family_sizes = counts.sum(axis=1, keepdims=True)
    p_values = np.clip(hypergeom.sf(counts - 1, total, family_sizes, sizes), 0.0, 1.0)
    binomial = binom.sf(counts - 1, family_sizes, sizes / total)
    tested = np.broadcast_to(family_sizes > 0, counts.shape)
    q_values = np.full(counts.shape, np.nan)
    if tested.any():
        q_values[tested] = false_discovery_control(p_values[tested])
    return tuple(
        FamilyBranch(
            family,
            branch,
            int(counts[row, column]),
            int(family_sizes[row, 0]),
            int(sizes[column]),
            total,
            float(p_values[row, column]) if tested[row, column] else float("nan"),
            float(q_values[row, column]),
            float(binomial[row, column]) if tested[row, column] else float("nan"),
            None if tested[row, column] else NO_UNITS,
        )
        for row, family in enumerate(members)
        for column, branch in enumerate(branches.names)
    )


def _counts(units: Labels, branches: Partition) -> Labels:
    """How many of these units each branch has."""
    labels = branches.labels[units]
    return np.bincount(labels[labels >= 0], minlength=len(branches.names)).astype(np.int64)
