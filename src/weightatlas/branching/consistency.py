"""Does the same specialisation recur from run to run? Branches matched, agreement beside its null."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from weightatlas.branching.gathering.branch_matching import by_name, match
from weightatlas.branching.gathering.branch_profiles import BranchProfile, Run, as_run
from weightatlas.branching.gathering.recurrence import MatchedRuns, Recurrence, strength_p_values
from weightatlas.branching.specialization import Specialization
from weightatlas.result import Result, Row, plain
from weightatlas.wording import counted, listed, number, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

    from weightatlas.plate import Plate

Matching = Literal["profile", "name"]


@dataclass(frozen=True, slots=True, eq=False)
class Consistency(Result):
    """How far several runs specialised alike.

    Attributes:
        recurrences: of each family or figure that all runs have.
        agreement: mean over families and pairs of runs: how often the same specialisation recurs.
        agreement_null: the same where no run specialises.
        strength: sum over families.
        null_mean: of that, where no run specialises.
        null_std: of that, there.
        p_value: that no family is taken alike by two runs: the smallest q (Simes).
        p_unspecialised: of the strength, were no run specialised; one run that is may make it small.
        runs: their names.
        reference: the run that is most like the others.
        matches: of each run, its branches with the branch of the reference matched to each, or None.
        notes: what was left out, one sentence each.
        source: what was compared, for the atlas.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "consistency": (
            "family",
            "branch",
            "runs",
            "runs_agreeing",
            "runs_significant",
            "agreement",
            "agreement_null",
            "strength",
            "null_mean",
            "null_std",
            "p_value",
            "q_value",
            "skipped",
        ),
        "overall": (
            "runs",
            "reference",
            "agreement",
            "agreement_null",
            "strength",
            "null_mean",
            "null_std",
            "p_value",
            "p_unspecialised",
            "skipped",
        ),
        "matches": ("run", "branch", "reference_branch", "skipped"),
    }

    recurrences: tuple[Recurrence, ...]
    agreement: float
    agreement_null: float
    strength: float
    null_mean: float
    null_std: float
    p_value: float
    p_unspecialised: float
    runs: tuple[str, ...]
    reference: str
    matches: tuple[Mapping[str, str | None], ...]
    notes: tuple[str, ...] = ()
    source: str = "runs"

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "consistency", one a family; of "overall", one; of "matches", one a run and branch."""
        columns = self.columns(table)
        if table == "matches":
            rows: list[dict[str, Any]] = [
                {"run": run, "branch": branch, "reference_branch": other}
                for run, matched in zip(self.runs, self.matches, strict=True)
                for branch, other in matched.items()
            ]
        elif table == "overall":
            rows = [{name: getattr(self, name) for name in columns if name not in {"runs", "skipped"}}]
            rows[0]["runs"] = len(self.runs)
        else:
            own = [name for name in columns if name not in {"runs", "skipped"}]
            rows = [{name: getattr(each, name) for name in own} | {"runs": len(self.runs)} for each in self.recurrences]
        return [{column: plain(row.get(column)) for column in columns} for row in rows]

    def chart(self) -> alt.LayerChart:
        """Strength of each family beside its null."""
        from weightatlas.branching.drawing.specialization_plates import consistency_chart

        return consistency_chart(self)

    def plates(self) -> Sequence[Plate]:
        """The same, as it stands in an atlas."""
        from weightatlas.branching.drawing.specialization_plates import consistency_plates

        return consistency_plates(self)


def consistency(
    profiles: Sequence[Specialization | BranchProfile],
    *,
    matching: Matching = "profile",
    permutations: int = 999,
    seed: int = 0,
    source: str = "runs",
) -> Consistency:
    r"""Match branches between runs, and say how often the same specialisation recurs.

    What branch b of run r took of family f is \(E^r_{bf}\), the family's share of the branch's units less its share of
    all (of figures such as chroma: the mean over the branch, scaled over the run). Branches are matched between each
    two runs so that \(\sum_b |E^r_b - E^s_{\pi(b)}|^2\) is smallest (assignment problem). Then

    - `agreement`: share of pairs of runs in which the branches that took f most are matched. Matching alone makes it
      high: with two branches and two families it is 1, but for ties;
    - `strength`: \(S^{rs}_f = \langle E^r_{bf} E^s_{\pi(b) f} \rangle\), mean over matched branches, then over pairs.

    **Null.** With families permuted among the units of *every* run, and branches matched anew, one has what
    unspecialised runs give (`null_mean`, `null_std`, `agreement_null`, `p_unspecialised`). That is not enough: one run
    that is highly specialised makes its products with the noise of others large. So each run is permuted alone, the
    others as they are: \(p^r_f\), the chance that r would have as much in common with the others. That fewer than two
    runs took f alike then has \(p_f = (R - 1)\, p^{(2)}_f\), from the second smallest of the R (Benjamini and Heller's
    partial conjunction). Over 200 sets of two or three runs at a level of 5 %, with one run fully specialised among
    others that are not: this rejects in 2.5 %, `p_unspecialised` in 85 %.

    Args:
        profiles: two or more of either kind, a run each: of any seeds, data or architectures.
        matching: "profile", or "name" where branches have names that mean the same in all runs (1x1, 3x3, ...).
        permutations: of all runs together, and of each; the smallest p is (R - 1) / (1 + permutations).
        seed: of the permutations.
        source: what was compared, for the atlas.

    Returns:
        Figures of the families that all runs have. Where runs differ in their number of branches, those of the larger
        that are like none stay without a match.

    Raises:
        ValueError: there are fewer than two runs, runs of both kinds, no family or no name of a branch that all have,
            or an option is none of those it can be.

    **Source:** the article says that runs agree, without a measure; assignment: Kuhn (1955), by scipy; partial
    conjunction: Benjamini and Heller, Biometrics 64 (2008), equation 4.

    Example:
        >>> from weightatlas.branching.specialization import specialization
        >>> labels = ["colour"] * 12 + ["black-and-white"] * 12
        >>> one, other = specialization(labels, 2, units=24), specialization(labels[::-1], 2, units=24)
        >>> found = consistency([one, other])
        >>> found.matches[1], found.strength, found.p_value
        ({'branch 1': 'branch 2', 'branch 2': 'branch 1'}, 0.5, 0.001)
    """
    _check(profiles, matching, permutations)
    runs = _named(profiles)
    families, notes = _common(runs)
    seeds = np.random.SeedSequence(seed).generate_state(len(runs)).tolist()
    # The first of each is what was observed.
    taken = [
        np.concatenate([run.observed()[None], run.drawn(permutations, seed=own)])[
            :, :, [run.names.index(family) for family in families]
        ]
        for run, own in zip(runs, seeds, strict=True)
    ]
    pairs, alone = {}, []
    for one, run in enumerate(runs):
        strengths = []
        for other in range(len(runs)):
            if other == one:
                continue
            fixed = _same_names(run, runs[other]) if matching == "name" else None
            as_it_is = np.broadcast_to(taken[other][:1], taken[other].shape)
            strengths.append(match(taken[one], as_it_is, fixed=fixed).strength)
            if other > one:
                pairs[one, other] = match(taken[one], taken[other], fixed=fixed)
        alone.append(strength_p_values(np.mean(strengths, axis=0)))
    return _result(MatchedRuns(families, taken, pairs, np.array(alone)), runs, notes, source)


def _result(found: MatchedRuns, runs: Sequence[Run], notes: tuple[str, ...], source: str) -> Consistency:
    whole = found.strength.sum(axis=1)
    reference = runs[found.reference]
    recurrences = found.recurrences(reference.branches)
    return Consistency(
        recurrences=recurrences,
        agreement=float(found.agreement[0].mean()),
        agreement_null=float(found.agreement[1:].mean()),
        strength=float(whole[0]),
        null_mean=float(whole[1:].mean()),
        null_std=float(whole[1:].std()),
        p_value=min(each.q_value for each in recurrences),
        p_unspecialised=float(strength_p_values(whole[:, None])[0]),
        runs=tuple(run.source for run in runs),
        reference=reference.source,
        matches=tuple(
            {
                branch: None if place < 0 else reference.branches[place]
                for branch, place in zip(run.branches, places.tolist(), strict=True)
            }
            for run, places in zip(runs, found.places, strict=True)
        ),
        notes=notes,
        source=source,
    )


def _same_names(one: Run, other: Run) -> npt.NDArray[np.int64]:
    """Branches matched by their names.

    Raises:
        ValueError: no name is in both.
    """
    places = by_name(one.branches, other.branches)
    if not np.any(places >= 0):
        message = f"{one.source} and {other.source} have no branch of the same name: match them by profile"
        raise ValueError(message)
    return places


def _named(profiles: Sequence[Specialization | BranchProfile]) -> list[Run]:
    """The runs, each under a name of its own."""
    sources = [profile.source for profile in profiles]
    if len(set(sources)) < len(sources):
        sources = [f"{source}, run {place + 1}" for place, source in enumerate(sources)]
    return [as_run(profile, source) for profile, source in zip(profiles, sources, strict=True)]


def _common(runs: Sequence[Run]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What all runs have, and notes of what is left out.

    Raises:
        ValueError: they have nothing in common.
    """
    common = tuple(name for name in runs[0].names if all(name in run.names for run in runs))
    if not common:
        message = "the runs have no family or figure in common: give them the same names"
        raise ValueError(message)
    notes = []
    others = [name for name in dict.fromkeys(name for run in runs for name in run.names) if name not in common]
    if others:
        names = listed([printable(name, limit=40) for name in others[:5]])
        notes.append(f"left out, since not all runs have it: {names}{', ...' if len(others) > 5 else ''}")
    sizes = sorted({len(run.branches) for run in runs})
    if len(sizes) > 1:
        have = listed([number(size) for size in sizes])
        notes.append(f"runs have {have} branches: of more, those like none stay without a match")
    return common, tuple(notes)


def _check(profiles: Sequence[Specialization | BranchProfile], matching: str, permutations: int) -> None:
    if len(profiles) < 2:
        message = f"{counted(len(profiles), 'run')}: consistency needs two"
        raise ValueError(message)
    if len({isinstance(profile, Specialization) for profile in profiles}) > 1:
        message = "runs of families and runs of figures cannot be compared: give one kind"
        raise ValueError(message)
    if matching not in get_args(Matching):
        message = f"matching must be one of {', '.join(get_args(Matching))}, not {matching!r}"
        raise ValueError(message)
    if permutations < 1:
        message = f"permutations must be at least 1, not {permutations}"
        raise ValueError(message)
