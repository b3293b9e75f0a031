"""The branches of a network: what its units are tuned to, where they gather, and what branches its weights hide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from weightatlas.anatomy.branches import Branching
from weightatlas.branching import tables
from weightatlas.branching.clusterability import Clusterability, clusterability
from weightatlas.branching.cuts.network_graph import network_graph
from weightatlas.branching.onset import Onset, onset
from weightatlas.branching.surveying.named_branches import named_branches
from weightatlas.branching.surveying.network import Network, open_network
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
"""Why the table of branches is empty where there are only weights."""

NONE_IN_GRAPH = "no branches are known: in the model's graph no paths lie side by side, and no convolution is grouped"
NO_GRAPH = "no branches are known: the model's graph could not be followed, and no convolution's shape tells of groups"
"""Why it is empty where there is a model."""

NO_PAIRS = "it has no weights"
PAIRS_UNASKED = "hidden branches were not asked for: `--table implicit`, a page or arrays look for them"
CLUSTERABILITY_UNASKED = "it was not asked for: `--table clusterability` measures it"
"""Why the tables of pairs and of clusterability are empty."""

UNTESTED = "axes without p were not tested: by this method no test of them holds its level"
"""What has to be said of `implicit` by another method than "balanced"."""


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
        no_branches: why no branches are known, where there are none.
        no_pairs: why there are no pairs, where there are none.
        no_clusterability: why there is no clusterability, where there is none.
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
    no_branches: str = NO_BRANCHES
    no_pairs: str = NO_PAIRS
    no_clusterability: str = CLUSTERABILITY_UNASKED

    no_families: ClassVar[str] = "no layer has both families of units and branches"
    no_onset: ClassVar[str] = "one checkpoint has no course; give a run, whose first layer has branches"

    @property
    def tuned(self) -> tuple[LayerUnits, ...]:
        """The layers whose units are tuned to something that could be measured."""
        return tuple(layer for layer in self.layers if layer.tuning is not None or layer.responses is not None)

    def notes_of(self, table: str) -> tuple[str, ...]:
        """What a reader of one table has to know: of the source, and of what that table shows; one sentence each."""
        said: list[str] = []
        if table == "units":
            said = [f"{one.layer}: no stimuli were shown: {one.unasked}" for one in self.layers if one.unasked]
        elif table == "branches":
            said = [f"{one.layer}: {one.note}" for one in self.branchings if one.note]
        elif table in ("families", "information"):
            tested = [(one, one.specialization) for one in self.families if one.specialization is not None]
            said = [f"{one.layer} by {one.by}: {note}" for one, found in tested for note in found.notes]
        elif table == "implicit":
            looked = [(pair, pair.hidden) for pair in self.pairs if pair.hidden is not None]
            said = [f"{pair.layer} to {pair.next_layer}: {note}" for pair, hidden in looked for note in hidden.notes]
            if any(not np.isfinite(hidden.p_values).all() for _, hidden in looked):
                said.append(UNTESTED)
        elif table == "clusterability" and self.clusterability is not None:
            said = [*self.clusterability.notes]
        elif table == "onset":
            said = [f"{onset.layer}: {note}" for onset in self.onsets for note in onset.notes]
        return tuple(dict.fromkeys([*self.notes, *said]))

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
    with_hidden: bool = True,
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
        with_hidden: look for hidden branches; layers of thousands of units take minutes to hours.
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
    if min(shuffles, clusterability_shuffles) < 1:
        message = f"at least one shuffle is needed, not {min(shuffles, clusterability_shuffles)}"
        raise ValueError(message)
    run = source if isinstance(source, Trajectory) else None
    network = open_network(source[-1][1] if isinstance(source, Trajectory) else source, model=model, data=data)
    name = network.checkpoint.source if run is None else run.source
    branchings, strangers = (network.branchings, ()) if branches is None else named_branches(branches, network)
    units = survey_units(network, branchings, layers, visualized=visualized, seed=seed, progress=progress)
    if families is None:
        tested = tuned_families(units, branchings, seed=seed)
    else:
        looked = chosen_after_looking
        tested = given_families(families, branchings, by=families_name, chosen_after_looking=looked, seed=seed)
    work: dict[str, Any] = {"seed": seed, "jobs": jobs, "backend": backend, "progress": progress}
    pairs = hidden_pairs(network, method=method, shuffles=shuffles, **work) if with_hidden else ()
    clusters, unclustered = None, CLUSTERABILITY_UNASKED
    if with_clusterability:
        clusters, unclustered = _clusters(network, shuffles=clusterability_shuffles, **work)
    onsets = () if run is None else _onsets(run, tested, branchings, seed=seed)
    return BranchingSurvey(
        source=name,
        layers=units,
        branchings=branchings,
        families=tested,
        pairs=pairs,
        clusterability=clusters,
        onsets=onsets,
        notes=(*network.notes, *strangers),
        seed=seed,
        no_branches=_no_branches(network),
        no_pairs=NO_PAIRS if with_hidden else PAIRS_UNASKED,
        no_clusterability=unclustered,
    )


def _no_branches(network: Network) -> str:
    if network.model is None:
        return NO_BRANCHES
    return NO_GRAPH if network.flow is None else NONE_IN_GRAPH


def _clusters(network: Network, *, shuffles: int, **options: Any) -> tuple[Clusterability | None, str]:  # noqa: ANN401 - passed on
    """Clusterability, or why the weights have none."""
    try:
        return clusterability(network_graph(network.checkpoint, network.flow), shuffles=shuffles, **options), ""
    except ValueError as error:
        return None, str(error)


def _onsets(
    run: Trajectory, families: Sequence[Families], branchings: Sequence[Branching], *, seed: int
) -> tuple[Onset, ...]:
    """When colour parted the branches of each layer that reads the image."""
    layers = dict.fromkeys(found.layer for found in families if found.by == "colour")
    by_layer = {branching.layer: branching for branching in reversed(branchings)}
    return tuple(onset(run, branches=by_layer[layer], seed=seed) for layer in layers if layer in by_layer)
