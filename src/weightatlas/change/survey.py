"""The weight change of every layer over a run: tensor by tensor, each checkpoint read once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np

from weightatlas.change.analysis import Analysis, analysed
from weightatlas.change.changes import FIGURES, Changes, LayerChange
from weightatlas.change.streaming.journal import Journal
from weightatlas.change.streaming.lineage import Lineage, Tensors, lineages
from weightatlas.change.streaming.sweep import Sweep
from weightatlas.change.summing.measuring import Asked
from weightatlas.change.summing.ratios import median_ratio
from weightatlas.change.summing.sums import Zero, figures
from weightatlas.checkpoints import Checkpoint, Skipped, Trajectory, open_checkpoint, open_trajectory
from weightatlas.checkpoints.runs.trajectory import Moment
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.errors import MissingDependencyError, SourceError
from weightatlas.parallel import Backend, parallel_map
from weightatlas.progress import Progress, silent
from weightatlas.wording import counted

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from torch import nn

    from weightatlas.change.streaming.sweep import Work

    Source = str | os.PathLike[str] | Mapping[str, Any] | nn.Module | Checkpoint
    Run = str | os.PathLike[str] | Sequence[Any] | Mapping[int, Any] | Trajectory

PAIR: Final = 2
"""Checkpoints that a change needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a run is surveyed.

    Attributes:
        tensors: "weights": every parameter with two axes or more, as in the paper; "all": biases, norms and running
            statistics too.
        zero: what `elementwise` does with weights of 0, as in `statistics`.
        only_norms: measure `ratio_l1` alone.
        median: measure the median of elementwise ratios, too.
    """

    tensors: Tensors = "weights"
    zero: Zero = "skip"
    only_norms: bool = False
    median: bool = False

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            ValueError: an option is none of those it can be.
        """
        for name, value, known in (("tensors", self.tensors, Tensors), ("zero", self.zero, Zero)):
            if value not in get_args(known):
                message = f"{name} must be one of {', '.join(get_args(known))}, not {value!r}"
                raise ValueError(message)


def survey(
    run: Run,
    *,
    tensors: Tensors = "weights",
    zero: Zero = "skip",
    only_norms: bool = False,
    median: bool = False,
    journal: str | os.PathLike[str] | None = None,
    analysis: Analysis | None = None,
    jobs: int | None = None,
    backend: Backend = "threading",
    progress: Progress = silent,
) -> Changes:
    """Measure how much every layer changed from each checkpoint of a run to the next.

    The figures are those of `statistics`: w and w' are what two checkpoints that follow each other hold, the update
    before is that of the pair before, the first weights are those of the first checkpoint that has the tensor (in the
    shape that it has at the end, and can be read). Tensors are gone through one after the other, a part at a time, over
    all checkpoints together: each is read once, and memory does not grow with the model or the length of the run where
    the format can be mapped; else it is four copies of the largest tensor for each of `jobs`.

    A checkpoint that cannot be opened is left out: the next one is then compared with the one before it, and `since`
    says so. A tensor that cannot be read at a step, appears, vanishes, changes its shape, or was worked on by a process
    that died, has no figures there, and the reason.

    Args:
        run: a folder or whatever else `open_trajectory` takes, or what it gave.
        tensors: "weights", or "all": biases, norms and running statistics too.
        zero: what `elementwise` does with weights of 0, as in `statistics`.
        only_norms: measure `ratio_l1` alone, a little faster.
        median: measure the median of elementwise ratios, too.
        journal: a file that keeps results as they come. A survey that was interrupted goes on from it, and
            checkpoints that are new since are added; those that were written anew are measured again. Checkpoints in
            memory or behind a URL are not kept. Several surveys may share a journal, of several runs and options too.
        analysis: what is made of the curves: trends, stopped layers, change against depth.
        jobs: parts gone through at once; None is one a core.
        backend: "threading", "loky", "dask" or "ray".
        progress: called after each part.

    Raises:
        SourceError: there is no run, or fewer than two of its checkpoints can be opened, or the journal is another
            file.
        ValueError: an option is none of those it can be.

    **Source:** WeightScale (Agrawal and others, 2022), section 3. The paper's curves are of `elementwise`, one value an
    epoch.

    Example:
        >>> import torch
        >>> run = {step: {"conv1.weight": torch.full((8, 3, 5, 5), 1 + step / 100)} for step in (0, 10, 20)}
        >>> [(row["layer"], row["step"], round(row["ratio_l1"], 4)) for row in survey(run).rows()]
        [('conv1', 10, 0.1), ('conv1', 20, 0.0909)]
    """
    options = Options(tensors=tensors, zero=zero, only_norms=only_norms, median=median)
    trajectory = run if isinstance(run, Trajectory) else open_trajectory(run)
    changes = _surveyed(trajectory, options, journal, _map_of(jobs, backend, progress))
    return analysed(changes, Analysis() if analysis is None else analysis)


