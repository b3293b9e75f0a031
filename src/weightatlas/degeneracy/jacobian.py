"""The rank of a network's Jacobian over some data, and so how many directions of its parameters change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch
from jaxtyping import Float64, Int64

from weightatlas.degeneracy.ranking.column_sums import ColumnSums
from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
from weightatlas.degeneracy.ranking.proving import proved_rank
from weightatlas.degeneracy.ranking.row_pieces import pieces
from weightatlas.degeneracy.row_factor import RowFactor
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn

    from weightatlas.evaluation.batches import Batch

Array = np.ndarray

TOLERANCE: Final = 1e-9
"""Singular values below that share of the largest count as 0: a million times the rounding of float64."""

LIMIT: Final = 4096
"""Rows or columns of the Jacobian, whichever are fewer, up to which its rank is computed from all of it."""

DIRECT: Final = 1024
"""Singular values up to which they are all computed: seconds. Beyond, the rank is proved at a quarter of the cost."""

ROUNDING: Final = 10
"""Rounding of a singular value in units of eps sqrt(rows + columns): errors of its entries as independent ones."""

Kind = Literal["exact", "estimate"]


@dataclass(frozen=True, slots=True, eq=False)
class RankCurve:
    """How the rank of the Jacobian grows with the data.

    Attributes:
        examples: n, powers of two and last all of them.
        ranks: of the Jacobian over the first n examples.
        nullities: parameters less rank.
        limits: n times the number of outputs: no rank is larger.
    """

    examples: Int64[Array, " sizes"]
    ranks: Int64[Array, " sizes"]
    nullities: Int64[Array, " sizes"]
    limits: Int64[Array, " sizes"]


@dataclass(frozen=True, slots=True, eq=False)
class JacobianRank:
    """The rank of a Jacobian.

    Attributes:
        parameters: N, columns.
        examples: n.
        outputs: d_out; the Jacobian has n d_out rows.
        kind: "exact", of all rows; "estimate", of random combinations of them.
        rank: of the Jacobian; None where combinations of rows only bound it.
        low: the rank is no smaller.
        high: and no larger.
        largest: its largest singular value; of an estimate, and where columns were summed, that of the sums.
        tolerance: singular values up to that share of the largest counted as 0.
        singular_values: of what was factored, descending: of the Jacobian where `factor` is there. Beyond `DIRECT` of
            them only the largest, to a thousandth: the rank is then proved without them (`proved_rank`).
        curve: the rank over the first examples; None where it was not asked for or rows were combined.
        factor: R with R^T R = J^T J, triangular (N, N), or J itself where it has fewer rows than columns; None where
            the parameters are too many.
    """

    parameters: int
    examples: int
    outputs: int
    kind: Kind
    rank: int | None
    low: int
    high: int
    largest: float
    tolerance: float
    singular_values: Float64[Array, " values"]
    curve: RankCurve | None
    factor: torch.Tensor | None

    @property
    def nullity(self) -> int | None:
        """Directions of parameters along which no output changes on these data, to first order; None as `rank`."""
        return None if self.rank is None else self.parameters - self.rank

    @property
    def limit(self) -> int:
        """The rank that the data alone allow: n d_out."""
        return self.examples * self.outputs


def jacobian_rank(
    model: nn.Module,
    data: Iterable[Batch],
    *,
    examples: int | None = None,
    tolerance: float = TOLERANCE,
    limit: int = LIMIT,
    curve: bool = True,
    dtype: torch.dtype | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> JacobianRank:
    r"""Compute the rank of the Jacobian of a network's outputs over some data.

    \(J_{(x, k), p} = \partial f_k(x) / \partial \theta_p\), \(n\,d_{out}\) rows and \(N\) columns. The behavioural loss
    \(L_B(\theta) = \frac{1}{n} \sum_x \|f_\theta(x) - f_{\theta^*}(x)\|^2\) has the Hessian \(\frac{2}{n} J^T J\) at
    \(\theta^*\): its nullity \(N - \mathrm{rank}\, J\) counts the directions that change no output to first order.
    Singular values up to `tolerance` times the largest count as 0. They are never squared: rows go through a streamed
    QR factorisation, whose triangle has the Jacobian's own singular values to rounding.

    - **Few parameters** (N <= `limit`): all rows are streamed.
    - **Few rows** (n d_out <= `limit` < N): columns are summed into 2 n d_out random ones (each column, with a random
      sign, into one of each of four families of sums; rank never grows by that, and stays with probability 1). Singular
      values of sums are within a small factor of the Jacobian's.
    - **Neither**: rows are mixed too. Each group of successive examples gives as many combinations of all its outputs,
      with normal weights, as fit `limit` in all. Their rank is a lower bound of the Jacobian's. It is the Jacobian's
      where a random combination of *all* rows lies in their span, which would happen by chance with probability 0: then
      it is given, as an "estimate". Else only bounds are.

    **Never more than the data allow.** The rank is at most n d_out whatever the network, so the nullity is at least
    N - n d_out: only where the curve over n has become flat does it say something about the network.

    Args:
        model: as `ParameterMap` takes it; measured in evaluation mode, in a copy.
        data: pairs of inputs and targets; targets do not matter.
        examples: how many at most, the first ones; None is all.
        tolerance: relative to the largest singular value; raised to what rounding in `dtype` can tell from 0.
        limit: as above.
        curve: whether to give the rank over the first 1, 2, 4, ... examples.
        dtype: of the computation; None is float64.
        seed: of random sums.
        device: where; None is the network's.
        progress: called with examples done.

    Returns:
        The rank or its bounds, singular values, the curve.

    Raises:
        ValueError: no parameter requires a gradient, there are no examples, or `tolerance` or `limit` is out of range.
        SourceError: the network cannot take the inputs.
        NotFiniteError: a derivative is not finite.

    **Source:** *Using Degeneracy in the Loss Landscape for Mechanistic Interpretability* (2024), for the behavioural
    loss and its Hessian; sums of columns after Clarkson and Woodruff, *Low Rank Approximation and Regression in Input
    Sparsity Time* (2013). That the rank is taken without squaring, and what a mixed rank proves, is ours.

    Example:
        >>> two = torch.nn.Sequential(torch.nn.Linear(2, 3, bias=False), torch.nn.Linear(3, 2, bias=False))
        >>> inputs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> found = jacobian_rank(two, [(inputs, inputs)])
        >>> found.rank, found.nullity, found.limit  # the function is one of four numbers
        (4, 8, 6)
    """
    if not 0 < tolerance < 1 or limit < 1:
        message = f"tolerance must lie between 0 and 1 and limit be 1 or more, not {tolerance} and {limit}"
        raise ValueError(message)
    network = ParameterMap(model, dtype=dtype, device=device, seed=seed)
    held = HeldBatches(data, examples=examples, device=network.device)
    return rank_of(network, held, tolerance=tolerance, limit=limit, curve=curve, seed=seed, progress=progress)


def rank_of(
    network: ParameterMap,
    held: HeldBatches,
    *,
    tolerance: float = TOLERANCE,
    limit: int = LIMIT,
    curve: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> JacobianRank:
    """The same of what is held already: see `jacobian_rank`."""
    width = outputs_of(network, held)
    ruler = Ruler(tolerance, network, held.examples * width)
    if network.size > limit and held.examples * width > limit:
        return _mixed(network, held, width, ruler, limit=limit, seed=seed, progress=progress)
    sizes = _sizes(held.examples) if curve else [held.examples]
    way = _streamed if network.size <= limit else _summed
    ranks: list[int] = []
    values: Array = np.zeros(1)
    factor: torch.Tensor | None = None
    for factor in way(network, held, sizes, width, seed=seed, progress=progress):
        rank, values = ruler.measured(factor, seed=seed)
        ranks.append(rank)
    counts = np.array(ranks, dtype=np.int64)
    ends = np.array(sizes, dtype=np.int64)
    return JacobianRank(
        parameters=network.size,
        examples=held.examples,
        outputs=width,
        kind="exact",
        rank=ranks[-1],
        low=ranks[-1],
        high=ranks[-1],
        largest=float(values[0]),
        tolerance=ruler.tolerance,
        singular_values=values,
        curve=RankCurve(ends, counts, network.size - counts, ends * width) if curve else None,
        factor=factor if way is _streamed else None,
    )


class Ruler:
    """What counts as a singular value of 0 in a Jacobian of some type and size.

    Attributes:
        tolerance: relative to the largest.
    """

    def __init__(self, tolerance: float, network: ParameterMap, rows: int) -> None:
        """Raise a tolerance to what rounding lets tell from 0."""
        rounding = ROUNDING * torch.finfo(network.dtype).eps * float(np.sqrt(network.size + rows))
        self.tolerance = max(tolerance, rounding)

    def rank(self, values: Float64[Array, " values"]) -> int:
        """Singular values above that share of the largest; 0 where all are 0."""
        return int((values > self.tolerance * values[0]).sum()) if values.size and values[0] > 0 else 0

    def measured(self, factor: torch.Tensor, *, seed: int) -> tuple[int, Array]:
        """The rank of a matrix, and what was seen of its singular values."""
        if min(factor.shape) > DIRECT:
            proved = proved_rank(factor, self.tolerance, seed=seed)
            if proved is not None:
                return proved[0], np.array([proved[1]])
        values: Array = torch.linalg.svdvals(factor).cpu().numpy()
        return self.rank(values), values


def outputs_of(network: ParameterMap, held: HeldBatches) -> int:
    """Numbers that the network gives for one example.

    Raises:
        SourceError: it cannot take the inputs.
    """
    inputs, _ = next(iter(held))
    with network.ready(), torch.no_grad():
        return network.outputs(inputs[:1]).shape[1]


def _streamed(
    network: ParameterMap, held: HeldBatches, sizes: list[int], width: int, *, seed: int, progress: Progress
) -> Iterator[torch.Tensor]:
    """Factors over the first examples of each of some sizes: the rows themselves while they are no more than columns.

    Then triangular ones, from a stream of rows.
    """
    del seed
    rows: list[torch.Tensor] = []
    triangle: RowFactor | None = None
    for inputs, seen in pieces(held, network, width, ends=sizes):
        rows.append(network.rows(inputs))
        if triangle is None and seen * width > network.size:
            triangle = RowFactor(network.size, wide=network.size)
        if triangle is not None:
            for part in rows:
                triangle.add(part)
            rows = []
        progress(seen, held.examples, "Jacobian")
        if seen in sizes:
            yield torch.cat(rows).double() if triangle is None else triangle.triangle()


def _summed(
    network: ParameterMap, held: HeldBatches, sizes: list[int], width: int, *, seed: int, progress: Progress
) -> Iterator[torch.Tensor]:
    """Factors of the same from sums of columns: leading blocks of one, whose columns are the Jacobian's rows."""
    sums = ColumnSums(network.size, 2 * held.examples * width, seed=seed, device=network.device)
    parts = []
    for inputs, seen in pieces(held, network, width):
        parts.append(sums(network.rows(inputs)).double())
        progress(seen, held.examples, "Jacobian")
    factor = torch.linalg.qr(torch.cat(parts).T, mode="r").R
    for size in sizes:
        yield factor[: size * width, : size * width]


