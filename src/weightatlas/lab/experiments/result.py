"""What an experiment came to: its runs, its variants, their effects and the verdicts on what was claimed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from weightatlas.lab.experiments.comparing import compare
from weightatlas.lab.experiments.effects import mean_interval
from weightatlas.lab.experiments.experiment import Experiment
from weightatlas.result import Result, Row, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import altair as alt
    import numpy.typing as npt

    from weightatlas.lab.experiments.comparing import Comparison
    from weightatlas.lab.experiments.experiment import Figure, Measure, Measurement
    from weightatlas.lab.running import Run
    from weightatlas.plate import Plate

FIGURES = ("steps", "train_accuracy", "test_accuracy", "test_top5", "train_loss", "test_loss", "parameters", "minutes")
"""What every run has, whatever is measured of it."""

AVERAGED = tuple(name for name in FIGURES if name not in ("steps", "parameters"))

Shown = tuple[tuple[str, str], ...]
"""Columns that a terminal shows, each with its label."""

EFFECTS = (
    "variant",
    "against",
    "measure",
    "seeds",
    "baseline",
    "value",
    "value_low",
    "value_high",
    "effect",
    "low",
    "high",
    "p_value",
    "q_value",
    "kept",
    "expected",
    "gain_of",
    "floor",
    "verdict",
    "judged_low",
    "judged_high",
    "article",
    "skipped",
)

SHOWN: Shown = (
    ("train_accuracy", "train acc."),
    ("test_accuracy", "test acc."),
    ("parameters", "parameters"),
    ("minutes", "minutes"),
)


@dataclass(frozen=True, slots=True, eq=False)
class ExperimentRun:
    """One cell of the matrix.

    Attributes:
        variant: what was run.
        seed: with which seed.
        folder: where it is kept.
        run: what it came to; None where it could not be finished.
        measurement: what was measured of it.
        skipped: the sentence that says why there is none, or None.
    """

    variant: str
    seed: int
    folder: Path
    run: Run | None = None
    measurement: Measurement | None = None
    skipped: str | None = None

    def figure(self, key: str) -> Figure:
        """One figure: of every run, or measured; None where there is none."""
        if self.run is None or self.measurement is None:
            return None
        if key == "minutes":
            return self.run.seconds / 60
        if key in FIGURES:
            value: Figure = getattr(self.run, key)
            return value
        return self.measurement.figures.get(key)


def experiment_tables(measures: Sequence[Measure]) -> dict[str, tuple[str, ...]]:
    """The tables of an experiment with these measures: runs, variants, effects."""
    keys = tuple(measure.key for measure in measures)
    averaged = AVERAGED + tuple(measure.key for measure in measures if is_number(measure))
    means = tuple(column for key in averaged for column in (key, f"{key}_sd"))
    return {
        "runs": ("variant", "seed", *FIGURES, "folder", *keys, "skipped"),
        "variants": ("variant", "against", "seeds", "parameters", *means, "note", "skipped"),
        "effects": EFFECTS,
    }


def is_number(measure: Measure) -> bool:
    """Whether a measure has a mean."""
    return measure.form not in ("text", "layer", "shape")


@dataclass(frozen=True, slots=True, eq=False)
class ExperimentResult(Result):
    """All runs of an experiment, in the order of its seeds and variants.

    A subclass belongs to one experiment: it names its tables, `experiment_tables` of its measures, says in `terminal`
    which of their columns a terminal shows (all, of a table that is not there), and adds plates.

    Attributes:
        source: name and preset of the experiment.
        experiment: what was run.
        runs: one for each seed and variant; those that could not be finished say why.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = experiment_tables(())
    terminal: ClassVar[Mapping[str, Shown]] = {
        "runs": (("variant", "variant"), ("seed", "seed"), *SHOWN),
        "variants": (("variant", "variant"), ("seeds", "seeds"), *SHOWN),
        "effects": (
            ("variant", "variant"),
            ("measure", "measure"),
            ("baseline", "baseline"),
            ("value", "variant's"),
            ("effect", "effect"),
            ("low", "95 % from"),
            ("high", "to"),
            ("verdict", "verdict"),
            ("article", "the article"),
        ),
    }

    source: str
    experiment: Experiment
    runs: tuple[ExperimentRun, ...]

    @property
    def finished(self) -> tuple[ExperimentRun, ...]:
        """The runs that have figures."""
        return tuple(done for done in self.runs if done.skipped is None)

    def of(self, variant: str) -> tuple[ExperimentRun, ...]:
        """The finished runs of a variant, by seed."""
        return tuple(done for done in self.finished if done.variant == variant)

    def values(self, variant: str, key: str) -> dict[int, float]:
        """The finite values of a figure by seed."""
        figures = {done.seed: done.figure(key) for done in self.of(variant)}
        return {
            seed: float(value)
            for seed, value in figures.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Every variant beside its baseline, measure by measure, with the verdicts on all claims."""
        return compare(self)

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "runs", "variants" or "effects"."""
        columns = self.columns(table)
        name = next(iter(self.tables)) if table is None else table
        make = {"runs": self._runs, "variants": self._variants, "effects": self._effects}[name]
        return [{column: plain(row.get(column)) for column in columns} for row in make()]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The columns of the runs, and what was measured of each run as `variant/seed-N/what`."""
        arrays = Result.arrays(self)
        for done in self.runs:
            if done.measurement is not None:
                place = f"{done.variant}/seed-{done.seed}"
                arrays |= {f"{place}/{name}": array for name, array in done.measurement.arrays.items()}
        return arrays

    def chart(self) -> alt.HConcatChart:
        """Every seed of every variant on the measures that are compared."""
        from weightatlas.lab.experiments.charts import variants_chart

        return variants_chart(self, [measure for measure in self.experiment.measures if measure.compared])

    def plates(self) -> Sequence[Plate]:
        """The subject, what was confirmed, effects and runs."""
        from weightatlas.lab.experiments.plates import experiment_plates

        return experiment_plates(self)

    def _runs(self) -> Iterator[Row]:
        keys = [measure.key for measure in self.experiment.measures]
        for done in self.runs:
            row: Row = {"variant": done.variant, "seed": done.seed, "folder": str(done.folder)}
            yield row | {key: done.figure(key) for key in (*FIGURES, *keys)} | {"skipped": done.skipped}

    def _variants(self) -> Iterator[Row]:
        numbers = [measure.key for measure in self.experiment.measures if is_number(measure)]
        for variant in self.experiment.variants:
            finished = self.of(variant.name)
            row: Row = {"variant": variant.name, "against": variant.against, "note": variant.note}
            if not finished:
                yield row | {"skipped": "none of its runs could be finished"}
                continue
            row |= {"seeds": len(finished), "parameters": finished[0].figure("parameters")}
            for key in (*AVERAGED, *numbers):
                found = mean_interval(list(self.values(variant.name, key).values()))
                row |= {key: found.mean, f"{key}_sd": found.sd}
            yield row

    def _effects(self) -> Iterator[Row]:
        for item in self.comparisons:
            effect, claim = item.effect, item.claim
            row: Row = {"variant": item.variant, "against": item.against, "measure": item.measure}
            if claim is not None:
                row |= {"expected": claim.expected, "floor": claim.floor, "article": claim.article}
                row |= {"gain_of": claim.gain_of}
            if item.judged is not None:
                row |= {"judged_low": item.judged.low, "judged_high": item.judged.high}
            row |= {"verdict": item.verdict, "seeds": effect.pairs}
            if not effect.pairs:
                yield row | {"verdict": None, "skipped": "no seed has this measure on both sides"}
                continue
            own, difference = effect.variant, effect.difference
            row |= {"value": own.mean, "value_low": own.low, "value_high": own.high}
            if item.against is not None:
                row |= {"baseline": effect.baseline.mean, "effect": difference.mean, "kept": effect.kept}
                row |= {"low": difference.low, "high": difference.high}
                row |= {"p_value": difference.p_value, "q_value": item.q_value}
            yield row
