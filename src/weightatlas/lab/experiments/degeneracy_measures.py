"""What the degeneracy experiment measures of a run: free directions, basis, modules, learning coefficient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from weightatlas.errors import NotFiniteError, SourceError
from weightatlas.evaluation import open_data, open_model
from weightatlas.evaluation.mean_loss import first_examples
from weightatlas.lab.experiments.degeneracy_variants import network_of, unplanted
from weightatlas.lab.experiments.experiment import Measure, Measurement
from weightatlas.lab.experiments.pairs import reason_of
from weightatlas.lab.records import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from torch import nn

    from weightatlas.degeneracy.ablation import EdgeAblation, NodeAblation
    from weightatlas.degeneracy.counts import Counts
    from weightatlas.degeneracy.gauss_newton import GaussNewtonRank
    from weightatlas.degeneracy.learning_coefficient import LearningCoefficient
    from weightatlas.degeneracy.structure import Structure
    from weightatlas.evaluation import Data
    from weightatlas.lab.experiments.degeneracy_variants import Network
    from weightatlas.lab.experiments.experiment import Figure
    from weightatlas.lab.running import Run

Arrays = dict[str, "npt.NDArray[Any]"]

BATCH: Final = 256
"""Examples in a batch, of all that is measured."""

NULLS: Final = 39
"""Rewired graphs for each modularity."""

CHAINS, DRAWS, BURN_IN, THINNING = 2, 100, 500, 5
"""Of the sampler, at each checkpoint: a quarter of what it takes of its own accord. What is too short is flagged."""

LOCALIZATION: Final = 100.0
"""Precision of the sampler's prior, at which so few steps reach what they sample: a standard deviation of 0.1 for each
weight, about the size of a trained one. Estimates that hang on it are flagged."""

FLOOR: Final = 1e-17
"""Relative changes of outputs below this are none: their logarithm is that of this."""

UNMEASURED: Final = (
    SourceError,
    NotFiniteError,
    np.linalg.LinAlgError,
    torch.linalg.LinAlgError,  # type: ignore[attr-defined]
)
"""What stops one measurement of a run and leaves the others."""

COUNTS: Final = (
    ("activations", "freed by activations", "directions freed by linearly dependent activations"),
    ("gradients", "freed by gradients", "directions freed by linearly dependent gradients"),
    ("synchronised", "freed by synchrony", "directions freed by units that fire together, rescalings among them"),
    ("rescalings", "rescalings", "of single rectified units: free in every such network, counted among the former"),
    (
        "conditional",
        "freed where live",
        "directions freed by activations that depend on each other where a unit is live",
    ),
    ("heads", "freed in heads", "changes of basis inside of attention heads"),
    ("linear", "freed between layers", "changes of basis of channels that linear maps alone write and read"),
    ("norms", "freed at norms", "scales and shifts of norms that the layers around them have once more"),
    ("union", "explained", "rank of all these directions together"),
    ("nullity", "free in all", "parameters less the rank of the Jacobian, where that is exact"),
    ("gap", "unexplained", "free directions that none of the kinds explains"),
    ("rank", "rank", "of the Jacobian of all outputs on the examples"),
    ("rank_limit", "at most", "examples times outputs: the rank cannot be more, whatever the network"),
)

MEASURES: Final = (
    Measure("free_share", "free", "share", compared=True, description="share of the parameters, unless data limit it"),
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
    Measure("effective_rank", "effective rank", "share", description="of activations, as a share of their width; mean"),
    Measure(
        "followed",
        "change along free directions",
        "number",
        description="of the outputs, relative, after a step as long as the weights",
    ),
    Measure("followed_order", "its order of magnitude", "number", description=f"log10; below {FLOOR:g} counts as that"),
    Measure("followed_random", "along any", "number", description="likewise, after a step as long in any direction"),
    Measure("followed_in", "in layers", "integer", description="that have directions freed by activations"),
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
    Measure("bracket_low", "bracket from", "number", description="of the learning coefficient, by the curvature"),
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
    `modules/point`, `course/...` (step, loss, test_accuracy, llc, low, high, flags). What could not be measured
    is not there, and `missing` says why.

    Raises:
        SourceError: a checkpoint or the data cannot be read.
    """
    configuration = run.configuration
    name = unplanted(configuration.model)
    network = network_of(name)
    data = open_data(configuration.data, seed=configuration.seed, batch_size=BATCH)
    model = open_model(name, checkpoint=run.checkpoint, seed=configuration.seed)
    figures: dict[str, Figure] = {}
    arrays: Arrays = {}
    missing: list[str] = []
    try:
        found = _directions(model, data, network, configuration.seed)
    except UNMEASURED as error:
        missing.append(f"directions: {_problem(error)}")
    else:
        figures |= _counted(found) | _followed(model, data, network, configuration.seed)
        arrays |= _layers(found)
    try:
        structure = _structure(model, data, network, configuration.seed) if network.points else None
    except UNMEASURED as error:
        missing.append(f"structure: {_problem(error)}")
    else:
        figures |= {} if structure is None else _structured(structure)
        arrays |= {} if structure is None else _edges(structure)
    curved = None
    try:
        curved = _curved(model, data, network, configuration.seed)
    except UNMEASURED as error:
        missing.append(f"bracket: {_problem(error)}")
    bracket = None if curved is None else curved.bracket
    course = _course(run, name, data, network, curved)
    last = course[max(course)]
    figures |= {"llc": last.estimate, "llc_low": last.low, "llc_high": last.high, "llc_flags": "; ".join(last.flags)}
    figures |= {} if bracket is None else {"bracket_low": bracket[0], "bracket_high": bracket[1]}
    return Measurement(figures | {"missing": "; ".join(missing)}, arrays | _courses(run, course))


