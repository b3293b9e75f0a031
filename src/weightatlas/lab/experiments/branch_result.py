"""The result of Branch Specialization's experiment: what each branch took, twins, recurrence, onset, blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from scipy.stats import spearmanr

from weightatlas.branching.consistency import consistency
from weightatlas.branching.gathering.branch_profiles import branch_profile
from weightatlas.branching.kernels.colour import COLOUR
from weightatlas.lab.experiments.branch_first_layer import separation
from weightatlas.lab.experiments.branch_measures import MEASURES
from weightatlas.lab.experiments.result import ExperimentResult, Shown, experiment_tables
from weightatlas.result import Row, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import altair as alt
    import numpy.typing as npt

    from weightatlas.lab.experiments.result import ExperimentRun
    from weightatlas.plate import Plate

    Arrays = Mapping[str, npt.NDArray[Any]]

BRANCH_COLUMNS: Final = (
    "variant",
    "seed",
    "branch",
    "hidden",
    "units",
    "kernel",
    "colour_units",
    "chroma",
    "frequency",
    "skipped",
)
ONSET_COLUMNS: Final = ("variant", "seed", "step", "progress", "separation", "excess", "null_std", "skipped")
TWIN_COLUMNS: Final = (
    "variant",
    "twin",
    "seed",
    "separation",
    "twin_separation",
    "chroma_with_twin",
    "axis_with_chroma",
    "axis_separation",
    "skipped",
)
RECURRENCE_COLUMNS: Final = (
    "variant",
    "seeds",
    "figure",
    "agreement",
    "agreement_null",
    "strength",
    "null_mean",
    "p_value",
    "skipped",
)
BLOCK_COLUMNS: Final = ("variant", "seed", "block", "family", "units", "share", "skipped")

OF_A_RUN: Final[Shown] = (
    ("test_accuracy", "test acc."),
    ("separation", "colour between"),
    ("excess", "bits"),
    ("p_value", "p"),
    ("frequency_separation", "frequency between"),
    ("chroma_narrow", "chroma, narrow"),
    ("chroma_large", "chroma, large"),
    ("hidden_chroma", "axis, chroma"),
    ("block_excess", "blocks, bits"),
)


@dataclass(frozen=True, slots=True, eq=False)
class BranchExperimentResult(ExperimentResult):
    """Branch Specialization's experiment; beside the tables of every experiment it has five.

    A row of "branches" is a branch of a run (of an unbranched network, a half of its hidden axis); of "onset", a saved
    step of a run; of "twins", a branched network beside the unbranched one of the same seed, whose units started from
    the same weights; of "recurrence", a figure of a variant over its seeds; of "blocks", a family in a residual block.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **experiment_tables(MEASURES),
        "branches": BRANCH_COLUMNS,
        "onset": ONSET_COLUMNS,
        "twins": TWIN_COLUMNS,
        "recurrence": RECURRENCE_COLUMNS,
        "blocks": BLOCK_COLUMNS,
    }

    terminal: ClassVar[Mapping[str, Shown]] = {
        **ExperimentResult.terminal,
        "runs": (("variant", "variant"), ("seed", "seed"), *OF_A_RUN),
        "variants": (("variant", "variant"), ("seeds", "seeds"), *OF_A_RUN),
    }

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "runs", "variants", "effects", "branches", "onset", "twins", "recurrence" or "blocks"."""
        make: dict[str, Callable[[], Iterator[Row]]] = {
            "branches": lambda: self._each(branch_rows, "first/chroma"),
            "onset": lambda: self._each(onset_rows, "onset/step"),
            "blocks": lambda: self._each(block_rows, "blocks/units"),
            "twins": self._twins,
            "recurrence": self._recurrence,
        }
        if table not in make:
            return ExperimentResult.rows(self, table)
        return [{column: plain(row.get(column)) for column in self.tables[table]} for row in make[table]()]

    def chart(self) -> alt.HConcatChart:
        """What lies between branches of every run, with intervals."""
        from weightatlas.lab.experiments.branch_charts import separation_chart

        return separation_chart(self)

    def plates(self) -> Sequence[Plate]:
        """What was confirmed, colour between branches, kernels, width against kernel size, onset, blocks, runs."""
        from weightatlas.lab.experiments.branch_plates import branch_plates

        return branch_plates(self)

    def _each(self, make: Callable[[ExperimentRun, Arrays], Iterator[Row]], needed: str) -> Iterator[Row]:
        """Rows of every run that has the arrays; a run that could not be finished says why."""
        for done in self.runs:
            own: Row = {"variant": done.variant, "seed": done.seed}
            if done.measurement is None:
                yield own | {"skipped": done.skipped}
            elif needed in done.measurement.arrays:
                for row in make(done, done.measurement.arrays):
                    yield own | row

    def _twins(self) -> Iterator[Row]:
        """Branched networks beside the unbranched ones they are compared with."""
        for variant in self.experiment.variants:
            twins = {} if variant.against is None else {done.seed: done for done in self.of(variant.against)}
            for done in self.of(variant.name):
                pair = [one.measurement for one in (done, twins.get(done.seed)) if one is not None]
                if len(pair) == 2 and pair[0] is not None and pair[1] is not None and "hidden/axes" in pair[1].arrays:
                    own: Row = {"variant": variant.name, "twin": variant.against, "seed": done.seed}
                    figures = {"separation": done.figure("separation")}
                    figures["twin_separation"] = twins[done.seed].figure("separation")
                    yield own | figures | twin_figures(pair[0].arrays, pair[1].arrays)

    def _recurrence(self) -> Iterator[Row]:
        """Whether the branches of all seeds differ alike."""
        for variant in self.experiment.variants:
            profiles = [
                branch_profile(
                    {name: done.measurement.arrays[f"first/{name}"] for name in ("chroma", "frequency")},
                    {
                        str(name): np.flatnonzero(done.measurement.arrays["first/branch"] == branch)
                        for branch, name in enumerate(done.measurement.arrays["first/names"])
                    },
                    source=f"seed {done.seed}",
                )
                for done in self.of(variant.name)
                if done.measurement is not None and "first/chroma" in done.measurement.arrays
            ]
            if len(profiles) < 2:
                continue
            for found in consistency(profiles, source=variant.name).recurrences:
                yield {
                    "variant": variant.name,
                    "seeds": len(profiles),
                    "figure": found.family,
                    **{name: getattr(found, name) for name in RECURRENCE_COLUMNS[3:8]},
                }


def branch_rows(done: ExperimentRun, arrays: Arrays) -> Iterator[Row]:  # noqa: ARG001 - of one form with the others
    """What each branch of a run took."""
    chroma, frequency, labels = (arrays[f"first/{name}"] for name in ("chroma", "frequency", "branch"))
    for branch, name in enumerate(arrays["first/names"].tolist()):
        own = labels == branch
        yield {
            "branch": name,
            "hidden": bool(arrays["first/hidden"]),
            "units": int(own.sum()),
            "kernel": int(arrays[f"kernels/{branch}"].shape[1]),
            "colour_units": int((chroma[own] > COLOUR).sum()),
            "chroma": float(np.nanmean(chroma[own])),
            "frequency": float(np.nanmean(frequency[own])),
        }


def onset_rows(done: ExperimentRun, arrays: Arrays) -> Iterator[Row]:
    """Specialisation at every saved step, with its place in the run."""
    steps = done.run.steps if done.run is not None else 1
    names = ("step", "separation", "excess", "null_std")
    for values in zip(*(arrays[f"onset/{name}"].tolist() for name in names), strict=True):
        row = dict(zip(names, values, strict=True))
        yield row | {"progress": row["step"] / steps}


def block_rows(done: ExperimentRun, arrays: Arrays) -> Iterator[Row]:  # noqa: ARG001 - likewise
    """How many units of each family a residual block has."""
    for block, units in zip(arrays["blocks/names"].tolist(), arrays["blocks/units"], strict=True):
        for family, count in zip(arrays["blocks/families"].tolist(), units.tolist(), strict=True):
            yield {"block": block, "family": family, "units": count, "share": count / max(int(units.sum()), 1)}


def twin_figures(arrays: Arrays, twin: Arrays) -> Row:
    """A branched network and its unbranched twin, unit by unit: unit i of both started from the same weights.

    Args:
        arrays: of the branched network.
        twin: of the unbranched one.

    Returns:
        "chroma_with_twin": rank correlation of the units' chroma in the two; "axis_with_chroma": that of the twin's
        first hidden axis with chroma in the branched network, without its sign, which is arbitrary; "axis_separation":
        how far the branches take sides on that axis. All are 0 by chance, the second about .14 for 32 units.
    """
    axis = twin["hidden/axes"][:, 0]
    return {
        "chroma_with_twin": _rho(arrays["first/chroma"], twin["first/chroma"]),
        "axis_with_chroma": abs(_rho(axis, arrays["first/chroma"])),
        "axis_separation": separation(axis, arrays["first/branch"]),
    }


def _rho(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < 3 or np.ptp(one[known]) == 0 or np.ptp(other[known]) == 0:
        return math.nan
    return float(spearmanr(one[known], other[known]).statistic)
