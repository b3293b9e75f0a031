"""The result of the degeneracy experiment: layers, edges, the course of training, the curve over examples, ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from weightatlas.connectivity.rank_agreement import rank_agreement
from weightatlas.lab.experiments.degeneracy_measures import MEASURES
from weightatlas.lab.experiments.degeneracy_variants import modulus_of
from weightatlas.lab.experiments.result import ExperimentResult, Shown, experiment_tables
from weightatlas.result import Row, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import altair as alt

    from weightatlas.plate import Plate

OF_A_LAYER: Final = ("parameters", "activations", "gradients", "synchronised", "union", "effective_rank", "width")
LAYERS: Final = ("variant", "seed", "layer", *OF_A_LAYER, "skipped")
EDGES: Final = ("variant", "seed", "source", "target", "interaction", "pca", "all", "spared", "modulus", "skipped")
COURSE: Final = ("variant", "seed", "step", "loss", "test_accuracy", "llc", "low", "high", "flags", "skipped")
CURVE: Final = ("variant", "seed", "examples", "rank", "limit", "nullity", "limited", "skipped")
RANKS: Final = ("variant", "measure", "seeds", "rho", "p_value", "skipped")

RANKED: Final = ("nullity", "union", "effective_rank", "llc")
"""Measures of degeneracy: the first two grow with it, the others fall."""

FEWEST: Final = 4
"""Seeds below which no order is rarer than one in 20."""

LIMITED: Final = 0.98
"""A rank above this share of examples times outputs is the data's, not the network's."""

SHOWN: Final[Shown] = (
    ("test_accuracy", "test acc."),
    ("parameters", "parameters"),
    ("union", "explained"),
    ("nullity", "free"),
    ("rank_limit", "at most"),
    ("edges", "edges"),
    ("edges_pca", "PCA's"),
    ("modules", "modules"),
    ("llc", "LLC"),
    ("minutes", "minutes"),
)


@dataclass(frozen=True, slots=True, eq=False)
class DegeneracyResult(ExperimentResult):
    """The degeneracy experiment; beside the tables of every experiment it has five.

    A row of "layers" is a layer of a run with its free directions; of "edges", two successive points of a run, and how
    many edges are needed between them in the interaction basis and between principal components; of "course", a
    checkpoint with its learning coefficient; of "curve", the rank of the Jacobian on so many examples; of "ranks", a
    variant and a measure of degeneracy, and its rank correlation with the held-out loss over the seeds.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **experiment_tables(MEASURES),
        "layers": LAYERS,
        "edges": EDGES,
        "course": COURSE,
        "curve": CURVE,
        "ranks": RANKS,
    }

    terminal: ClassVar[Mapping[str, Shown]] = {
        **ExperimentResult.terminal,
        "runs": (("variant", "variant"), ("seed", "seed"), *SHOWN),
        "variants": (("variant", "variant"), ("seeds", "seeds"), *SHOWN),
    }

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "runs", "variants", "effects", "layers", "edges", "course", "curve" or "ranks"."""
        make: dict[str, Callable[[], Iterator[Row]]] = {
            "layers": self._layers,
            "edges": self._edges,
            "course": self._course,
            "curve": self._curve,
            "ranks": self._ranks,
        }
        if table not in make:
            return ExperimentResult.rows(self, table)
        return [{column: plain(row.get(column)) for column in self.tables[table]} for row in make[table]()]

    def chart(self) -> alt.HConcatChart:
        """Edges needed in both bases, and the learning coefficient over training."""
        import altair as alt

        from weightatlas.lab.experiments.degeneracy_charts import course_chart, edges_chart

        joined: alt.HConcatChart = alt.hconcat(edges_chart(self), course_chart(self), spacing=30)
        return joined

    def plates(self) -> Sequence[Plate]:
        """What was confirmed, free directions, edges, the course, the curve, verdicts, runs."""
        from weightatlas.lab.experiments.degeneracy_plates import degeneracy_plates

        return degeneracy_plates(self)

    def _layers(self) -> Iterator[Row]:
        for own, columns in self._measured("layers", ("name", *OF_A_LAYER)):
            row = own | columns
            yield row | {"layer": row.get("name")} | {key: None for key in OF_A_LAYER if row.get(key) == -1}

    def _edges(self) -> Iterator[Row]:
        models = {variant.name: variant.configuration.model for variant in self.experiment.variants}
        for own, columns in self._measured("edges", ("source", "target", "interaction", "pca", "all")):
            row = own | {key: None if value == -1 else value for key, value in columns.items()}
            known = row.get("interaction") is not None and row.get("pca")
            row |= {"modulus": modulus_of(models[own["variant"]])}
            yield row | {"spared": 1 - row["interaction"] / row["pca"] if known else None}

    def _course(self) -> Iterator[Row]:
        for own, columns in self._measured("course", ("step", "loss", "test_accuracy", "llc", "low", "high", "flags")):
            yield own | columns

    def _curve(self) -> Iterator[Row]:
        parameters = {(done.variant, done.seed): done.figure("parameters") for done in self.runs}
        for own, columns in self._measured("curve", ("examples", "ranks", "limits")):
            if "ranks" not in columns:
                yield own
                continue
            rank, limit = columns["ranks"], columns["limits"]
            size: Any = parameters[own["variant"], own["seed"]]
            yield own | {
                "examples": columns["examples"],
                "rank": rank,
                "limit": limit,
                "nullity": size - rank,
                "limited": rank > LIMITED * limit,
            }

    def _ranks(self) -> Iterator[Row]:
        for variant in self.experiment.variants:
            losses = self.values(variant.name, "test_loss")
            if variant.configuration.stop is not None:
                row: Row = {"variant": variant.name, "seeds": len(losses)}
                yield row | {"skipped": "its runs stop by what is held out, so that their losses say nothing"}
                continue
            for key in RANKED:
                values = self.values(variant.name, key)
                seeds = sorted(losses.keys() & values.keys())
                found = rank_agreement([values[seed] for seed in seeds], [losses[seed] for seed in seeds])
                row = {"variant": variant.name, "measure": key, "seeds": len(seeds)}
                if found.count < FEWEST or math.isnan(found.rho):
                    yield row | {"skipped": "fewer than four seeds, or the same figure in all"}
                else:
                    yield row | {"rho": found.rho, "p_value": found.p_value}

    def _measured(self, what: str, names: Sequence[str]) -> Iterator[tuple[Row, Row]]:
        """Every run, and of those that have such arrays each entry of them; the others say why they have none."""
        for done in self.runs:
            own: Row = {"variant": done.variant, "seed": done.seed}
            arrays = {} if done.measurement is None else done.measurement.arrays
            if f"{what}/{names[0]}" not in arrays:
                why = done.skipped or done.figure("missing") or "it was not measured"
                yield own | {"skipped": why}, {}
                continue
            columns = [arrays[f"{what}/{name}"].tolist() for name in names]
            for values in zip(*columns, strict=True):
                yield own, dict(zip(names, values, strict=True))
