"""The result of the micro-batch experiment: its methods by batch size, the course of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from weightatlas.lab.experiments.effects import mean_interval
from weightatlas.lab.experiments.micro_batch_course import COURSE
from weightatlas.lab.experiments.micro_batch_measures import MEASURES
from weightatlas.lab.experiments.micro_batch_paper import PUBLISHED_COLUMNS, PUBLISHED_SHOWN, published_rows
from weightatlas.lab.experiments.micro_batch_variants import method_of
from weightatlas.lab.experiments.result import ExperimentResult, Shown, experiment_tables
from weightatlas.result import Row, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import altair as alt

    from weightatlas.plate import Plate

METHODS: Final = (
    "task",
    "batch",
    "place",
    "method",
    "variant",
    "seeds",
    "learning_rate",
    "score",
    "low",
    "high",
    "train_accuracy",
    "skipped",
)
COURSES: Final = ("variant", "seed", "progress", *COURSE, "skipped")
OF_A_RUN: Final[Shown] = (
    ("score", "score"),
    ("train_accuracy", "train acc."),
    ("loss_lipschitz", "log L of loss"),
    ("gradient_lipschitz", "log L of gradient"),
    ("mean_distance", "means from 0"),
    ("std_distance", "deviations from 1"),
    ("near_dead", "nearly dead"),
    ("minutes", "minutes"),
)


@dataclass(frozen=True, slots=True, eq=False)
class MicroBatchResult(ExperimentResult):
    """The micro-batch experiment; beside the tables of every experiment it has three.

    A row of "methods" is a method at a batch size, the best of each first; of "course", a kept checkpoint of a run; of
    "published", a figure that was published of a variant's recipe, beside its runs here.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **experiment_tables(MEASURES),
        "methods": METHODS,
        "course": COURSES,
        "published": PUBLISHED_COLUMNS,
    }

    terminal: ClassVar[Mapping[str, Shown]] = {
        **ExperimentResult.terminal,
        "runs": (("variant", "variant"), ("seed", "seed"), *OF_A_RUN),
        "variants": (("variant", "variant"), ("seeds", "seeds"), *OF_A_RUN),
        "published": PUBLISHED_SHOWN,
    }

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "runs", "variants", "effects", "methods", "course" or "published"."""
        make: dict[str, Callable[[], Iterator[Row]]] = {
            "methods": self._methods,
            "course": self._course,
            "published": lambda: published_rows(self),
        }
        if table not in make:
            return ExperimentResult.rows(self, table)
        return [{column: plain(row.get(column)) for column in self.tables[table]} for row in make[table]()]

    def chart(self) -> alt.HConcatChart:
        """The score of every method at every batch size."""
        import altair as alt

        from weightatlas.lab.experiments.micro_batch_charts import scores_chart

        joined: alt.HConcatChart = alt.hconcat(scores_chart(self))
        return joined

    def plates(self) -> Sequence[Plate]:
        """What was confirmed, scores by method and batch size, smoothness, channels, their course, runs."""
        from weightatlas.lab.experiments.micro_batch_plates import micro_batch_plates

        return micro_batch_plates(self)

    def _methods(self) -> Iterator[Row]:
        """Every variant, by task and batch size, the best first; one that has no run says so, last."""
        cells: dict[tuple[str, int | None], list[Row]] = {}
        for variant in self.experiment.variants:
            task, method, batch = method_of(variant.name)
            recipe = variant.configuration.recipe
            found = mean_interval(list(self.values(variant.name, "score").values()))
            accuracy = mean_interval(list(self.values(variant.name, "train_accuracy").values()))
            row: Row = {"task": task or "classes", "batch": recipe.batch_size, "method": method}
            row |= {"variant": variant.name, "seeds": found.count, "learning_rate": recipe.learning_rate}
            row |= {"score": found.mean, "low": found.low, "high": found.high, "train_accuracy": accuracy.mean}
            row["skipped"] = None if found.count else "none of its runs could be finished"
            cells.setdefault((task, batch), []).append(row)
        for rows in cells.values():
            done = sorted((row for row in rows if row["seeds"]), key=lambda row: -row["score"])
            for place, row in enumerate(done, start=1):
                yield row | {"place": place}
            yield from (row for row in rows if not row["seeds"])

    def _course(self) -> Iterator[Row]:
        for done in self.runs:
            own: Row = {"variant": done.variant, "seed": done.seed}
            if done.measurement is None or done.run is None:
                yield own | {"skipped": done.skipped}
                continue
            arrays: Mapping[str, Any] = done.measurement.arrays
            if "course/step" not in arrays:
                continue
            for values in zip(*(arrays[f"course/{name}"].tolist() for name in COURSE), strict=True):
                row = dict(zip(COURSE, values, strict=True))
                yield own | row | {"progress": row["step"] / done.run.steps}
