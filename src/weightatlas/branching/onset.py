"""When do the branches of the first layer specialise? Mutual information less its null, at every saved step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, get_args

import numpy as np
from scipy.stats import false_discovery_control

from weightatlas.branching.families import By, colour_families, families_from_tuning, frequency_families
from weightatlas.branching.gathering.family_features import common_kernels
from weightatlas.branching.gathering.image_layer import ImageLayer, image_layer
from weightatlas.branching.kernels.colour import chroma, colour_axes
from weightatlas.branching.kernels.image_kernels import image_kernels
from weightatlas.branching.kernels.spectrum import spectrum
from weightatlas.branching.specialization import SIGNIFICANT, specialization
from weightatlas.branching.tuning import tuning
from weightatlas.checkpoints import Trajectory, open_trajectory
from weightatlas.checkpoints.untrusted import summary
from weightatlas.errors import MissingDependencyError, SourceError
from weightatlas.progress import Progress, silent
from weightatlas.result import Result, Row, plain
from weightatlas.wording import listed

if TYPE_CHECKING:
    import os

    import altair as alt
    import numpy.typing as npt
    import torch

    from weightatlas.branching.gathering.membership import Branched
    from weightatlas.checkpoints import Checkpoint
    from weightatlas.plate import Plate

    Array = npt.NDArray[np.float64]
    Families = dict[str, npt.NDArray[np.int64]]

UNKNOWN: Final = float("nan")


@dataclass(frozen=True, slots=True)
class OnsetStep:
    """The branched layer at one step of a run.

    Attributes:
        step: of the run.
        information: mutual information of family and branch, bits; NaN where it could not be measured.
        null_mean: its mean with branches permuted.
        null_std: its standard deviation there.
        p_value: probability of as much or more there.
        q_value: the same, adjusted over the steps of the run.
        skipped: why it was not measured, or None.
    """

    step: int
    information: float = UNKNOWN
    null_mean: float = UNKNOWN
    null_std: float = UNKNOWN
    p_value: float = UNKNOWN
    q_value: float = UNKNOWN
    skipped: str | None = None

    @property
    def excess(self) -> float:
        """Bits beyond what chance gives."""
        return self.information - self.null_mean

    @property
    def is_significant(self) -> bool:
        """Whether q is below 5 %."""
        return self.q_value < SIGNIFICANT


@dataclass(frozen=True, slots=True, eq=False)
class Onset(Result):
    """How the specialisation of one layer came about.

    Attributes:
        layer: module path, or those of the weights side by side.
        by: what its units were sorted by: "colour", "class" or "frequency".
        steps: every saved step, in order.
        unit: what steps count: "step", "epoch", "token" or "position".
        branches: their names.
        notes: what was found or assumed, one sentence each.
        source: the run.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "onset": (
            "step",
            "layer",
            "by",
            "information",
            "null_mean",
            "null_std",
            "excess",
            "p_value",
            "q_value",
            "skipped",
        ),
    }

    layer: str
    by: str
    steps: tuple[OnsetStep, ...]
    unit: str
    branches: tuple[str, ...]
    notes: tuple[str, ...]
    source: str

    @property
    def onset(self) -> int | None:
        """The first step from which every measured one to the end is significant (q < .05); None without one."""
        first = None
        for step in reversed([each for each in self.steps if each.skipped is None]):
            if not step.is_significant:
                break
            first = step.step
        return first

    def rows(self, table: str | None = None) -> list[Row]:
        """One row a step."""
        columns = self.columns(table)
        own = [name for name in columns if name not in {"layer", "by"}]
        named = (
            {name: getattr(step, name) for name in own} | {"layer": self.layer, "by": self.by} for step in self.steps
        )
        return [{column: plain(row[column]) for column in columns} for row in named]

    def chart(self) -> alt.LayerChart:
        """Information over the run, beside its null."""
        from weightatlas.branching.drawing.specialization_plates import onset_chart

        return onset_chart(self)

    def plates(self) -> Sequence[Plate]:
        """The same, as it stands in an atlas."""
        from weightatlas.branching.drawing.specialization_plates import onset_plates

        return onset_plates(self)


