"""The branches of a network: what its units are tuned to, where they gather, and what branches its weights hide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from weightatlas.anatomy.branches import Branch, Branching
from weightatlas.branching import tables
from weightatlas.branching.clusterability import Clusterability, clusterability
from weightatlas.branching.cuts.network_graph import network_graph
from weightatlas.branching.gathering.membership import branch_partition
from weightatlas.branching.onset import Onset, onset
from weightatlas.branching.surveying.network import open_network
from weightatlas.branching.surveying.tested_families import Families, given_families, tuned_families
from weightatlas.branching.surveying.tested_pairs import HiddenPair, hidden_pairs
from weightatlas.branching.surveying.unit_survey import survey_units
from weightatlas.branching.surveying.units import LayerUnits
from weightatlas.checkpoints import Checkpoint, Trajectory
from weightatlas.progress import Progress, silent
from weightatlas.result import Result, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import altair as alt
    import numpy.typing as npt

    from weightatlas.branching.implicit import Method
    from weightatlas.evaluation import Data
    from weightatlas.parallel import Backend
    from weightatlas.plate import Plate

SHUFFLES = 199
"""Shuffled matrices for each pair of layers: enough for p = .005, few enough for hundreds of pairs."""

NO_BRANCHES = (
    "no branches are known: the layers follow each other, or a --model is needed to see which lie side by side"
)
"""Why the table of branches is empty."""


@dataclass(frozen=True, slots=True, eq=False)
class BranchingSurvey(Result):
    """The branches of one source.

    Attributes:
        source: what was measured.
        layers: every weight with its units; those that were not tuned say why.
        branchings: the explicit branches.
        families: where families of units gather.
        pairs: every two successive layers, and the branches hidden between them.
        clusterability: of the whole network, where it was asked for.
        onsets: of a run, when its branches specialised.
        notes: what was assumed or could not be followed, one sentence each.
        seed: of every random choice.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = tables.COLUMNS

    source: str
    layers: tuple[LayerUnits, ...]
    branchings: tuple[Branching, ...]
    families: tuple[Families, ...]
    pairs: tuple[HiddenPair, ...]
    clusterability: Clusterability | None
    onsets: tuple[Onset, ...]
    notes: tuple[str, ...]
    seed: int

    no_branches: ClassVar[str] = NO_BRANCHES
    no_families: ClassVar[str] = "no layer has both families of units and branches"
    no_clusterability: ClassVar[str] = "it was not asked for: `--table clusterability` measures it"
    no_onset: ClassVar[str] = "one checkpoint has no course; give a run, whose first layer has branches"

    @property
    def tuned(self) -> tuple[LayerUnits, ...]:
        """The layers whose units are tuned to something that could be measured."""
        return tuple(layer for layer in self.layers if layer.tuning is not None or layer.responses is not None)

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "units", "branches", "families", "information", "implicit", "clusterability" or "onset"."""
        columns = self.columns(table)
        make = tables.ROWS[next(iter(tables.ROWS)) if table is None else table]
        return [{column: row.get(column) for column in columns} for row in make(self)]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Tuning by layer, and the hidden axes and the reduced matrix of every pair, named `layer/what`."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for layer in self.tuned:
            if layer.tuning is not None:
                arrays |= {f"{layer.layer}/{name}": getattr(layer.tuning, name) for name in tables.TUNED}
            if layer.pictures is not None:
                arrays[f"{layer.layer}/pictures"] = layer.pictures
        for pair in self.pairs:
            if pair.hidden is not None:
                place = f"{pair.layer}/{pair.next_layer}"
                arrays |= {f"{place}/{name}": getattr(pair.hidden, name) for name in ("left", "right", "matrix")}
        return arrays

    def chart(self) -> alt.LayerChart | alt.FacetChart:
        """Chroma and frequency of every tuned unit, by branch."""
        from weightatlas.branching.charts import tuning_chart

        return tuning_chart(self)

    def plates(self) -> Sequence[Plate]:
        """Findings, units in columns, tuning, families by branch, hidden branches, clusterability, onset."""
        from weightatlas.branching.plates import survey_plates

        return survey_plates(self)


def survey(
    source: Checkpoint | Trajectory | torch.nn.Module | str,
    *,
    model: torch.nn.Module | str | None = None,
    data: Data | None = None,
    layers: Sequence[str] = (),
    visualized: bool = False,
    families: Mapping[str, Mapping[str, Iterable[int]]] | None = None,
    branches: Mapping[str, Mapping[str, Iterable[int]]] | None = None,
    families_name: str = "given",
    chosen_after_looking: bool = False,
    method: Method = "balanced",
    shuffles: int = SHUFFLES,
    with_clusterability: bool = False,
    clusterability_shuffles: int = 50,
    seed: int = 0,
    jobs: int | None = None,
    backend: Backend = "threading",
    progress: Progress = silent,
) -> BranchingSurvey:
    """Find the branches of a network, explicit and hidden, and what gathers in them.

    1. Units of every layer that reads an image are tuned (`tuning`); of the layers named in `layers`, units are tuned
       by their expanded weights and by what stimuli do to them, which needs a model.
    2. Explicit branches: from the model's graph, or, without a model, the groups that shapes suggest.
    3. Families in branches (`specialization`): those given, or, for tuned layers that are branched, colour against
       black-and-white, and high against low frequency where all kernels have one size.
    4. Hidden branches (`implicit`) between every two layers of which the second reads the first alone.
    5. If asked for, the clusterability of the whole network; of a run, when its branches specialised (`onset`).

    q values are Benjamini-Hochberg over what was tested in this source: over the first axes of all pairs, and over
    all layers' information.

    Args:
        source: an open checkpoint or run, a live model, or anything `open_checkpoint` takes; of a run the last
            checkpoint is surveyed.
        model: what `open_model` takes, if the source is no model itself.
        data: what `open_data` gives; its first example shows what the model takes.
        layers: module paths of deeper layers whose units are tuned as well; one in which branches are joined stands
            for their last weights.
        visualized: draw the units of these by feature visualisation: half a minute for a hundred units on a CPU.
        families: layer to family to units, as `read_families` gives them.
        branches: layer to branch to units, where they are known from elsewhere.
        families_name: what the given families are called in the rows.
        chosen_after_looking: whether the given families were made up after their branches were seen.
        method: of `implicit`.
        shuffles: of `implicit`.
        with_clusterability: also measure the clusterability of the whole network.
        clusterability_shuffles: shuffled networks for it.
        seed: of every random choice.
        jobs: pieces of work at once; None is one a core.
        backend: "threading", "loky", "dask" or "ray".
        progress: called once for each layer or pair.

    Raises:
        SourceError: the source or the model cannot be opened, or a layer that is named is not there.
        ValueError: `method` or `backend` is none of those there are, or a number of shuffles is below 1.

    Example:
        >>> import torch
        >>> from weightatlas.branching import survey
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, groups=2))
        >>> found = survey(model, shuffles=19)
        >>> [(row["layer"], row["branch"], row["size"]) for row in found.rows("branches")]
        [('2', 'group 1', 4), ('2', 'group 2', 4), ('0', 'group 1', 4), ('0', 'group 2', 4)]
    """
    run = source if isinstance(source, Trajectory) else None
    network = open_network(source[-1][1] if isinstance(source, Trajectory) else source, model=model, data=data)
    name = network.checkpoint.source if run is None else run.source
    branchings = network.branchings if branches is None else _given(branches, network.branchings)
    units = survey_units(network, branchings, layers, visualized=visualized, seed=seed, progress=progress)
    if families is None:
        tested = tuned_families(units, branchings, seed=seed)
    else:
        looked = chosen_after_looking
        tested = given_families(families, branchings, by=families_name, chosen_after_looking=looked, seed=seed)
    pairs = hidden_pairs(
        network, method=method, shuffles=shuffles, seed=seed, jobs=jobs, backend=backend, progress=progress
    )
    clusters = None
    if with_clusterability:
        graph = network_graph(network.checkpoint, network.flow)
        clusters = clusterability(graph, shuffles=clusterability_shuffles, seed=seed)
    onsets = () if run is None else _onsets(run, tested, branchings, seed=seed)
    return BranchingSurvey(
        source=name,
        layers=units,
        branchings=branchings,
        families=tested,
        pairs=pairs,
        clusterability=clusters,
        onsets=onsets,
        notes=network.notes,
        seed=seed,
    )


def _given(branches: Mapping[str, Mapping[str, Iterable[int]]], known: Sequence[Branching]) -> tuple[Branching, ...]:
    """Branches that are named from outside, before those that the graph tells of other layers."""
    given = []
    for layer, members in branches.items():
        partition = branch_partition(members, layer=layer)
        parts = [np.flatnonzero(partition.labels == place) for place in range(len(partition.names))]
        named = zip(partition.names, parts, strict=True)
        given.append(
            Branching(
                layer=layer,
                kind="concatenation",
                units=partition.units,
                branches=tuple(Branch(name, units, layer, units, (layer,), (1, 1), None) for name, units in named),
                note="named from outside",
            )
        )
    return (*given, *(branching for branching in known if branching.layer not in branches))


def _onsets(
    run: Trajectory, families: Sequence[Families], branchings: Sequence[Branching], *, seed: int
) -> tuple[Onset, ...]:
    """When colour parted the branches of each layer that reads the image."""
    layers = dict.fromkeys(found.layer for found in families if found.by == "colour")
    by_layer = {branching.layer: branching for branching in reversed(branchings)}
    return tuple(onset(run, branches=by_layer[layer], seed=seed) for layer in layers if layer in by_layer)
