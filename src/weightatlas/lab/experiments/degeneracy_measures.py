"""What the degeneracy experiment measures of a run: free directions, basis, modules, learning coefficient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.degeneracy.counts import counts
from weightatlas.degeneracy.hessian_bracket import hessian_bracket
from weightatlas.degeneracy.learning_coefficient import learning_coefficient
from weightatlas.degeneracy.structure import StructureMeasurement
from weightatlas.errors import SourceError
from weightatlas.evaluation import open_data, open_model
from weightatlas.lab.experiments.degeneracy_following import follow
from weightatlas.lab.experiments.degeneracy_variants import network_of, unplanted
from weightatlas.lab.experiments.experiment import Measure, Measurement
from weightatlas.lab.records import RunFolder

if TYPE_CHECKING:
    import numpy.typing as npt
    from weightatlas.degeneracy.counts import Counts
    from weightatlas.degeneracy.learning_coefficient import LearningCoefficient
    from weightatlas.degeneracy.structure import Structure
    from weightatlas.evaluation import Data
    from weightatlas.lab.experiments.experiment import Figure
    from weightatlas.lab.running import Run

Arrays = dict[str, "npt.NDArray[Any]"]

BATCH: Final = 256
"""Examples in a batch, of all that is measured."""

COUNTED: Final = 400
"""Training examples that directions are counted on, at most."""

STRUCTURED: Final = 1000
"""Training examples that bases are taken on, at most: all sums of p = 53 that are trained on."""

NULLS: Final = 39
"""Rewired graphs for each modularity."""

CHAINS, DRAWS = 4, 100
"""Of the sampler, at each checkpoint."""

COURSE: Final = 4
"""Checkpoints at which the learning coefficient is sampled, at most; the last is the end."""

COUNTS: Final = (
    ("activations", "freed by activations", "directions freed by linearly dependent activations"),
    ("gradients", "freed by gradients", "directions freed by linearly dependent gradients"),
    ("synchronised", "freed by synchrony", "directions freed by units that fire together, rescalings among them"),
    ("rescalings", "rescalings", "of single rectified units: free in every such network, counted among the former"),
    ("conditional", "freed where live", "directions freed by activations that depend on each other where a unit is live"),
    ("heads", "freed in heads", "changes of basis inside of attention heads"),
    ("union", "explained", "rank of all these directions together"),
    ("nullity", "free in all", "parameters less the rank of the Jacobian, where that is exact"),
    ("gap", "unexplained", "free directions that none of the kinds explains"),
    ("rank", "rank", "of the Jacobian of all outputs on the examples"),
    ("rank_limit", "at most", "examples times outputs: the rank cannot be more, whatever the network"),
)

MEASURES: Final = (
    Measure("free_share", "free", "share", compared=True, description="free directions as a share of the parameters"),
    Measure(
        "edges_gain",
        "edges spared",
        "share",
        compared=True,
        description="edges that the interaction basis needs less than principal components, as a share of theirs",
    ),
    Measure(
        "modularity_gain",
        "modularity above chance",
        compared=True,
        description="modularity of the interaction graph less the mean of rewired graphs",
    ),
    Measure("llc", "learning coefficient", "number", compared=True, description="local, at the end of training"),
    *(Measure(key, label, "integer", description=said) for key, label, said in COUNTS),
    Measure("data_limited", "limited by the data", "integer", description="1 where the rank is what the data allow"),
    Measure("curve_limited", "examples to be free of that", "integer", description="the fewest that do not limit it"),
    Measure("effective_rank", "effective rank", "share", description="of activations, as a share of their width; mean"),
    Measure(
        "followed",
        "change along free directions",
        "number",
        description="of the outputs, relative, after a step as long as the weights",
    ),
    Measure("followed_random", "along any", "number", description="likewise, after a step as long in any direction"),
    Measure("edges", "edges needed", "integer", description="of the interaction basis, at equal accuracy"),
    Measure("edges_pca", "of principal components", "integer", description="likewise"),
    Measure("nodes", "directions needed", "integer", description="of the interaction basis, at equal accuracy"),
    Measure("nodes_pca", "of principal components", "integer", description="likewise"),
    Measure("modules", "modules", "integer", description="communities of the interaction graph"),
    Measure("modularity", "modularity", "number", description="of these"),
    Measure("modules_p", "its p", "probability", description="against rewired graphs"),
    Measure("modules_stability", "stability", "number", description="mean adjusted Rand index over seeds"),
    Measure("llc_low", "from", "number", description="95 % interval of the learning coefficient, of sampling alone"),
    Measure("llc_high", "to", "number", description="likewise"),
    Measure("llc_flags", "flags", "text", description="what speaks against that estimate"),
    Measure("bracket_low", "bracket from", "number", description="of the learning coefficient, from the rank"),
    Measure("bracket_high", "to", "number", description="likewise"),
    Measure("missing", "not measured", "text", description="what could not be measured, and why"),
)
"""The figures of each run, those that are compared first."""


def measure(run: Run) -> Measurement:
    """Measure a finished run on its training data.

    A modular network's weights are measured in the mixed network, where the zeros between its tasks are parameters
    like all others: so both have the same number of them.

    Arrays: `layers/...` (name, parameters, activations, gradients, synchronised, union, effective_rank, width),
    `curve/...` (examples, ranks, limits), `edges/...` (source, target, interaction, pca, all), `modules/labels` and
    `modules/point`, `course/...` (step, loss, test_accuracy, llc, low, high, flags). What could not be measured is not there, and
    `missing` says why.

    Raises:
        SourceError: a checkpoint or the data cannot be read.
    """
    configuration = run.configuration
    name = unplanted(configuration.model)
    data = open_data(configuration.data, seed=configuration.seed, batch_size=BATCH)
    model = open_model(name, checkpoint=run.checkpoint, seed=configuration.seed)
    figures: dict[str, Figure] = {}
    arrays: Arrays = {}
    missing: list[str] = []
    found = None
    try:
        found = counts(model, data, examples=COUNTED, seed=configuration.seed)
    except SourceError as error:
        missing.append(f"directions: {error.problem}")
    else:
        figures |= _counted(found)
        arrays |= _layers(found)
        walk = follow(model, data, examples=COUNTED, seed=configuration.seed)
        figures |= {"followed": walk.along_free, "followed_random": walk.along_random}
    points = network_of(configuration.model).points
    if points:
        try:
            structure = StructureMeasurement(examples=STRUCTURED, nulls=NULLS, seed=configuration.seed)(
                model, data, points
            )
        except SourceError as error:
            missing.append(f"structure: {error.problem}")
        else:
            figures |= _structured(structure)
            arrays |= _edges(structure)
    course = _course(run, name, data)
    last = course[max(course)]
    figures |= {"llc": last.estimate, "llc_low": last.low, "llc_high": last.high, "llc_flags": "; ".join(last.flags)}
    if found is not None and found.rank is not None and not found.data_limited:
        low, high = hessian_bracket(found.rank, found.parameters)
        figures |= {"bracket_low": low, "bracket_high": high}
    return Measurement(figures | {"missing": "; ".join(missing)}, arrays | _courses(course))


def course_steps(steps: tuple[int, ...]) -> tuple[int, ...]:
    """Of the checkpoints that were kept, those at which the learning coefficient is sampled: spread evenly, the last.

    Example:
        >>> course_steps((0, 1, 2, 4, 8, 16, 32, 64, 100))
        (2, 8, 32, 100)
    """
    if len(steps) <= COURSE:
        return steps
    places = [round((part + 1) * (len(steps) - 1) / COURSE) for part in range(COURSE)]
    return tuple(steps[place] for place in places)


def _course(run: Run, name: str, data: Data) -> dict[int, LearningCoefficient]:
    """The learning coefficient over training, by the step."""
    folder = RunFolder(run.folder)
    kept = tuple(step for step in _kept(folder) if step <= run.steps)
    found = {}
    for step in course_steps(kept):
        model = open_model(name, checkpoint=folder.checkpoint(step), seed=run.configuration.seed)
        found[step] = learning_coefficient(model, data, chains=CHAINS, draws=DRAWS, seed=run.configuration.seed)
    return found


def _kept(folder: RunFolder) -> tuple[int, ...]:
    names = [path.stem.removeprefix("step-") for path in folder.checkpoint(0).parent.glob("step-*.safetensors")]
    return tuple(sorted(int(name) for name in names))


def _counted(found: Counts) -> dict[str, Figure]:
    """The figures of what was counted."""
    free = found.exact if found.exact is not None else found.union
    return {
        **{key: getattr(found, key) for key, _, _ in COUNTS if hasattr(found, key)},
        "nullity": found.exact,
        "rank_limit": found.examples * found.outputs,
        "free_share": None if free is None else free / found.parameters,
        "data_limited": None if found.data_limited is None else int(found.data_limited),
        "curve_limited": _unlimited_from(found),
        "effective_rank": _effective_rank(found),
    }


def _unlimited_from(found: Counts) -> int | None:
    """The fewest examples of the curve whose rank lies clearly below what they allow."""
    if found.curve is None:
        return None
    free = [int(n) for n, rank, limit in zip(*_curve(found).values(), strict=True) if rank <= 0.98 * limit]
    return min(free, default=None)


def _effective_rank(found: Counts) -> float:
    """Mean over layers of the effective rank of their activations, as a share of their width."""
    shares = [
        spectrum.effective_rank / len(spectrum.singular_values)
        for spectrum in (layer.activation_spectrum for layer in found.layers)
        if spectrum is not None and len(spectrum.singular_values)
    ]
    return float(np.mean(shares)) if shares else math.nan


def _layers(found: Counts) -> Arrays:
    """What was counted, layer by layer; -1 where it was not."""
    layers = [layer for layer in found.layers if layer.skipped is None]
    arrays: Arrays = {"layers/name": np.array([layer.layer for layer in layers])}
    for key in ("parameters", "activations", "gradients", "synchronised", "union"):
        values = [getattr(layer, key) for layer in layers]
        arrays[f"layers/{key}"] = np.array([-1 if value is None else value for value in values], dtype=np.int64)
    spectra = [layer.activation_spectrum for layer in layers]
    arrays["layers/width"] = np.array([0 if one is None else len(one.singular_values) for one in spectra])
    ranks = [math.nan if one is None else one.effective_rank for one in spectra]
    arrays["layers/effective_rank"] = np.array(ranks, dtype=np.float64)
    return arrays | (_curve(found) if found.curve is not None else {})


def _curve(found: Counts) -> Arrays:
    curve = found.curve
    return {f"curve/{name}": np.asarray(getattr(curve, name)) for name in ("examples", "ranks", "limits")}


def _structured(found: Structure) -> dict[str, Figure]:
    """The figures of bases, edges and modules."""
    own, pca = (sum(one.needed for one in each) for each in (found.edges, found.baseline_edges))
    null = float(np.mean(found.modules.null_modularity))
    return {
        "edges": own,
        "edges_pca": pca,
        "edges_gain": 1 - own / pca if pca else math.nan,
        "nodes": sum(one.needed for one in found.nodes),
        "nodes_pca": sum(one.needed for one in found.baseline_nodes),
        "modules": found.modules.count,
        "modularity": found.modules.modularity,
        "modularity_gain": found.modules.modularity - null,
        "modules_p": found.modules.p_value,
        "modules_stability": _stability(found),
    }


def _stability(found: Structure) -> float:
    values = np.asarray(found.modules.stability, dtype=np.float64)
    return float(values.mean()) if values.size else math.nan


def _edges(found: Structure) -> Arrays:
    pairs = list(zip(found.edges, found.baseline_edges, strict=True))
    return {
        "edges/source": np.array([own.source for own, _ in pairs]),
        "edges/target": np.array([own.target for own, _ in pairs]),
        "edges/interaction": np.array([own.needed for own, _ in pairs], dtype=np.int64),
        "edges/pca": np.array([pca.needed for _, pca in pairs], dtype=np.int64),
        "edges/all": np.array([own.total for own, _ in pairs], dtype=np.int64),
        "modules/labels": np.asarray(found.modules.labels),
        "modules/point": np.array([point for point, _ in found.modules.nodes]),
    }


def _courses(course: dict[int, LearningCoefficient]) -> Arrays:
    return {
        "course/step": np.array(list(course), dtype=np.int64),
        "course/llc": np.array([one.estimate for one in course.values()]),
        "course/low": np.array([one.low for one in course.values()]),
        "course/high": np.array([one.high for one in course.values()]),
        "course/loss": np.array([one.initial_loss for one in course.values()]),
        "course/flags": np.array(["; ".join(one.flags) for one in course.values()]),
    }

