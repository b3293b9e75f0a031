"""The result of the mode connectivity experiment: barriers by width, by fork, along the line and layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from weightatlas.lab.experiments.effects import mean_interval
from weightatlas.lab.experiments.mode_connectivity_measures import MEASURES, WAYS, key_of
from weightatlas.lab.experiments.mode_connectivity_variants import place_of
from weightatlas.lab.experiments.result import ExperimentResult, Shown, experiment_tables
from weightatlas.result import Row, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import altair as alt

    from weightatlas.lab.experiments.experiment import Variant
    from weightatlas.lab.experiments.mode_connectivity_variants import Place
    from weightatlas.plate import Plate

BARRIERS: Final = tuple(
    key_of(what, matched=matched, recalibrated=recalibrated)
    for what in ("barrier", "error_barrier")
    for matched, recalibrated in WAYS
)
"""The eight barriers of a pair."""

OF_A_PAIR: Final = ("similarity", "similarity_matched", "distance", "angle", "layer_rank")
SPANS: Final = tuple(f"{key}{end}" for key in BARRIERS for end in ("", "_low", "_high"))
WIDTHS: Final = ("family", "width", "variant", "seeds", "test_accuracy", "parameters", *SPANS, *OF_A_PAIR, "skipped")
FORKS: Final = ("family", "width", "share", "step", "variant", "seeds", *SPANS, *OF_A_PAIR, "travelled", "skipped")
PATHS: Final = ("variant", "seed", "matched", "recalibrated", "alpha", "loss", "error", "skipped")
LAYERS: Final = ("variant", "seed", "layer", "barrier", "rise", "predicted", "skipped")

SHOWN: Final[Shown] = (
    ("barrier", "barrier"),
    ("barrier_recalibrated", "recalibrated"),
    ("barrier_matched", "matched"),
    ("barrier_matched_recalibrated", "both"),
    ("error_barrier_recalibrated", "error, recalibrated"),
    ("error_barrier_matched_recalibrated", "error, both"),
)
OF_A_RUN: Final[Shown] = (("test_accuracy", "test acc."), *SHOWN, ("minutes", "minutes"))


@dataclass(frozen=True, slots=True, eq=False)
class ModeConnectivityResult(ExperimentResult):
    """The mode connectivity experiment; beside the tables of every experiment it has four.

    A row of "widths" is a pair of independent networks of one width; of "forks", a pair that was one up to a share of
    the run, the independent one first; both are means over seeds with 95 % t intervals. A row of "paths" is a point of
    a line, of "layers" a layer that moved alone.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **experiment_tables(MEASURES),
        "widths": WIDTHS,
        "forks": FORKS,
        "paths": PATHS,
        "layers": LAYERS,
    }

    terminal: ClassVar[Mapping[str, Shown]] = {
        **ExperimentResult.terminal,
        "runs": (("variant", "variant"), ("seed", "seed"), *OF_A_RUN),
        "variants": (("variant", "variant"), ("seeds", "seeds"), *OF_A_RUN),
        "widths": (("variant", "variant"), ("seeds", "seeds"), ("test_accuracy", "test acc."), *SHOWN),
        "forks": (("share", "forked after"), ("step", "step"), ("seeds", "seeds"), *SHOWN, ("angle", "angle")),
    }

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "runs", "variants", "effects", "widths", "forks", "paths" or "layers"."""
        make: dict[str, Callable[[], Iterator[Row]]] = {
            "widths": self._widths,
            "forks": self._forks,
            "paths": self._paths,
            "layers": self._layers,
        }
        if table not in make:
            return ExperimentResult.rows(self, table)
        return [{column: plain(row.get(column)) for column in self.tables[table]} for row in make[table]()]

    def chart(self) -> alt.HConcatChart:
        """The barriers of independent networks by width, and of forks by their share of the run."""
        import altair as alt

        from weightatlas.lab.experiments.mode_connectivity_charts import forks_chart, widths_chart

        joined: alt.HConcatChart = alt.hconcat(widths_chart(self), forks_chart(self), spacing=30)
        return joined

    def plates(self) -> Sequence[Plate]:
        """What was confirmed, barriers by width and by fork, the lines, layers, verdicts, runs."""
        from weightatlas.lab.experiments.mode_connectivity_plates import mode_connectivity_plates

        return mode_connectivity_plates(self)

    @property
    def forked(self) -> tuple[tuple[Place, Variant], ...]:
        """The independent pair of every width that is forked, then its forks, by the share of the run."""
        places = [(place_of(variant.name), variant) for variant in self.experiment.variants]
        of_forks = {(place.family, place.width) for place, _ in places if place.role == "fork"}
        chosen = [
            (place, variant)
            for place, variant in places
            if place.role != "trunk" and (place.family, place.width) in of_forks
        ]
        return tuple(
            sorted(chosen, key=lambda one: (one[0].family, one[0].width, -1 if one[0].share is None else one[0].share))
        )

    def _widths(self) -> Iterator[Row]:
        for variant in self.experiment.variants:
            place = place_of(variant.name)
            if place.role == "twin":
                accuracy = mean_interval(list(self.values(variant.name, "test_accuracy").values())).mean
                done = self.of(variant.name)
                row: Row = {"test_accuracy": accuracy, "parameters": done[0].figure("parameters") if done else None}
                yield row | self._means(variant, place)

    def _forks(self) -> Iterator[Row]:
        for place, variant in self.forked:
            fork = variant.configuration.fork
            step = None if fork is None else fork.step
            yield self._means(variant, place) | {"share": place.when, "step": step}

    def _means(self, variant: Variant, place: Place) -> Row:
        """What rows of both tables have: the mean of every figure of a pair, of barriers with its interval."""
        row: Row = {"family": place.family or "batch norm", "width": place.width, "variant": variant.name}
        row["seeds"] = len(self.of(variant.name))
        row["skipped"] = None if row["seeds"] else "none of its pairs could be measured"
        for key in (*BARRIERS, *OF_A_PAIR, "travelled"):
            found = mean_interval(list(self.values(variant.name, key).values()))
            row |= {key: found.mean, f"{key}_low": found.low, f"{key}_high": found.high}
        return row

    def _paths(self) -> Iterator[Row]:
        for own, arrays in self._pairs():
            if arrays is None:
                yield own
                continue
            for matched, recalibrated in WAYS:
                names = [
                    f"line/{key_of(what, matched=matched, recalibrated=recalibrated)}" for what in ("loss", "error")
                ]
                curves = (arrays[name].tolist() for name in ("line/alpha", *names))
                for alpha, loss, error in zip(*curves, strict=True):
                    way: Row = {"matched": matched, "recalibrated": recalibrated}
                    yield own | way | {"alpha": alpha, "loss": loss, "error": error}

    def _layers(self) -> Iterator[Row]:
        for own, arrays in self._pairs():
            if arrays is None:
                yield own
                continue
            if "layers/name" not in arrays:
                continue
            columns = (arrays[f"layers/{name}"].tolist() for name in ("name", "barrier", "rise", "predicted"))
            for layer, height, rise, predicted in zip(*columns, strict=True):
                yield own | {"layer": layer, "barrier": height, "rise": rise, "predicted": predicted}

    def _pairs(self) -> Iterator[tuple[Row, Mapping[str, Any] | None]]:
        """Every pair with what was measured along its line; those that could not be measured say why."""
        for done in self.runs:
            own: Row = {"variant": done.variant, "seed": done.seed}
            if done.measurement is not None and "line/alpha" in done.measurement.arrays:
                yield own, done.measurement.arrays
            elif done.skipped is not None and place_of(done.variant).role != "trunk":
                yield own | {"skipped": done.skipped}, None
