"""The result of WeightScale's experiment: accuracies beside the paper's, the change of every layer, its course."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from weightatlas.lab.experiments.change_measures import FIGURES, MEASURES, PARTS, typical_change
from weightatlas.lab.experiments.change_paper import ACCURACIES, TABLE_2, TOPS
from weightatlas.lab.experiments.effects import mean_interval
from weightatlas.lab.experiments.result import ExperimentResult, Shown, experiment_tables
from weightatlas.result import Row, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import altair as alt
    import numpy.typing as npt

    from weightatlas.lab.experiments.result import ExperimentRun
    from weightatlas.plate import Plate

ACCURACY_COLUMNS: Final = (
    "variant",
    "seeds",
    *(column for name in ACCURACIES for column in (name, f"{name}_sd", f"{name}_paper")),
    "skipped",
)
LAYER_COLUMNS: Final = (
    "variant",
    "seed",
    "network",
    "layer",
    "place",
    "parameters",
    *FIGURES,
    "first_weight",
    "inner",
    "skipped",
)
THIRD_COLUMNS: Final = ("variant", "seed", "network", "part", "record", "step", *FIGURES, "skipped")
OF_A_RUN: Final[Shown] = (
    ("train_accuracy", "train acc."),
    ("test_accuracy", "test acc."),
    ("minutes", "minutes"),
    ("recruitment", "R, eq. 1"),
    ("recruitment_elementwise", "R, elementwise"),
    ("recruitment_undivided", "R, undivided"),
    ("recruitment_start", "R from |w|"),
    ("depth_given_size", "rho, depth | size"),
    ("stability", "clusters, ARI"),
)
THIRDS: Final = ("first third", "middle third", "last third")


@dataclass(frozen=True, slots=True, eq=False)
class ChangeExperimentResult(ExperimentResult):
    """WeightScale's experiment; beside the tables of every experiment it has "accuracies", "layers" and "thirds".

    A row of "accuracies" is a variant beside the paper's table 2; of "layers", a layer of a run, with the geometric
    mean place of its changes (the exponential of their median logarithm), its place along the network, 0 to 1, and its
    mean |weight| at the start; of "thirds", a third of the layers at one checkpoint, with the geometric mean of their
    changes.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **experiment_tables(MEASURES),
        "accuracies": ACCURACY_COLUMNS,
        "layers": LAYER_COLUMNS,
        "thirds": THIRD_COLUMNS,
    }

    terminal: ClassVar[Mapping[str, Shown]] = {
        **ExperimentResult.terminal,
        "runs": (("variant", "variant"), ("seed", "seed"), *OF_A_RUN),
        "variants": (("variant", "variant"), ("seeds", "seeds"), *OF_A_RUN),
        "accuracies": (
            ("variant", "variant"),
            ("seeds", "seeds"),
            *(shown for name, label in TOPS.items() for shown in ((name, label), (f"{name}_paper", "paper"))),
        ),
        "layers": (
            ("variant", "variant"),
            ("seed", "seed"),
            ("layer", "layer"),
            ("parameters", "parameters"),
            ("first_weight", "|w| at the start"),
            ("ratio_l1", "equation 1"),
            ("elementwise", "elementwise"),
        ),
        "thirds": (
            ("variant", "variant"),
            ("seed", "seed"),
            ("part", "part"),
            ("step", "step"),
            ("ratio_l1", "equation 1"),
            ("elementwise", "elementwise"),
        ),
    }

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "runs", "variants", "effects", "accuracies", "layers" or "thirds"."""
        make: dict[str, Callable[[], Iterator[Row]]] = {
            "accuracies": self._accuracies,
            "layers": self._layers,
            "thirds": self._thirds,
        }
        if table not in make:
            return ExperimentResult.rows(self, table)
        return [{column: plain(row.get(column)) for column in self.tables[table]} for row in make[table]()]

    def chart(self) -> alt.HConcatChart:
        """Recruitment of every run by both figures, with intervals."""
        from weightatlas.lab.experiments.change_charts import recruitment_chart

        return recruitment_chart(self)

    def plates(self) -> Sequence[Plate]:
        """What was confirmed, recruitment, accuracies beside the paper's, layers, their course, verdicts, runs."""
        from weightatlas.lab.experiments.change_plates import change_plates

        return change_plates(self)

    def network_of(self, variant: str) -> str:
        """The variant without `against` that a variant is compared with in the end: it has the same network."""
        against = self.experiment.variant(variant).against
        return variant if against is None else self.network_of(against)

    def _accuracies(self) -> Iterator[Row]:
        for variant in self.experiment.variants:
            row: Row = {"variant": variant.name, "seeds": len(self.of(variant.name))}
            row |= dict(zip((f"{name}_paper" for name in ACCURACIES), TABLE_2.get(variant.name, ()), strict=False))
            if not row["seeds"]:
                yield row | {"skipped": "none of its runs could be finished"}
                continue
            for name in ACCURACIES:
                found = mean_interval(list(self.values(variant.name, name).values()))
                row |= {name: found.mean, f"{name}_sd": found.sd}
            yield row

    def _layers(self) -> Iterator[Row]:
        for done in self.runs:
            row: Row = {"variant": done.variant, "seed": done.seed, "network": self.network_of(done.variant)}
            if done.measurement is None:
                yield row | {"skipped": done.skipped}
                continue
            arrays = done.measurement.arrays
            typical = {figure: np.exp(typical_change(arrays[f"change/{figure}"])) for figure in FIGURES}
            names = arrays["change/layers"]
            for number, name in enumerate(names.tolist()):
                yield row | {
                    "layer": name,
                    "place": number / max(len(names) - 1, 1),
                    "parameters": int(arrays["change/sizes"][number]),
                    "first_weight": float(arrays["change/first"][number]),
                    "inner": bool(arrays["change/inner"][number]),
                    **{figure: float(typical[figure][number]) for figure in FIGURES},
                }

    def _thirds(self) -> Iterator[Row]:
        for done in self.runs:
            row: Row = {"variant": done.variant, "seed": done.seed, "network": self.network_of(done.variant)}
            if done.measurement is None:
                yield row | {"skipped": done.skipped}
                continue
            courses = {figure: _courses(done, figure) for figure in FIGURES}
            for part, name in enumerate(THIRDS):
                for record, step in enumerate(done.measurement.arrays["change/steps"].tolist()):
                    found = {figure: courses[figure][part][record] for figure in FIGURES}
                    yield row | {"part": name, "record": record + 1, "step": step, **found}


def _courses(done: ExperimentRun, figure: str) -> list[list[float]]:
    """The geometric mean of the changes of each third of the inner layers, record by record; NaN without any."""
    arrays: Mapping[str, npt.NDArray[np.float64]] = {} if done.measurement is None else done.measurement.arrays
    curves = arrays[f"change/{figure}"][arrays["change/inner"].astype(bool)]
    part = len(curves) // PARTS
    pieces = (curves[:part], curves[part : len(curves) - part], curves[len(curves) - part :])
    return [[_geometric_mean(column) for column in piece.T] for piece in pieces]


def _geometric_mean(values: npt.NDArray[np.float64]) -> float:
    known = values[np.isfinite(values) & (values > 0)]
    return float(np.exp(np.log(known).mean())) if known.size else math.nan
