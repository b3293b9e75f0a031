"""Features of units that do not give their branch away, and why others are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from weightatlas.branching.gathering.information import dependence
from weightatlas.branching.gathering.membership import Partition, branch_partition
from weightatlas.errors import SourceError
from weightatlas.wording import counted, listed

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.branching.gathering.membership import Branched
    from weightatlas.branching.tuning import Tuning

    Array = npt.NDArray[np.float64]
    Values = torch.Tensor | npt.ArrayLike

MISSING: Final = 0.05
"""p below which features are missing in some branches more than in others: a false alarm costs a feature, no more."""

FEATURES: Final = "features"
"""What errors call the input."""

_DRAWS: Final = 999


def common_kernels(weights: Sequence[Values]) -> Array:
    """Cut the kernels of all branches to the smallest among them, about their centres, and put them together.

    Where the parity of the sizes differs the cut lies half a pixel towards the top left.

    Args:
        weights: one array a branch, (units, channels, h, w), of equal channels.

    Returns:
        (units of all, channels, smallest h, smallest w), in the order given.

    Raises:
        ValueError: there are none, one is of another form, or their channels differ.

    Example:
        >>> common_kernels([np.ones((2, 3, 5, 5)), np.ones((4, 3, 3, 3))]).shape
        (6, 3, 3, 3)
    """
    kernels = [_array(weight) for weight in weights]
    forms = listed([str(kernel.shape) for kernel in kernels]) if kernels else "none"
    if not kernels or any(kernel.ndim != 4 for kernel in kernels) or len({each.shape[1] for each in kernels}) > 1:
        message = f"kernels of branches must be (units, channels, h, w) of equal channels, not {forms}"
        raise ValueError(message)
    height, width = (min(kernel.shape[axis] for kernel in kernels) for axis in (2, 3))
    return np.concatenate([_cut(kernel, height, width) for kernel in kernels])


def _cut(kernel: Array, height: int, width: int) -> Array:
    top, left = (kernel.shape[2] - height) // 2, (kernel.shape[3] - width) // 2
    return kernel[:, :, top : top + height, left : left + width]


def tuning_features(tuning: Tuning) -> dict[str, Array]:
    """Figures of tuning that can be clustered: chroma, frequency, DC share, and orientation as a doubled angle.

    The angle has length `selectivity`, so that a unit without orientation lies at its centre. All but chroma resolve
    finer in a larger kernel: tune what `common_kernels` gives.

    Args:
        tuning: of the units of one layer.

    Returns:
        Figure to values, (units,) each.

    Example:
        >>> from weightatlas.branching.tuning import tuning
        >>> list(tuning_features(tuning(np.random.default_rng(0).normal(size=(4, 3, 7, 7)))))
        ['chroma', 'frequency', 'dc_share', 'orientation_cosine', 'orientation_sine']
    """
    doubled = 2 * np.deg2rad(tuning.orientation)
    return {
        "chroma": tuning.chroma,
        "frequency": tuning.frequency,
        "dc_share": tuning.dc_share,
        "orientation_cosine": tuning.selectivity * np.cos(doubled),
        "orientation_sine": tuning.selectivity * np.sin(doubled),
    }


def of_one_size(kernels: Iterable[tuple[int, int]]) -> None:
    """See that tuning was measured on kernels of one size.

    Raises:
        SourceError: it was not.
    """
    sizes = sorted({(int(height), int(width)) for height, width in kernels})
    if len(sizes) > 1:
        names = listed([f"{height}x{width}" for height, width in sizes])
        problem = f"tuning of kernels of {names} reveals the branch: a larger kernel resolves finer frequencies"
        raise SourceError(FEATURES, problem, "cut all kernels to one size with common_kernels and tune those")


def figures_of_tuning(features: Any) -> Array:  # noqa: ANN401 - a mapping, or whatever makes an array
    """Figures of tuning, one row a unit.

    Raises:
        ValueError: they have another form.
    """
    if isinstance(features, Mapping):
        columns = [_array(values) for values in features.values()]
        if not columns or len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
            forms = listed([str(column.shape) for column in columns]) if columns else "none"
            message = f"figures of tuning must have one value a unit each, not {forms}"
            raise ValueError(message)
        return np.stack(columns, axis=1)
    table = _array(features)
    if table.ndim != 2:
        message = f"figures of tuning must be (units, figures), not {table.shape}; for kernels say kind='expanded'"
        raise ValueError(message)
    return table


def expanded_rows(features: Any) -> Array:  # noqa: ANN401 - an array, or one a branch
    """Expanded weights of one crop, flat, one row a unit.

    Raises:
        SourceError: they differ in shape, or in the window outside which they are 0.
        ValueError: they have another form.
    """
    parts = [_array(part) for part in (features if isinstance(features, list | tuple) else [features])]
    shapes = {part.shape[1:] for part in parts}
    if not parts or any(part.ndim != 4 for part in parts):
        message = "expanded weights must be (units, channels, h, w), or a sequence of such, one a branch"
        raise ValueError(message)
    if len(shapes) > 1:
        names = listed([str(part.shape) for part in parts])
        problem = f"weights of different shapes ({names}) reveal the branch"
        raise SourceError(FEATURES, problem, "expand all onto the same layer and crop them to one size")
    weights = np.concatenate(parts)
    extents = {_extent(weight) for weight in weights if np.isfinite(weight).all() and weight.any()}
    if len(extents) > 1:
        names = listed([f"{height}x{width}" for height, width in sorted(extents)])
        problem = f"units that are zero outside {names} reveal the branch by their extent"
        raise SourceError(FEATURES, problem, "crop all to the smallest")
    return weights.reshape(len(weights), -1)


def _extent(weight: Array) -> tuple[int, int]:
    """Height and width of the smallest window that holds all that is not 0."""
    filled = np.asarray(np.any(weight != 0, axis=0))
    rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def missing_at_random(
    missing: npt.NDArray[np.bool_], branches: Mapping[str, Iterable[int]] | Branched | int | None
) -> None:
    """See that what is missing does not tell the branch.

    Raises:
        SourceError: it does, or the branches are not known.
    """
    if branches is None:
        problem = f"features of {counted(int(missing.any(axis=1).sum()), 'unit')} are missing"
        raise SourceError(FEATURES, problem, "give the branches too: what is missing may reveal them")
    partition = branch_partition(branches, units=len(missing))
    _, patterns = np.unique(missing, axis=0, return_inverse=True)
    table = _table(patterns.ravel(), partition)
    found = dependence(table, permutations=_DRAWS, seed=0)
    if found.p_value < MISSING:
        share = [f"{name} {part:.0%}" for name, part in zip(partition.names, _shares(missing, partition), strict=True)]
        problem = f"features are missing in some branches more than in others ({', '.join(share[:8])} of units)"
        raise SourceError(FEATURES, problem, "leave out the features that are missing: they reveal the branch")


def _table(patterns: npt.NDArray[np.int64], branches: Partition) -> npt.NDArray[np.int64]:
    table = np.zeros((int(patterns.max()) + 1, len(branches.names)), dtype=np.int64)
    inside = branches.labels >= 0
    np.add.at(table, (patterns[inside], branches.labels[inside]), 1)
    return table


def _shares(missing: npt.NDArray[np.bool_], branches: Partition) -> list[float]:
    """Of each branch, the share of units with something missing."""
    lost = np.asarray(missing.any(axis=1))
    return [float(lost[branches.labels == place].mean()) if size else 0.0 for place, size in enumerate(branches.sizes)]


def _array(values: Values) -> Array:
    if isinstance(values, torch.Tensor):
        return values.detach().to("cpu", torch.float64).numpy()
    return np.asarray(values, dtype=np.float64)