def _problem(error: Exception) -> str:
    return error.problem if isinstance(error, SourceError) else reason_of(error)


def _directions(model: nn.Module, data: Data, network: Network, seed: int) -> Counts:
    from weightatlas.degeneracy.counts import counts  # here and below only now: opening an experiment needs none of it

    inputs = first_examples(data, network.counted, next(model.parameters()).device)
    with torch.no_grad():
        outputs = sum(model(batch).numel() for batch, _ in inputs)
    # Where there are fewer outputs than parameters the data would limit the rank: minutes for what says nothing.
    known = outputs >= sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return counts(model, inputs, exact="auto" if known else False, curve=known, seed=seed)


def _followed(model: nn.Module, data: Data, network: Network, seed: int) -> dict[str, Figure]:
    from weightatlas.lab.experiments.degeneracy_long_step import long_step

    step = long_step(model, data, examples=network.counted, seed=seed)
    return {
        "followed": step.along_free,
        "followed_order": math.log10(max(step.along_free, FLOOR)) if step.layers else None,
        "followed_random": step.along_random,
        "followed_in": step.layers,
    }


def _structure(model: nn.Module, data: Data, network: Network, seed: int) -> Structure:
    from weightatlas.degeneracy.structure import StructureMeasurement

    return StructureMeasurement(examples=network.structured, nulls=NULLS, seed=seed)(model, data, network.points)


def _curved(model: nn.Module, data: Data, network: Network, seed: int) -> GaussNewtonRank | None:
    """In how many directions the loss that is sampled is curved; None where that would take too long."""
    from weightatlas.degeneracy.gauss_newton import gauss_newton_rank
    from weightatlas.degeneracy.jacobian import LIMIT

    if sum(tensor.numel() for tensor in model.parameters() if tensor.requires_grad) > LIMIT:
        return None
    return gauss_newton_rank(model, data, examples=network.sampled, seed=seed)


