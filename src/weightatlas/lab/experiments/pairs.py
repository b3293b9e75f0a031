"""The pairs of an experiment: a variant's run of a seed beside its partner's, measured when all runs are over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from weightatlas.errors import WeightatlasError
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.keeping import TOGETHER, measured_once
from weightatlas.parallel import parallel_map
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.lab.experiments.experiment import Experiment, MeasurePair
    from weightatlas.lab.experiments.result import ExperimentRun
    from weightatlas.lab.running import Run
    from weightatlas.parallel import Backend
    from weightatlas.progress import Progress


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two finished runs of one seed.

    Attributes:
        partner: the run that comes first.
        own: the run of the variant whose row the pair is.
        label: what progress calls it.
    """

    partner: Run
    own: Run
    label: str


def measure_pairs(
    experiment: Experiment,
    runs: Sequence[ExperimentRun],
    *,
    jobs: int,
    backend: Backend,
    progress: Progress,
) -> list[ExperimentRun]:
    """Add to the run of every variant that has a partner what the two have together.

    Args:
        experiment: what was run.
        runs: all of its runs, in their order.
        jobs: pairs at once.
        backend: what measures several.
        progress: called with the pairs measured and how many there are.

    Returns:
        The runs in the same order. A run whose partner could not be finished, or whose pair could not be measured, says
        why and has no figures.
    """
    measure = experiment.measure_pair
    if measure is None:
        return list(runs)
    partners = {variant.name: variant.partner for variant in experiment.variants}
    by_cell = {(done.variant, done.seed): done for done in runs}
    pairs: dict[tuple[str, int], Pair] = {}
    answers: dict[tuple[str, int], ExperimentRun] = {}
    for cell, done in by_cell.items():
        name = partners[done.variant]
        if name is None or done.run is None:
            continue
        partner = by_cell[name, done.seed]
        if partner.run is None:
            reason = f"{name}, with which it makes a pair, could not be finished: {partner.skipped}"
            answers[cell] = _without(done, reason)
        else:
            pairs[cell] = Pair(partner.run, done.run, f"{done.variant} with {name}, seed {done.seed}")
    measured = parallel_map(
        partial(_measured, measure=measure),
        list(pairs.values()),
        jobs=jobs,
        backend=backend,
        isolated=True,
        on_error=lambda _, error: reason_of(error),
        progress=progress,
        label=lambda pair: pair.label,
    )
    for cell, found in zip(pairs, measured, strict=True):
        done = by_cell[cell]
        answers[cell] = _without(done, found) if isinstance(found, str) else _joined(done, found)
    return [answers.get((done.variant, done.seed), done) for done in runs]


def reason_of(error: Exception) -> str:
    """Why something could not be done, as one line."""
    text = " ".join(str(error).split())
    return printable(text if isinstance(error, WeightatlasError) else f"{type(error).__name__}: {text}", limit=500)


def _measured(pair: Pair, *, measure: MeasurePair) -> Measurement | str:
    return measured_once(measure, [pair.partner, pair.own], TOGETHER)


def _joined(done: ExperimentRun, found: Measurement) -> ExperimentRun:
    own = done.measurement
    if own is None:
        return replace(done, measurement=found)
    joined = Measurement({**own.figures, **found.figures}, {**own.arrays, **found.arrays})
    return replace(done, measurement=joined)


def _without(done: ExperimentRun, reason: str) -> ExperimentRun:
    return replace(done, run=None, measurement=None, skipped=printable(reason, limit=500))
