"""Which families of units gather in which branch of a layer, and whether chance gives as much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from weightatlas.branching.gathering.enrichment import FamilyBranch, enrichment
from weightatlas.branching.gathering.information import dependence
from weightatlas.branching.gathering.membership import Partition, branch_partition, family_members, family_partition
from weightatlas.result import Result, Row, plain
from weightatlas.wording import counted, listed, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import altair as alt

    from weightatlas.branching.gathering.membership import Branched, Labels
    from weightatlas.plate import Plate

PERMUTATIONS: Final = 9999
"""Draws for the null of the mutual information: p down to .0001."""

SIGNIFICANT: Final = 0.05
"""q below which a family counts as gathered in a branch."""

OTHER: Final = "other"
"""The family of units without one, where they are to count."""

Unlabelled = Literal["drop", "other"]

LOOKED: Final = (
    "the families were chosen after looking at these units: p and q say how rare such a gathering is for families "
    "chosen beforehand, and overstate the evidence; test the same families on another layer, seed or network"
)


@dataclass(frozen=True, slots=True, eq=False)
class Specialization(Result):
    """The families of one layer against its branches.

    Attributes:
        layer: module path, or "".
        pairs: every family with every branch, families first.
        information: mutual information of family and branch in bits, over the units that have both.
        null_mean: its mean where branches are permuted among those units.
        null_std: its standard deviation there.
        p_value: probability of as much information or more there.
        branch_entropy: bits of the branches over those units: no information is larger.
        family_entropy: bits of the families, likewise.
        units: how many have both, in exactly one family each.
        exact: whether all permutations were counted instead of drawn.
        profile: (families, branches) units of each family in each branch.
        families: their names, the rows of the profile.
        branches: their names, the columns.
        chosen_after_looking: whether families were chosen after looking at these units.
        notes: what was left out or must be said, one sentence each.
        source: what was tested, for the atlas.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "families": (
            "layer",
            "family",
            "branch",
            "k",
            "expected",
            "family_size",
            "branch_size",
            "layer_size",
            "p_value",
            "q_value",
            "binomial",
            "chosen_after_looking",
            "skipped",
        ),
        "information": (
            "layer",
            "information",
            "null_mean",
            "null_std",
            "excess",
            "p_value",
            "branch_entropy",
            "family_entropy",
            "units",
            "families",
            "branches",
            "chosen_after_looking",
            "skipped",
        ),
    }

    layer: str
    pairs: tuple[FamilyBranch, ...]
    information: float
    null_mean: float
    null_std: float
    p_value: float
    branch_entropy: float
    family_entropy: float
    units: int
    exact: bool
    profile: npt.NDArray[np.int64]
    families: tuple[str, ...]
    branches: tuple[str, ...]
    chosen_after_looking: bool = False
    notes: tuple[str, ...] = ()
    source: str = "families"

    @property
    def excess(self) -> float:
        """Mutual information less what chance gives on average, in bits: 0 without specialisation."""
        return self.information - self.null_mean

    @property
    def gathered(self) -> tuple[FamilyBranch, ...]:
        """The pairs that stand out: q below 5 %, the rarest first."""
        return tuple(sorted((pair for pair in self.pairs if pair.q_value < SIGNIFICANT), key=lambda pair: pair.p_value))

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "families", one a pair, or of "information", one in all."""
        columns = self.columns(table)
        rows = [self._whole()] if table == "information" else [self._pair(pair) for pair in self.pairs]
        return [{column: plain(row.get(column)) for column in columns} for row in rows]

    def chart(self) -> alt.LayerChart:
        """Families down, branches across: the share of the family that stands in the branch."""
        from weightatlas.branching.drawing.specialization_plates import enrichment_chart

        return enrichment_chart(self)

    def plates(self) -> Sequence[Plate]:
        """The chart, as it stands in an atlas."""
        from weightatlas.branching.drawing.specialization_plates import enrichment_plates

        return enrichment_plates(self)

    def _pair(self, pair: FamilyBranch) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "family": pair.family,
            "branch": pair.branch,
            "k": pair.k,
            "expected": pair.expected,
            "family_size": pair.family_size,
            "branch_size": pair.branch_size,
            "layer_size": pair.layer_size,
            "p_value": pair.p_value,
            "q_value": pair.q_value,
            "binomial": pair.binomial,
            "chosen_after_looking": self.chosen_after_looking,
            "skipped": pair.skipped,
        }

    def _whole(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "information": self.information,
            "null_mean": self.null_mean,
            "null_std": self.null_std,
            "excess": self.excess,
            "p_value": self.p_value,
            "branch_entropy": self.branch_entropy,
            "family_entropy": self.family_entropy,
            "units": self.units,
            "families": len(self.families),
            "branches": len(self.branches),
            "chosen_after_looking": self.chosen_after_looking,
            "skipped": None,
        }


def specialization(
    families: Mapping[str, Iterable[int]] | Sequence[object] | npt.NDArray[Any],
    branches: Mapping[str, Iterable[int]] | Branched | int,
    *,
    layer: str = "",
    units: int | None = None,
    unlabelled: Unlabelled = "drop",
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    chosen_after_looking: bool = False,
) -> Specialization:
    r"""Test whether families of units gather in branches of a layer.

    Two questions, with a null each:

    - Does this branch hold more of this family than chance gives? The exact hypergeometric tail of every pair over the
      units that are in branches, adjusted over all pairs of the layer (Benjamini and Hochberg); the binomial figure
      that the article quotes stands beside it.
    - Do branches and families depend on each other at all? Their mutual information

      \[ I(F; B) = \sum_{f, b} p(f, b) \log_2 \frac{p(f, b)}{p(f)\, p(b)} \]

      in bits, over the units that have a branch and exactly one family. Few units and many families give bits by
      chance alone, so the null permutes branches among these units; `excess` is I less the null's mean.

    Both nulls take units for exchangeable. Units that are near copies of each other (Gabors come in pairs of opposite
    sign) make both p-values too small; families that were defined with the branch in sight (by kernel size, say) make
    them mean nothing: `cluster_families` refuses such features.

    Args:
        families: a mapping from a family's name to its units, or one label a unit; None, NaN, -1 and "" mean that it
            has none. In a mapping a unit may stand in several families: each is tested with it, and the mutual
            information leaves it out.
        branches: a mapping from a branch's name to its units, a `Branching`, or how many branches of equal width.
        layer: module path, for rows and errors.
        units: of the layer, where the branches do not tell.
        unlabelled: what units of no family are to the mutual information: left out ("drop"), or a family of their own
            ("other"), which says that they were looked at and are of no family. Pairs always count them as units of
            the layer.
        permutations: drawn for the null of the mutual information; all are counted where their tables are few.
        seed: of the draws.
        chosen_after_looking: whether families were chosen because they seemed to gather: every row then says so.

    Returns:
        Pairs, information and notes. With one branch, one family or one unit there is no information to be had: 0 bits,
        p = 1.

    Raises:
        SourceError: a family names a unit that the layer does not have, a unit stands in two branches, or there is none
            in any.
        ValueError: an option is none of those it can be.

    **Source:** Branch Specialization (Voss and others, 2021), who quote \((K/N)^n\) for families chosen after looking.
    On their full taxonomy, "Other Units" a family like the others, I is .628 bits in mixed3a and .725 in mixed3b.

    Example:
        >>> branches = {"1x1": range(8), "3x3": range(8, 20), "5x5": range(20, 24)}
        >>> found = specialization({"curve": [20, 21, 22], "line": [8, 9, 10, 1]}, branches)
        >>> [(pair.family, pair.branch, round(pair.p_value, 4)) for pair in found.gathered]
        [('curve', '5x5', 0.002)]
        >>> round(found.information, 3), round(found.p_value, 4), found.exact
        (0.985, 0.0571, True)
    """
    if unlabelled not in get_args(Unlabelled):
        message = f"unlabelled must be one of {', '.join(get_args(Unlabelled))}, not {unlabelled!r}"
        raise ValueError(message)
    if permutations < 1:
        message = f"permutations must be at least 1, not {permutations}"
        raise ValueError(message)
    partition = branch_partition(branches, layer=layer, units=units)
    if isinstance(families, Mapping):
        families = {name: list(chosen) for name, chosen in families.items()}
    members = family_members(families, units=partition.units, layer=layer)
    single, several = family_partition(members, units=partition.units)
    notes = (*_repeated(families), *_notes(members, partition, several, unlabelled))
    if unlabelled == OTHER:
        single = _with_others(single, several)
    table = contingency(single, partition)
    found = dependence(table, permutations=permutations, seed=seed)
    return Specialization(
        layer=layer,
        pairs=enrichment(members, partition),
        information=found.information,
        null_mean=found.null_mean,
        null_std=found.null_std,
        p_value=found.p_value,
        branch_entropy=found.entropies[1],
        family_entropy=found.entropies[0],
        units=int(table.sum()),
        exact=found.exact,
        profile=table,
        families=single.names,
        branches=partition.names,
        chosen_after_looking=chosen_after_looking,
        notes=(*notes, LOOKED) if chosen_after_looking else notes,
        source=layer or "families",
    )


def contingency(families: Partition, branches: Partition) -> Labels:
    """Units of each family in each branch, (families, branches)."""
    both = (families.labels >= 0) & (branches.labels >= 0)
    width = len(branches.names)
    cells = families.labels[both] * width + branches.labels[both]
    return np.bincount(cells, minlength=len(families.names) * width).reshape(-1, width).astype(np.int64)


def _with_others(families: Partition, several: Labels) -> Partition:
    """Units of no family as one: that of the name "other", where there is one already."""
    names = families.names if OTHER in families.names else (*families.names, OTHER)
    labels = np.where(families.labels < 0, names.index(OTHER), families.labels)
    labels[several] = -1
    return Partition(names, labels)


def _repeated(families: Mapping[str, Iterable[int]] | Sequence[object] | npt.NDArray[Any]) -> list[str]:
    """What stands twice in a family, as a copying error leaves it."""
    if not isinstance(families, Mapping):
        return []
    notes = []
    for name, units in families.items():
        again = [str(unit) for unit, often in Counter(units).items() if often > 1]
        if again:
            notes.append(f"family {printable(str(name), limit=40)!r} names {listed(again[:5])} twice: counted once")
    return notes


def _notes(
    members: Mapping[str, Labels], branches: Partition, several: Labels, unlabelled: Unlabelled
) -> tuple[str, ...]:
    notes = []
    outside = int(np.count_nonzero(branches.labels < 0))
    if outside:
        notes.append(f"{counted(outside, 'unit')} of {branches.units} in no branch: left out")
    if len(several):
        notes.append(f"{counted(len(several), 'unit')} in several families: left out of the mutual information")
    named = np.zeros(branches.units, dtype=bool)
    for units in members.values():
        named[units] = True
    nameless = ~named & (branches.labels >= 0)
    if nameless.any():
        fate = "a family of their own in" if unlabelled == OTHER else "left out of"
        notes.append(f"{counted(int(nameless.sum()), 'unit')} of no family: {fate} the mutual information")
    covered = np.unique(branches.labels[named & (branches.labels >= 0)])
    if 0 < len(covered) < len(branches.names):
        empty = [printable(name, limit=40) for place, name in enumerate(branches.names) if place not in covered]
        many = len(empty) > 5
        where = listed([*empty[:5], f"{len(empty) - 5} more"] if many else empty)
        notes.append(f"no unit of {where} has a family: if none was looked for there, p and q say nothing")
    if len(branches.names) == 1:
        notes.append("there is one branch: nothing can gather")
    return tuple(notes)