def course_steps(steps: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Of the checkpoints that were kept, so many at which the learning coefficient is sampled: spread, the last too.

    Example:
        >>> course_steps((0, 1, 2, 4, 8, 16, 32, 64, 100), 3)
        (4, 16, 100)
    """
    if len(steps) <= most:
        return steps
    places = [round((part + 1) * (len(steps) - 1) / most) for part in range(most)]
    return tuple(steps[place] for place in places)


def _course(
    run: Run, name: str, data: Data, network: Network, curved: GaussNewtonRank | None
) -> dict[int, LearningCoefficient]:
    """The learning coefficient over training, by the step; the bracket is that of the end, where it binds."""
    from weightatlas.degeneracy.learning_coefficient import learning_coefficient
    from weightatlas.degeneracy.sampling.posterior import default_nbeta

    bracket = None if curved is None else curved.bracket_at(default_nbeta(curved.examples), LOCALIZATION)
    folder = RunFolder(run.folder)
    kept = tuple(step for step in _kept(folder) if step <= run.steps)
    found = {}
    for step in course_steps(kept, network.course):
        model = open_model(name, checkpoint=folder.checkpoint(step), seed=run.configuration.seed)
        found[step] = learning_coefficient(
            model,
            data,
            chains=CHAINS,
            draws=DRAWS,
            burn_in=BURN_IN,
            thinning=THINNING,
            localization=LOCALIZATION,
            batch_size=network.batch_size,
            examples=network.sampled,
            bracket=bracket if step == run.steps else None,
            seed=run.configuration.seed,
        )
    return found


def _kept(folder: RunFolder) -> tuple[int, ...]:
    names = [path.stem.removeprefix("step-") for path in folder.checkpoint(0).parent.glob("step-*.safetensors")]
    return tuple(sorted(int(name) for name in names))


def _counted(found: Counts) -> dict[str, Figure]:
    """The figures of what was counted."""
    return {
        **{key: getattr(found, key) for key, _, _ in COUNTS if hasattr(found, key)},
        "nullity": found.exact,
        "rank_limit": found.limit,
        "free_share": None if found.exact is None or found.data_limited else found.exact / found.parameters,
        "data_limited": None if found.data_limited is None else int(found.data_limited),
        "effective_rank": _effective_rank(found),
    }


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
        arrays[f"layers/{key}"] = np.array([_or_absent(getattr(layer, key)) for layer in layers], dtype=np.int64)
    spectra = [layer.activation_spectrum for layer in layers]
    arrays["layers/width"] = np.array([0 if one is None else len(one.singular_values) for one in spectra])
    ranks = [math.nan if one is None else one.effective_rank for one in spectra]
    arrays["layers/effective_rank"] = np.array(ranks, dtype=np.float64)
    return arrays | (_curve(found) if found.curve is not None else {})


def _or_absent(value: int | None) -> int:
    """A count in an array of whole numbers; -1 where there is none."""
    return -1 if value is None else value


def _curve(found: Counts) -> Arrays:
    curve = found.curve
    return {f"curve/{name}": np.asarray(getattr(curve, name)) for name in ("examples", "ranks", "limits")}


def _structured(found: Structure) -> dict[str, Figure]:
    """The figures of bases, edges and modules."""
    own, pca = (_all_needed(each) for each in (found.edges, found.baseline_edges))
    null = float(np.mean(found.modules.null_modularity))
    return {
        "edges": own,
        "edges_pca": pca,
        "edges_gain": 1 - own / pca if own is not None and pca else math.nan,
        "nodes": _all_needed(found.nodes),
        "nodes_pca": _all_needed(found.baseline_nodes),
        "modules": found.modules.count,
        "modularity": found.modules.modularity,
        "modularity_gain": found.modules.modularity - null,
        "modules_p": found.modules.p_value,
        "modules_stability": _stability(found),
    }


def _all_needed(ablations: Sequence[EdgeAblation] | Sequence[NodeAblation]) -> int | None:
    """What is needed in all; None where not even all of it keeps the accuracy somewhere."""
    counts = [one.needed for one in ablations]
    return None if None in counts else sum(count for count in counts if count is not None)


def _stability(found: Structure) -> float:
    values = np.asarray(found.modules.stability, dtype=np.float64)
    return float(values.mean()) if values.size else math.nan


def _edges(found: Structure) -> Arrays:
    pairs = list(zip(found.edges, found.baseline_edges, strict=True))
    return {
        "edges/source": np.array([own.source for own, _ in pairs]),
        "edges/target": np.array([own.target for own, _ in pairs]),
        "edges/interaction": np.array([_or_absent(own.needed) for own, _ in pairs], dtype=np.int64),
        "edges/pca": np.array([_or_absent(pca.needed) for _, pca in pairs], dtype=np.int64),
        "edges/all": np.array([own.total for own, _ in pairs], dtype=np.int64),
        "modules/labels": np.asarray(found.modules.labels),
        "modules/point": np.array([point for point, _ in found.modules.nodes]),
    }


def _courses(run: Run, course: dict[int, LearningCoefficient]) -> Arrays:
    tested = {row["step"]: row["test_accuracy"] for row in RunFolder(run.folder).rows() if "test_accuracy" in row}
    return {
        "course/step": np.array(list(course), dtype=np.int64),
        "course/llc": np.array([one.estimate for one in course.values()]),
        "course/low": np.array([one.low for one in course.values()]),
        "course/high": np.array([one.high for one in course.values()]),
        "course/test_accuracy": np.array([tested.get(step, math.nan) for step in course], dtype=np.float64),
        "course/loss": np.array([one.initial_loss for one in course.values()]),
        "course/flags": np.array(["; ".join(one.flags) for one in course.values()]),
    }
