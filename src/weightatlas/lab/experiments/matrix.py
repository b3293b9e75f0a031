"""Running an experiment: every variant with every seed, in order or side by side, each run kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import joblib
import torch

from weightatlas.errors import SourceError
from weightatlas.files import replacing
from weightatlas.lab.devices import is_first_process
from weightatlas.lab.experiments.following import Followed
from weightatlas.lab.experiments.keeping import ALONE, measured_once
from weightatlas.lab.experiments.pairs import measure_pairs, reason_of
from weightatlas.lab.experiments.result import ExperimentRun
from weightatlas.lab.records import METRICS
from weightatlas.lab.running import run
from weightatlas.parallel import parallel_map
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    import os

    from weightatlas.lab.configuration import Configuration
    from weightatlas.lab.experiments.experiment import Experiment, MeasureRun
    from weightatlas.lab.experiments.result import ExperimentResult
    from weightatlas.lab.running import Run
    from weightatlas.parallel import Backend

MANIFEST: Final = "experiment.json"


class Runner(Protocol):
    """What trains one configuration into a folder: `weightatlas.lab.run`, perhaps with devices bound to it."""

    def __call__(self, configuration: Configuration, folder: Path, /) -> Run:
        """Train, go on, or read back."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of the matrix, before it is made."""

    variant: str
    configuration: Configuration
    folder: Path

    @property
    def label(self) -> str:
        """What progress calls it."""
        return f"{self.variant}, seed {self.configuration.seed}"


def run_experiment(
    experiment: Experiment,
    folder: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    backend: Backend = "loky",
    runner: Runner = run,
    progress: Progress = silent,
) -> ExperimentResult:
    """Run every variant with every seed and compare them.

    All variants of the first seed come first, then all of the second: pairs are complete early. Each run is kept in
    `folder/variant/seed-N`; one that has ended is read back, one that was killed goes on. A run that fails (its loss
    diverges, memory runs out, its process is killed) becomes a row with the reason, and the others go on. Pairs of
    runs are measured when all runs are over; one that lacks a run, or cannot be measured, is a row with the reason
    too. What is measured of a run is kept beside it (`keeping`), so that the same command tells again within seconds.
    The folder may be used again with more seeds or more variants, not with other configurations of the same
    variants.

    Args:
        experiment: what to run.
        folder: made if it is absent.
        jobs: runs at once; None is as many as there are cores for, and one where there is a GPU. One at a time runs in
            this process; several have a process each.
        backend: what runs several jobs: "loky", "dask" or "ray".
        runner: what trains one configuration; give `functools.partial(run, devices=...)` to choose a device.
        progress: called with the updates made and those there are in all, twice a second; then for each pair.

    Raises:
        SourceError: the folder holds another experiment, or something else.
        ValueError: several jobs in threads.
        MissingDependencyError: Dask or Ray is asked for and not installed.
    """
    place = Path(folder)
    if is_first_process():
        _claim(place, experiment)
    cells = cells_of(experiment, place)
    workers = _jobs(cells) if jobs is None else jobs
    followed = Followed([(cell.label, cell.folder / METRICS, cell.configuration.recipe) for cell in cells], progress)
    with followed:
        done = parallel_map(
            partial(_perform, runner=runner, measure=experiment.measure),
            cells,
            jobs=workers,
            backend=backend,
            isolated=True,
            on_error=_skipped,
            progress=lambda count, _total, _label: followed.ended(count - 1),
        )
    done = measure_pairs(experiment, done, jobs=workers, backend=backend, progress=progress)
    return experiment.result(experiment.source, experiment, tuple(done))


def cells_of(experiment: Experiment, folder: Path) -> list[Cell]:
    """The runs of an experiment in their order, each with its configuration and its place.

    Args:
        experiment: what is run.
        folder: of the experiment.
    """
    return [
        Cell(variant.name, replace(variant.configuration, seed=seed), folder / variant.name / f"seed-{seed}")
        for seed in experiment.seeds
        for variant in experiment.variants
    ]


def _perform(cell: Cell, *, runner: Runner, measure: MeasureRun) -> ExperimentRun:
    done = runner(cell.configuration, cell.folder)
    return ExperimentRun(
        cell.variant, cell.configuration.seed, cell.folder, done, measured_once(measure, [done], ALONE)
    )


def _skipped(cell: Cell, error: Exception) -> ExperimentRun:
    return ExperimentRun(cell.variant, cell.configuration.seed, cell.folder, skipped=reason_of(error))


def _jobs(cells: list[Cell]) -> int:
    if torch.cuda.is_available():
        return 1
    threads = max(cell.configuration.recipe.threads for cell in cells)
    return max(1, int(joblib.cpu_count()) // threads)


def _claim(folder: Path, experiment: Experiment) -> None:
    """Write what the folder is for, or see that it is for this."""
    variants = {variant.name: replace(variant.configuration, seed=0).identity for variant in experiment.variants}
    wanted = {"experiment": experiment.name, "preset": experiment.preset}
    earlier = _earlier(folder, experiment)
    remedy = "name another folder, or remove this one"
    for key, value in wanted.items():
        if earlier and earlier.get(key) != value:
            raise SourceError(
                folder, f"it holds the experiment {earlier.get('experiment')} ({earlier.get('preset')})", remedy
            )
    known = earlier.get("variants", {})
    changed = [name for name, identity in variants.items() if known.get(name, identity) != identity]
    if changed:
        problem = f"it holds {', '.join(changed)} of this experiment with another configuration"
        raise SourceError(folder, problem, remedy)
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(wanted | {"variants": known | variants}, indent=2) + "\n", encoding="utf-8")


def _earlier(folder: Path, experiment: Experiment) -> dict[str, Any]:
    """The manifest in a folder; none where it is new, or has lost its own and holds nothing but runs."""
    place = folder / MANIFEST
    if not place.is_file():
        names = {variant.name for variant in experiment.variants}
        if folder.exists() and not (folder.is_dir() and all(_is_ours(item, names) for item in folder.iterdir())):
            raise SourceError(folder, "it holds something that is no experiment", "name an empty folder")
        return {}
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(place, f"cannot be read ({error})", "remove it: finished runs are kept") from error
    if not isinstance(content, dict) or not isinstance(content.get("variants", {}), dict):
        raise SourceError(place, "no experiment's manifest", "remove it: finished runs are kept")
    return content


def _is_ours(path: Path, variants: set[str]) -> bool:
    return path.name in variants or path.name.startswith(".")
