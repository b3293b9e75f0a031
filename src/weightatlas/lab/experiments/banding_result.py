"""The result of Weight Banding's experiment: bands of the last two layers, slides side by side, what reads the map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from weightatlas.lab.experiments.banding_measures import MEASURES
from weightatlas.lab.experiments.result import ExperimentResult, Shown, experiment_tables
from weightatlas.result import Row, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import altair as alt

    from weightatlas.plate import Plate

PROFILES = ("variant", "seed", "axis", "position", "share", "uniform", "skipped")


@dataclass(frozen=True, slots=True, eq=False)
class BandingExperimentResult(ExperimentResult):
    """Weight Banding's experiment; beside the tables of every experiment it has "profiles".

    A row of "profiles" is one row or column of the map that a classifier reads: its share of the squared weights.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {**experiment_tables(MEASURES), "profiles": PROFILES}

    terminal: ClassVar[Mapping[str, Shown]] = {
        **ExperimentResult.terminal,
        "runs": (
            *ExperimentResult.terminal["runs"],
            ("penultimate_score", "B, last but one"),
            ("penultimate_direction", "bands"),
            ("last_score", "B, last"),
            ("last_direction", "bands"),
        ),
        "variants": (
            *ExperimentResult.terminal["variants"],
            ("penultimate_score", "B, last but one"),
            ("last_score", "B, last"),
        ),
    }

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "runs", "variants", "effects" or "profiles"."""
        if table != "profiles":
            return ExperimentResult.rows(self, table)
        return [{column: plain(row.get(column)) for column in PROFILES} for row in self._profiles()]

    def chart(self) -> alt.HConcatChart:
        """B of the last two layers of every run, with intervals, beside what the article says."""
        from weightatlas.lab.experiments.banding_charts import bands_chart

        return bands_chart(self)

    def plates(self) -> Sequence[Plate]:
        """What was confirmed, bands by variant, effects, slides side by side, the classifier over y, runs."""
        from weightatlas.lab.experiments.banding_plates import banding_plates

        return banding_plates(self)

    def _profiles(self) -> Iterator[Row]:
        for done in self.runs:
            row: Row = {"variant": done.variant, "seed": done.seed}
            if done.measurement is None:
                yield row | {"skipped": done.skipped}
                continue
            for axis in ("y", "x"):
                shares = done.measurement.arrays.get(f"classifier/{axis}", ())
                for position, share in enumerate(shares):
                    yield row | {"axis": axis, "position": position, "share": share, "uniform": 1 / len(shares)}