def _mixed(
    network: ParameterMap, held: HeldBatches, width: int, ruler: Ruler, *, limit: int, seed: int, progress: Progress
) -> JacobianRank:
    """Bounds of the rank, or the rank, from random combinations of rows."""
    generator = torch.Generator().manual_seed(seed)

    def weights(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(network.device, network.dtype)

    group = -(-held.examples // limit)
    each = min(limit // -(-held.examples // group), group * width)
    sums = ColumnSums(network.size, 2 * (limit + 1), seed=seed, device=network.device)
    parts = []
    for inputs, seen in pieces(held, network, each, group=group):
        size = min(group, len(inputs))
        parts.append(sums(network.rows(inputs, weights(len(inputs) // size, each, size, width))).double())
        progress(seen, held.examples, "Jacobian, rows combined")
    rows = torch.cat(parts)
    values = torch.linalg.svdvals(torch.linalg.qr(rows.T, mode="r").R).cpu().numpy()
    low = ruler.rank(values)
    most = min(network.size, held.examples * width)
    is_all = low == most
    if low < min(len(rows), most):
        probe = torch.zeros(1, network.size, dtype=network.dtype, device=network.device)
        for inputs, _ in held:
            probe += network.rows(inputs, weights(1, 1, len(inputs), width))
        all_rows = torch.cat([rows, sums(probe / held.examples**0.5).double()])
        is_all = ruler.rank(torch.linalg.svdvals(torch.linalg.qr(all_rows.T, mode="r").R).cpu().numpy()) == low
    return JacobianRank(
        parameters=network.size,
        examples=held.examples,
        outputs=width,
        kind="estimate",
        rank=low if is_all else None,
        low=low,
        high=low if is_all else most,
        largest=float(values[0]),
        tolerance=ruler.tolerance,
        singular_values=values,
        curve=None,
        factor=None,
    )


def _sizes(examples: int) -> list[int]:
    """Powers of two below a number, and it."""
    return [*(2**power for power in range((examples - 1).bit_length())), examples]
