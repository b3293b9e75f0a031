"""Hidden branches: which units of a layer feed which units of the next, once the sizes of units are balanced away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64

from weightatlas.branching.hidden.axis_tests import axis_tests
from weightatlas.branching.hidden.biclusters import order_by
from weightatlas.branching.hidden.correlations import AxisCorrelation, correlate_axes, first_layer_figures
from weightatlas.branching.hidden.hidden_matrix import METHODS, NULLS, Method, Null, decompose
from weightatlas.branching.hidden.successive import connection_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import torch

    from weightatlas.branching.hidden.hidden_matrix import Decomposed
    from weightatlas.branching.hidden.kernel_norms import Norm

Array = np.ndarray

__all__ = ["METHODS", "NULLS", "HiddenBranches", "Method", "Null", "implicit"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HiddenBranches:
    r"""The axes along which the connections of two successive layers divide.

    Units of the first layer that lie on one side of an axis are tied to the units of the second that lie on the same
    side. Rows are the units of the first layer everywhere, columns those of the second.

    Attributes:
        matrix: size of every connection, as it was reduced, (units, next_units).
        method: "balanced", "correspondence", "centred" or "raw".
        singular_values: of the axes, descending, (axes,).
        shares: of the sum of squares of the matrix in that method's form, 0 to 1, (axes,).
        left: place of each unit of the first layer on each axis, (units, axes); columns of length 1; NaN for a unit
            without connections. The element largest in size is positive.
        right: the same of the second layer, (next_units, axes).
        null: what chance is: "signs" or "shuffled".
        null_mean: mean of `shares` by chance, where the axes before are as they are, (axes,); NaN where no test holds
            its level.
        null_std: its standard deviation, likewise.
        p_values: of each axis, likewise, never below that of one before it.
        row_order: units of the first layer along the first axis.
        column_order: units of the second along it.
        correlations: "chroma" and "frequency" to the rank correlation of every axis with them, where the first layer
            sees colours; and what else was given.
        notes: what was removed or did not arrive, one sentence each.
    """

    matrix: Float[Array, "units next_units"]
    method: Method
    singular_values: Float[Array, " axes"]
    shares: Float[Array, " axes"]
    left: Float[Array, "units axes"]
    right: Float[Array, "next_units axes"]
    null: Null
    null_mean: Float[Array, " axes"]
    null_std: Float[Array, " axes"]
    p_values: Float[Array, " axes"]
    row_order: Int64[Array, " units"]
    column_order: Int64[Array, " next_units"]
    correlations: Mapping[str, tuple[AxisCorrelation, ...]]
    notes: tuple[str, ...] = ()


def implicit(
    first: torch.Tensor | npt.ArrayLike,
    second: torch.Tensor | npt.ArrayLike,
    *,
    method: Method = "balanced",
    axes: int = 3,
    shuffles: int = 999,
    seed: int = 0,
    norm: Norm = "l2",
    null: Null = "signs",
    group: int | None = None,
    transposed_first: bool = False,
    transposed_second: bool = False,
    figures: Mapping[str, npt.ArrayLike] | None = None,
) -> HiddenBranches:
    r"""Find the branches that two successive layers hide, and test them.

    Every kernel from a unit i of the first layer to a unit j of the second is reduced to its norm \(a_{ij}\), and the
    singular vectors of one form of that matrix are its axes:

    - "balanced": \(B - 1\), where \(B = D_1 A D_2\) has rows and columns of mean 1;
    - "correspondence": \((p_{ij} - r_i c_j) / \sqrt{r_i c_j}\), with p the shares of A and r, c its margins;
    - "centred": each unit of the first layer less its mean, as in a principal component analysis;
    - "raw": A itself, as in the article; its first axis is the size of the units.

    **Null.** "signs": how a connection differs from what the sizes of its two units make it, \(B_{ij} - 1\), is as
    often positive as negative and independent of all others; its spread may differ from unit to unit. Signs are drawn
    at random (where the form is another, B - 1 is then given its units' sizes again) and the largest axis is taken.
    "shuffled": all elements of B change places and the matrix is balanced again (or given its units' sizes). Both hold
    their level where units differ in size alone. Where units also differ in how unequally they spread their weights, as
    those of trained layers do, shuffling rejects nearly all matrices without branches at 64 x 64, and random signs 5 %
    of them (`benchmarks/hidden_branches.py`).

    An axis after the first is compared with the first axis of the null's matrices, once the axes before it are taken
    out of the connections and of those matrices, and its p-value is never below that of one before it: the first
    p-value above 5 % ends the list of branches. That holds its level for "balanced" with "signs" alone. Otherwise one
    axis at most has a p-value: the first, of "raw" the second; of "correspondence" the first with "shuffled", and none
    with "signs", which reject 30 % there.

    Neither null covers connections that depend on each other: where units of the first layer are near copies of each
    other their connections are alike, and that is found as an axis.

    Time grows with shuffles, axes, the larger number of units and the square of the smaller: 999 shuffles of 64 x 192
    take a second, of 3,072 x 768 five minutes.

    Args:
        first: (units, in, h, w) or (units, in): how many units there are, and what they see.
        second: (next_units, units, h, w) or (next_units, units), reading those units in their order; behind a flattened
            map (next_units, units * positions), a unit's positions side by side. A grouped convolution,
            (next_units, units / groups, h, w), needs `group`.
        method: "balanced", "correspondence", "centred" or "raw".
        axes: how many are wanted; fewer come back where the matrix has a lower rank.
        shuffles: matrices of the null, and permutations for each correlation.
        seed: of both.
        norm: "l2" or "l1", of kernels.
        null: "signs" or "shuffled".
        group: look at the connections within this group of a grouped second layer; its groups themselves are branches
            that nobody need look for.
        transposed_first: the first layer is a transposed convolution, stored (in, units, h, w).
        transposed_second: the second is, stored (units, next_units, h, w).
        figures: further figures of the first layer's units, name to (units,), NaN where there is none, to correlate
            the axes with.

    Raises:
        ValueError: the second layer does not read the first's units, is depthwise, or is grouped and no group is named;
            fewer than two units on either side have connections; weights are not finite; or an option is none of those
            there are.

    **Source:** Voss et al., *Branch Specialization* (Distill, 2021), figure 6: singular vectors of \(|W|\) between the
    first two layers, called "color?" and "frequency?". There the matrix is raw. Its first singular vector is then the
    size of the units, and in layers of unequal units chance alone makes large axes; balancing, the tests and the
    correlations are ours. Random signs: Hong, Sheng and Dobriban, *Selecting the number of components in PCA via random
    signflips* (2020).

    Example:
        >>> generator = np.random.default_rng(0)
        >>> first, second = generator.normal(size=(24, 3, 1, 1)), generator.normal(size=(40, 24, 3, 3))
        >>> second[:20, :12] *= 2  # two branches: the first 12 units with the first 20 ...
        >>> second[20:, 12:] *= 2  # ... and the others with the others
        >>> second *= generator.lognormal(size=(1, 24, 1, 1))  # whatever the size of units
        >>> found = implicit(first, second)
        >>> found.p_values[:2] <= 0.05
        array([ True, False])
        >>> bool(np.all(found.left[:12, 0] * found.left[0, 0] > 0))
        True
    """
    _check(method, null, axes=axes, shuffles=shuffles)
    units = _units(first, transposed=transposed_first)
    matrix = connection_sizes(units, second, norm=norm, transposed=transposed_second, group=group)
    found = decompose(matrix, method=method, null=null, count=axes)
    tests = axis_tests(found.axes, found.draw, shuffles=shuffles, seed=seed, tested=found.tested)
    total = float(np.sum(found.axes.values**2))
    squares = found.axes.values[: found.axes.left.shape[1]] ** 2
    shares = squares / total if total > 0 else np.full(len(squares), np.nan)
    # What the axes before have left, of the whole: the null's shares are of this remainder.
    remaining = 1 - np.concatenate([[0.0], np.cumsum(shares)[:-1]])
    left, right = _oriented(found)
    known = {} if transposed_first else first_layer_figures(first)
    known |= {name: _figure(name, values, units) for name, values in (figures or {}).items()}
    return HiddenBranches(
        matrix=matrix,
        method=method,
        singular_values=found.axes.values[: len(shares)],
        shares=shares,
        left=left,
        right=right,
        null=null,
        null_mean=tests.null_mean * remaining,
        null_std=tests.null_std * remaining,
        p_values=tests.p_values,
        row_order=order_by(left[:, 0]),
        column_order=order_by(right[:, 0]),
        correlations={
            name: correlate_axes(left, figure, shuffles=shuffles, seed=seed) for name, figure in known.items()
        },
        notes=_notes(found),
    )


def _check(method: str, null: str, *, axes: int, shuffles: int) -> None:
    for value, known, name in ((method, METHODS, "method"), (null, NULLS, "null")):
        if value not in known:
            message = f"{name} must be one of {', '.join(known)}, not {value!r}"
            raise ValueError(message)
    if axes < 1 or shuffles < 1:
        message = f"axes and shuffles must be at least 1, not {axes} and {shuffles}"
        raise ValueError(message)


def _units(first: torch.Tensor | npt.ArrayLike, *, transposed: bool) -> int:
    shape = tuple(np.shape(first))
    if len(shape) < 2:
        message = f"the first layer's weight must have two axes or more, got shape {shape}"
        raise ValueError(message)
    return int(shape[1 if transposed else 0])


def _figure(name: str, values: npt.ArrayLike, units: int) -> npt.NDArray[np.float64]:
    figure = np.asarray(values, np.float64)
    if figure.shape != (units,):
        message = f"figures[{name!r}] must have one number for each of {units} units, got shape {figure.shape}"
        raise ValueError(message)
    return figure


def _oriented(found: Decomposed) -> tuple[Array, Array]:
    """Singular vectors on all units, with the sign that makes the largest element of the left one positive."""
    axes = found.axes
    largest = np.abs(axes.left).argmax(axis=0)
    signs = np.where(axes.left[largest, np.arange(axes.left.shape[1])] < 0, -1.0, 1.0)
    sides = []
    for vectors, kept in ((axes.left, found.balanced.rows), (axes.right, found.balanced.columns)):
        spread: Array = np.full((len(kept), vectors.shape[1]), np.nan)
        spread[kept] = vectors * signs
        sides.append(spread)
    return sides[0], sides[1]


def _notes(found: Decomposed) -> tuple[str, ...]:
    """What has to be said of the balancing."""
    balanced = found.balanced
    notes = []
    for kept, layer in ((balanced.rows, "first"), (balanced.columns, "second")):
        lost = int(len(kept) - kept.sum())
        if lost:
            notes.append(f"{lost} of {len(kept)} units of the {layer} layer have no connections and are left out")
    if not balanced.converged:
        notes.append(
            f"balancing stopped with means {balanced.error:.1e} from 1: zeros leave no balanced form of this matrix"
        )
    return tuple(notes)