def onset(
    run: Trajectory | str | os.PathLike[str] | Sequence[Any] | Mapping[int, Any],
    *,
    layer: str | None = None,
    model: str | torch.nn.Module | None = None,
    branches: Mapping[str, Iterable[int]] | Branched | int | None = None,
    by: By = "colour",
    permutations: int = 999,
    seed: int = 0,
    progress: Progress = silent,
) -> Onset:
    r"""Measure at every saved step of a run how far the branches of the layer that reads the image have specialised.

    At each step units are sorted into families by what they are tuned to, and

    \[ \text{excess} = I(F; B) - \langle I(F; B') \rangle, \]

    mutual information in bits less its mean where branches are permuted among the units (see `specialization`), with
    its p. The onset is the first step from which all later ones are significant (q < .05, Benjamini and Hochberg over
    the steps of the run): a step that was significant by chance, before or after others that are not, is none.

    Kernels of branches of different size are cut to the smallest before their frequency is measured or their class is
    told; chroma needs no cut.

    Args:
        run: what `open_trajectory` gives or takes.
        layer: module path; by default that which reads the image.
        model: what `open_model` takes: its graph tells the branches where they are not given. Without it only grouped
            convolutions are known, from shapes.
        branches: of the units: a mapping from name to units, a `Branching`, or how many runs of equal width.
        by: "colour" (chroma above .2), "frequency" (halves by the median of that step) or "class".
        permutations: for the null, at each step.
        seed: of the permutations.
        progress: called after each step.

    Returns:
        A figure for every step; one whose checkpoint cannot be read says why.

    Raises:
        SourceError: there is no run, no layer reads the image, or its branches are not known.
        ValueError: `by` is none of those it can be.

    **Source:** ours; the article looks at trained networks only.

    Example:
        >>> import torch
        >>> grey, noise = torch.ones(8, 3, 1, 1), torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(0))
        >>> half = torch.cat([torch.zeros(4, 3, 5, 5), noise[4:] - noise[4:].mean(1, keepdim=True)])
        >>> run = {step: {"conv1.weight": noise.mean(1, keepdim=True) * grey + step * half} for step in (0, 1, 2)}
        >>> found = onset(run, branches=2)
        >>> [(row["step"], round(row["information"], 3), round(row["p_value"], 3)) for row in found.rows()], found.onset
        ([(0, 0.0, 1.0), (1, 1.0, 0.029), (2, 1.0, 0.029)], 1)
    """
    if by not in get_args(By):
        message = f"by must be one of {', '.join(get_args(By))}, not {by!r}"
        raise ValueError(message)
    trajectory = run if isinstance(run, Trajectory) else open_trajectory(run)
    found: ImageLayer | None = None
    steps = []
    for place, step in enumerate(trajectory.steps):
        try:
            checkpoint = trajectory[place][1]
        except MissingDependencyError:
            raise
        except SourceError as error:
            steps.append(OnsetStep(step, skipped=f"cannot be opened ({error.problem})"))
        else:
            if found is None:
                found = image_layer(checkpoint, layer=layer, model=model, branches=branches)
            steps.append(_measured(step, checkpoint, found, by, permutations=permutations, seed=seed))
        progress(place + 1, len(trajectory), str(step))
    if found is None:
        problem = f"none of its checkpoints can be opened ({steps[0].skipped if steps else 'there are none'})"
        raise SourceError(trajectory.source, problem, "give a run whose checkpoints can be read")
    return Onset(
        layer=found.layer,
        by=by,
        steps=_adjusted(steps),
        unit=trajectory.unit,
        branches=found.branches.names,
        notes=_notes(trajectory, found),
        source=trajectory.source,
    )


def _notes(trajectory: Trajectory, layer: ImageLayer) -> tuple[str, ...]:
    """What was left out, what a run says of itself, and how branches were found."""
    left = trajectory.skipped
    more = [f"{len(left) - 5} more"] if len(left) > 5 else []
    lost = [f"not used: {listed([*(f'{each.name} ({each.reason})' for each in left[:5]), *more])}"] if left else []
    return (*trajectory.notes, *lost, *([layer.note] if layer.note else []))


def _measured(
    step: int, checkpoint: Checkpoint, layer: ImageLayer, by: By, *, permutations: int, seed: int
) -> OnsetStep:
    """One step; what is wrong with its weights is its reason."""
    try:
        families = _families(layer.kernels(checkpoint), by)
    except SourceError as error:
        return OnsetStep(step, skipped=error.problem)
    except (OSError, ValueError) as error:
        return OnsetStep(step, skipped=summary(error))
    places = np.concatenate([part.places for part in layer.parts])
    joined = {name: places[units] for name, units in families.items()}
    if not joined:
        return OnsetStep(step, skipped="no unit is tuned to anything that could be measured")
    named = dict(zip(layer.branches.names, _by_branch(layer), strict=True))
    found = specialization(joined, named, units=layer.branches.units, permutations=permutations, seed=seed)
    return OnsetStep(step, found.information, found.null_mean, found.null_std, found.p_value)


def _by_branch(layer: ImageLayer) -> list[npt.NDArray[np.int64]]:
    return [np.flatnonzero(layer.branches.labels == place) for place in range(len(layer.branches.names))]


def _families(kernels: Sequence[torch.Tensor], by: By) -> Families:
    """Families of the units of all parts, one after the other."""
    if by == "colour":
        return _filled(colour_families(np.concatenate([_chroma(each) for each in kernels])))
    cut = common_kernels(kernels)
    return families_from_tuning(tuning(cut), by=by) if by == "class" else _filled(frequency_families(_frequency(cut)))


def _filled(families: Families) -> Families:
    return {name: units for name, units in families.items() if len(units)}


def _chroma(weight: torch.Tensor) -> Array:
    """Of each unit; NaN where a kernel cannot be measured."""
    read = image_kernels(weight)
    values = np.full(len(read.kernels), np.nan)
    values[read.measured] = chroma(read.kernels[read.measured])
    return values


def _frequency(weight: Array) -> Array:
    """Of each unit; NaN where a kernel cannot be measured."""
    read = image_kernels(weight)
    values = np.full(len(read.kernels), np.nan)
    kernels = read.kernels[read.measured]
    if len(kernels) and min(kernels.shape[2:]) > 1:
        values[read.measured] = spectrum(kernels, colour_axes(kernels).axes).frequency
    return values


def _adjusted(steps: Sequence[OnsetStep]) -> tuple[OnsetStep, ...]:
    """The steps with their q, over those that were measured."""
    p_values = [step.p_value for step in steps if step.skipped is None]
    q_values = iter(false_discovery_control(p_values).tolist() if p_values else [])
    return tuple(step if step.skipped is not None else replace(step, q_value=next(q_values)) for step in steps)