def compare(
    before: Source,
    after: Source,
    *,
    tensors: Tensors = "weights",
    zero: Zero = "skip",
    only_norms: bool = False,
    median: bool = False,
    jobs: int | None = None,
    backend: Backend = "threading",
    progress: Progress = silent,
) -> Changes:
    """Measure how much every layer differs between two checkpoints, as `survey` does for those of a run.

    Args:
        before: anything `open_checkpoint` takes, or what it gave.
        after: the same.
        tensors: as in `survey`, like what follows.
        zero: what `elementwise` does with weights of 0.
        only_norms: measure `ratio_l1` alone.
        median: measure the median of elementwise ratios, too.
        jobs: parts gone through at once; None is one a core.
        backend: "threading", "loky", "dask" or "ray".
        progress: called after each part.

    Raises:
        SourceError: one cannot be opened, or they have no tensor in common.
        ValueError: an option is none of those it can be.

    Example:
        >>> import torch
        >>> before, after = {"fc.weight": torch.ones(2, 2)}, {"fc.weight": torch.full((2, 2), 1.5)}
        >>> compare(before, after).layers[0].figures["ratio_l1"].tolist()
        [0.5]
    """
    options = Options(tensors=tensors, zero=zero, only_norms=only_norms, median=median)
    opened = [source if isinstance(source, Checkpoint) else open_checkpoint(source) for source in (before, after)]
    moments = [Moment(place, each.source, partial(_given, each)) for place, each in enumerate(opened)]
    source = f"{opened[0].source} to {opened[1].source}"
    return _surveyed(Trajectory(source, moments, unit="position"), options, None, _map_of(jobs, backend, progress))


def _given(checkpoint: Checkpoint) -> Checkpoint:
    return checkpoint


def _map_of(jobs: int | None, backend: Backend, progress: Progress) -> Work:
    return partial(parallel_map, jobs=jobs, backend=backend, progress=progress)


def _surveyed(trajectory: Trajectory, options: Options, journal: str | os.PathLike[str] | None, work: Work) -> Changes:
    """The figures of all layers at all steps."""
    steps, checkpoints, skipped = _open(trajectory)
    found, notes = lineages(checkpoints, options.tensors)
    if not any(lineage.pairs for lineage in found):
        problem = "no layer of the same name and shape in two checkpoints that follow each other"
        raise SourceError(trajectory.source, problem, "`weightatlas layers` lists what a checkpoint has")
    with Journal(journal) as kept:
        asked = Asked(only_norms=options.only_norms, median=options.median)
        sweep = Sweep(checkpoints, found, asked, kept)
        sweep.run(work)
    return Changes(
        source=trajectory.source,
        unit=trajectory.unit,
        steps=tuple(steps[1:]),
        since=tuple(steps[:-1]),
        layers=tuple(_layer(sweep, each, index, steps, options) for index, each in enumerate(found)),
        skipped=(*trajectory.skipped, *skipped, *_unreadable_entries(checkpoints)),
        notes=(*trajectory.notes, *notes),
        bytes_read=sweep.bytes_read,
    )


def _open(trajectory: Trajectory) -> tuple[list[int], list[Checkpoint], list[Skipped]]:
    """The checkpoints that can be opened, and their steps.

    Raises:
        SourceError: there are fewer than two.
        MissingDependencyError: they need a package that is not installed.
    """
    steps, checkpoints, skipped = [], [], []
    for place, step in enumerate(trajectory.steps):
        try:
            with untrusted(trajectory.sources[place], "it failed"):
                checkpoints.append(trajectory[place][1])
        except MissingDependencyError:
            raise
        except SourceError as error:
            skipped.append(Skipped(trajectory.sources[place], f"cannot be opened ({error.problem})"))
        else:
            steps.append(step)
    if len(checkpoints) < PAIR:
        problem = f"{counted(len(checkpoints), 'checkpoint')} that can be used: a change needs two"
        bad = [*trajectory.skipped, *skipped]
        remedy = f"see {bad[0].name}: {bad[0].reason}" if bad else "wait for the next one, or keep more of a run"
        raise SourceError(trajectory.source, problem, remedy)
    return steps, checkpoints, skipped


def _layer(sweep: Sweep, lineage: Lineage, index: int, steps: Sequence[int], options: Options) -> LayerChange:
    """The figures of one tensor at every step."""
    values = {figure: np.full(len(steps) - 1, np.nan) for figure in FIGURES}
    reasons = {}
    for place in range(1, len(steps)):
        pair = sweep.pair(index, place)
        total = None if pair is None else sweep.total(index, pair)
        if pair is None or total is None:
            lost = None if pair is None else sweep.lost.get(index)
            reasons[place - 1] = lost or _reason(lineage, place, steps, sweep.unreadable[index])
            continue
        found = figures(
            total.sums,
            lineage.elements,
            zero=options.zero,
            only_norms=options.only_norms,
            with_previous=pair.previous is not None,
            with_start=pair.start is not None,
        )
        if found.skipped is not None:
            reasons[place - 1] = found.skipped
            continue
        for figure in FIGURES:
            value = getattr(found, figure)
            values[figure][place - 1] = np.nan if value is None else value
        if total.bins is not None:
            values["median"][place - 1] = median_ratio(total.bins)
    return LayerChange(lineage.layer, lineage.tensor, lineage.role, lineage.shape, values, reasons)


def _reason(lineage: Lineage, place: int, steps: Sequence[int], unreadable: Mapping[int, str]) -> str:
    """Why a tensor has no figures at a step."""
    if place in unreadable:
        return unreadable[place]
    if place - 1 in unreadable:
        return f"it cannot be read at the step before, {steps[place - 1]:,}"
    return lineage.reasons.get(place, "there is nothing to compare it with")


def _unreadable_entries(checkpoints: Sequence[Checkpoint]) -> list[Skipped]:
    """What is in the checkpoints and is no tensor that can be read, each name once."""
    entries = {entry.name: entry for checkpoint in checkpoints for entry in checkpoint.skipped}
    return list(entries.values())
