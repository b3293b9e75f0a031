"""The first layer of a run, branch by branch: what its branches took, and what an unbranched one hides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.branching.families import colour_families
from weightatlas.branching.gathering.family_features import common_kernels
from weightatlas.branching.gathering.image_layer import image_layer
from weightatlas.branching.implicit import implicit
from weightatlas.branching.kernels.colour import chroma
from weightatlas.branching.kernels.image_kernels import image_kernels
from weightatlas.branching.onset import onset
from weightatlas.branching.pictures.kernels import kernel_images
from weightatlas.branching.specialization import specialization
from weightatlas.branching.tuning import tuning
from weightatlas.checkpoints import open_trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import torch

    from weightatlas.checkpoints import Checkpoint
    from weightatlas.lab.experiments.experiment import Figure

    Values = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64]

PERMUTATIONS: Final = 999
HALVES: Final = ("low half", "high half")
"""What takes the place of branches where there are none: the units below and above the median of the hidden axis."""


@dataclass(frozen=True, slots=True, eq=False)
class FirstLayer:
    """The units that read the image.

    Attributes:
        names: of the branches.
        labels: branch of each unit, (units,).
        kernels: of each branch.
        chroma: of each unit.
        frequency: of each unit, in cycles a pixel, where kernels differ in size of their common middle.
        middle: chroma of that middle, which no large kernel's rim enters.
        hidden: whether the branches are halves of a hidden axis.
    """

    names: tuple[str, ...]
    labels: Labels
    kernels: tuple[torch.Tensor, ...]
    chroma: Values
    frequency: Values
    middle: Values
    hidden: bool = False


def first_layer(checkpoint: Checkpoint, branches: int | None) -> FirstLayer:
    """The units that read the image, by branch.

    Args:
        checkpoint: of a network whose first layer is one weight in runs of equal width, or several weights.
        branches: how many runs; None where each weight is a branch.

    Raises:
        SourceError: the checkpoint has no such layer.
    """
    found = image_layer(checkpoint, branches=branches)
    weights = found.kernels(checkpoint)
    places = np.concatenate([part.places for part in found.parts])
    values, frequency, middle = (np.empty(len(places)) for _ in range(3))
    cut = tuning(common_kernels(weights))
    values[places], frequency[places], middle[places] = unit_chroma(weights), cut.frequency, cut.chroma
    labels = found.branches.labels
    if len(weights) == 1:
        kernels = tuple(weights[0][labels == branch] for branch in range(len(found.branches.names)))
    else:
        kernels = tuple(weights)
    return FirstLayer(found.branches.names, labels, kernels, values, frequency, middle)


def unit_chroma(weights: Sequence[torch.Tensor]) -> Values:
    """Chroma of the units of all weights, one after the other; NaN where a kernel cannot be measured."""
    found = []
    for weight in weights:
        read = image_kernels(weight)
        values = np.full(len(read.kernels), np.nan)
        values[read.measured] = chroma(read.kernels[read.measured])
        found.append(values)
    return np.concatenate(found)


def separation(values: Values, labels: Labels) -> float:
    r"""Share of the variance between units that lies between branches, less what chance gives.

    \[ 1 - \frac{(1 - R^2)(n - 1)}{n - B} \]

    for n units in B branches, R^2 the sum of squares between branches over the whole: 1 where branches are all that
    differs, and 0 on average where branches are permuted among the units, whatever their sizes; it can be negative.

    Args:
        values: one a unit; NaN is left out.
        labels: branch of each unit.

    Returns:
        NaN where all values are equal, or there are no more units than branches.

    **Source:** Kelley, An unbiased correlation ratio measure (PNAS 1935), epsilon squared.

    Example:
        >>> separation(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
        1.0
    """
    known = np.isfinite(values)
    values, labels = values[known], labels[known]
    branches = np.unique(labels)
    total = float(((values - values.mean()) ** 2).sum()) if values.size else 0.0
    if total == 0 or len(values) <= len(branches):
        return math.nan
    within = sum(float(((part - part.mean()) ** 2).sum()) for part in (values[labels == each] for each in branches))
    return 1 - within / total * (len(values) - 1) / (len(values) - len(branches))


def branch_figures(layer: FirstLayer) -> dict[str, Figure]:
    """What the branches of a first layer took: colour, by the threshold and without, and frequency."""
    families = {name: units for name, units in colour_families(layer.chroma).items() if len(units)}
    members = {name: np.flatnonzero(layer.labels == branch) for branch, name in enumerate(layer.names)}
    found = specialization(families, members, units=len(layer.labels), permutations=PERMUTATIONS)
    colour = np.zeros(len(layer.labels), dtype=bool)
    colour[families.get("colour", [])] = True
    counts = np.array([np.count_nonzero(colour[units]) for units in members.values()])
    means, frequency = _means(layer.chroma, layer), _means(layer.frequency, layer)
    most, least = int(np.nanargmax(means)), int(np.nanargmin(means))
    return {
        "information": found.information,
        "excess": found.excess,
        "p_value": found.p_value,
        "separation": separation(layer.chroma, layer.labels),
        "frequency_separation": separation(layer.frequency, layer.labels),
        "colour_share": float(colour.mean()),
        "purity": float(counts.max() / counts.sum()) if counts.sum() else None,
        "chroma_gap": means[most] - means[least],
        "frequency_of_colour": frequency[most] - frequency[least],
    }


def signed_figures(layer: FirstLayer) -> dict[str, Figure]:
    """Mean chroma and frequency of one of two branches less the other: the narrow one, and that of large kernels.

    Of branches alike in both the first stands for either: a control, whose figures are 0 but for chance.

    Args:
        layer: of two branches; the first is the narrow one, if any.
    """
    figures = {"chroma": _means(layer.chroma, layer), "frequency": _means(layer.frequency, layer)}
    (units, *_, first), (others, *_, second) = (kernel.shape for kernel in layer.kernels)
    sign = -1 if first < second else 1
    alike = units == others and first == second
    found: dict[str, Figure] = {}
    for name, means in figures.items():
        if units < others or alike:
            found[f"{name}_narrow"] = means[0] - means[1]
        if first != second or alike:
            found[f"{name}_large"] = sign * (means[0] - means[1])
    if first != second:
        means = _means(layer.middle, layer)
        found["chroma_middle"] = sign * (means[0] - means[1])
    return found


def hidden_branches(
    first: torch.Tensor, second: torch.Tensor, layer: FirstLayer
) -> tuple[FirstLayer, dict[str, Figure], Values]:
    """The halves of the first hidden axis in the place of branches, what the axes follow, and the axes.

    Args:
        first: weight of the layer that reads the image.
        second: weight of the next.
        layer: the first, with one branch.

    Returns:
        The layer in halves, figures, and the axes (units, 2).
    """
    found = implicit(first, second, method="balanced", axes=2, shuffles=PERMUTATIONS)
    colour, frequency = found.correlations["chroma"], found.correlations["frequency"]
    axis = found.left[:, 0]
    labels = (axis > np.nanmedian(axis)).astype(np.int64)
    kernels = tuple(first[labels == half] for half in (0, 1))
    figures: dict[str, Figure] = {
        "hidden_p": float(found.p_values[0]),
        "hidden_second_p": float(found.p_values[1]),
        "hidden_chroma": abs(colour[0].rho),
        "hidden_chroma_p": colour[0].p_value,
        "hidden_frequency": abs(frequency[0].rho),
        "hidden_second_chroma": abs(colour[1].rho),
        "hidden_second_frequency": abs(frequency[1].rho),
    }
    halves = FirstLayer(HALVES, labels, kernels, layer.chroma, layer.frequency, layer.middle, hidden=True)
    return halves, figures, found.left


def course(folder: str, branches: int | None, *, steps: int) -> tuple[dict[str, Figure], dict[str, npt.NDArray[Any]]]:
    """When a run's branches begin to differ in colour: figures, and the course from the first weights to the last.

    Args:
        folder: of the run.
        branches: as in `first_layer`.
        steps: updates of the run.

    Returns:
        "onset": from which share of the run on branch and colour depend to its end (`onset`), None where they do not;
        "start_separation": `separation` of the first weights, which is chance; and the curves of both measures.
    """
    found = onset(folder, branches=branches, by="colour", permutations=PERMUTATIONS)
    measured = [step for step in found.steps if step.skipped is None]
    trajectory = open_trajectory(folder)
    separations = {step: _separation_of(trajectory[place][1], branches) for place, step in enumerate(trajectory.steps)}
    began = found.onset
    figures: dict[str, Figure] = {
        "onset": None if began is None else began / steps,
        "start_separation": separations.get(0),
    }
    return figures, {
        "onset/step": np.array([step.step for step in measured], dtype=np.int64),
        "onset/excess": np.array([step.excess for step in measured]),
        "onset/null_std": np.array([step.null_std for step in measured]),
        "onset/separation": np.array([separations[step.step] for step in measured]),
    }


def layer_arrays(layer: FirstLayer) -> dict[str, npt.NDArray[Any]]:
    """What plates and tables show of a first layer."""
    images = {f"kernels/{number}": kernel_images(kernel) for number, kernel in enumerate(layer.kernels)}
    return {
        "first/chroma": layer.chroma,
        "first/frequency": layer.frequency,
        "first/branch": layer.labels,
        "first/names": np.array(layer.names, dtype=np.str_),
        "first/hidden": np.array(layer.hidden),
        **images,
    }


def _separation_of(checkpoint: Checkpoint, branches: int | None) -> float:
    found = image_layer(checkpoint, branches=branches)
    places = np.concatenate([part.places for part in found.parts])
    return separation(unit_chroma(found.kernels(checkpoint)), found.branches.labels[places])


def _means(values: Values, layer: FirstLayer) -> list[float]:
    """The mean of each branch."""
    return [float(np.nanmean(values[layer.labels == branch])) for branch in range(len(layer.names))]
