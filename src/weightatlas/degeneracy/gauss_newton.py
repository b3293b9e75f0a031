"""The rank of the Gauss-Newton matrix of a loss: in how many directions of its weights a network's loss is curved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch

from weightatlas.degeneracy.counts import LIMITED
from weightatlas.degeneracy.hessian_bracket import hessian_bracket
from weightatlas.degeneracy.jacobian import LIMIT, TOLERANCE, Ruler, outputs_of
from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
from weightatlas.degeneracy.ranking.row_pieces import pieces
from weightatlas.degeneracy.row_factor import RowFactor
from weightatlas.errors import SourceError
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from weightatlas.evaluation.batches import Batch

    Array = npt.NDArray[np.float64]

MOST_UNSEEN: Final = 0.1
"""Of what the rank promises, that an estimate may lack by its temperature and prior alone for a bracket to bind it: as
far off as known coefficients are allowed to be."""

Curved = Literal["cross-entropy", "squared error"]

_NETWORK: Final = "the network"


@dataclass(frozen=True, slots=True, eq=False)
class GaussNewtonRank:
    r"""The rank of \(J^\top C J\), C the curvature of the loss by the outputs.

    Attributes:
        rank: singular values of its root \(C^{1/2} J\) above the tolerance.
        parameters: N, its rows.
        most: the largest rank that the data allow, whatever the network.
        examples: n.
        tolerance: of singular values, relative to the largest.
        singular_values: descending; beyond 1,024 of them only the largest, as of `JacobianRank`.
        factor: triangular R, float64 (N, N), \(R^\top R = J^\top C J\), a sum over examples.
    """

    rank: int
    parameters: int
    most: int
    examples: int
    tolerance: float
    singular_values: Array
    factor: torch.Tensor

    @property
    def data_limited(self) -> bool:
        """Whether the rank is above .98 of what the data allow: then it is of these data, and of no more."""
        return self.rank > LIMITED * self.most

    @property
    def bracket(self) -> tuple[float, float] | None:
        """Lower and upper bound of the learning coefficient by `hessian_bracket`; None where the data limit the rank.

        It assumes what that assumes of the Hessian, which this matrix is where the residual term vanishes, and n large.
        """
        return None if self.data_limited else hessian_bracket(self.rank, self.parameters)

    def quadratic_estimate(self, nbeta: float, localization: float) -> float:
        r"""What the estimate would be for a quadratic loss of the same curvatures h, in expectation.

        \(\frac{1}{2} \sum \frac{n\beta h}{n\beta h + \gamma}\): half the rank as \(n\beta\) grows.

        Args:
            nbeta: \(n\beta\), above 0.
            localization: \(\gamma\), 0 or more.
        """
        if localization == 0:
            return self.rank / 2
        matrix = self.factor.T @ self.factor * (nbeta / self.examples / localization)
        matrix.diagonal().add_(1)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
        return (self.parameters - float(inverse.trace())) / 2

    def bracket_at(self, nbeta: float, localization: float) -> tuple[float, float] | None:
        """The bracket, where it binds an estimate at some temperature; None where the temperature is too high for it.

        That is where `quadratic_estimate` lacks more than a tenth of half the rank: curvatures are so small against the
        prior that an estimate below the bracket would be no wonder.
        """
        unseen = self.quadratic_estimate(nbeta, localization) < (1 - MOST_UNSEEN) * self.rank / 2
        return None if unseen else self.bracket


def gauss_newton_rank(
    model: nn.Module,
    data: Iterable[Batch],
    *,
    loss: Curved = "cross-entropy",
    tolerance: float = TOLERANCE,
    limit: int = LIMIT,
    examples: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> GaussNewtonRank:
    r"""Compute the rank of the Gauss-Newton matrix \(\sum_x J_x^\top C_x J_x\) of a mean loss.

    The Hessian of \(\frac{1}{n} \sum_x \ell(f_w(x), y)\) is \(\frac{1}{n} \sum_x J_x^\top C_x J_x\), \(C_x\) the
    Hessian of \(\ell\) by the outputs, plus a residual term
    \(\frac{1}{n} \sum_x \sum_k \frac{\partial \ell}{\partial f_k} \nabla^2 f_k(x)\). For squared error C is 1. For
    cross-entropy it is \(\mathrm{diag}(p) - p p^\top\), p the softmax: of rank one less than there are classes, since a
    number added to all logits changes nothing. So the rank of J alone may be too large for it: of softmax regression
    with 5 inputs and a bias on 3 classes it is 18, where the loss is curved in 12 directions.

    Singular values are those of the rows \(\sqrt{p_k} (J_k - \sum_j p_j J_j)\), a root of \(C_x\) times \(J_x\), which
    is never squared: all rows are streamed through a QR factorisation in float64. Those up to `tolerance` times the
    largest count as 0; of curvatures that is the square of it, 1e-18 by default.

    **What a bracket by it assumes.** That w is a minimum, and that the residual term vanishes there: it does where the
    network is linear in its weights, or where its outputs are the truth's and n is large. Away from that the Hessian
    may have another rank, and the bracket may fail. And that n is large: at a finite temperature a direction of
    curvature h counts in an estimate as \(\frac{1}{2} \frac{n\beta h}{n\beta h + \gamma}\), and here as 1 / 2 whatever
    h is. `bracket_at` gives the bracket only where that makes little difference.

    Args:
        model: as `ParameterMap` takes it; measured in evaluation mode, in a copy.
        data: pairs of inputs and targets; of the targets only their shape counts: one for each example or position.
        loss: whose curvature; outputs are logits (examples, classes, ...) for "cross-entropy".
        tolerance: relative to the largest singular value; raised to what rounding can tell from 0.
        limit: parameters at most: all rows go into one factor.
        examples: how many at most, the first ones; None is all.
        seed: of what random layers draw.
        device: where; None is the network's.
        progress: called with examples done.

    Raises:
        ValueError: there are more parameters than `limit`, none that requires a gradient, no examples, or `tolerance`
            does not lie between 0 and 1.
        SourceError: the network cannot take the inputs, or gives no logits for the targets.
        NotFiniteError: a derivative is not finite.

    **Source:** Schraudolph, *Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent* (2002), for the
    matrix; the root is elementary.

    Example:
        >>> line = torch.nn.Linear(2, 3, bias=False)
        >>> inputs = torch.eye(2).repeat(4, 1)
        >>> found = gauss_newton_rank(line, [(inputs, torch.zeros(8, dtype=torch.int64))])
        >>> found.rank, found.most, found.bracket
        (4, 16, (2.0, 2.5))
    """
    if not 0 < tolerance < 1:
        message = f"tolerance must lie between 0 and 1, not {tolerance}"
        raise ValueError(message)
    network = ParameterMap(model, device=device, seed=seed)
    if network.size > limit:
        message = f"the Gauss-Newton matrix of {network.size} parameters is larger than the limit of {limit}"
        raise ValueError(message)
    held = HeldBatches(data, examples=examples, device=network.device)
    width = outputs_of(network, held)
    positions = width if loss == "squared error" else _positions(held, width)
    factor = RowFactor(network.size, wide=network.size)
    for inputs, seen in pieces(held, network, width):
        if loss == "squared error":
            factor.add(network.rows(inputs))
        else:
            factor.add(network.rows(inputs, _mixing(network, inputs, positions)))
        progress(seen, held.examples, "Gauss-Newton")
    ruler = Ruler(tolerance, network, held.examples * width)
    triangle = factor.triangle()
    rank, values = ruler.measured(triangle, seed=seed)
    return GaussNewtonRank(
        rank=rank,
        parameters=network.size,
        most=held.examples * (width if loss == "squared error" else width - positions),
        examples=held.examples,
        tolerance=ruler.tolerance,
        singular_values=values,
        factor=triangle,
    )


def cross_entropy_root(probabilities: torch.Tensor) -> torch.Tensor:
    r"""A root R of \(\mathrm{diag}(p) - p p^\top = R^\top R\): \(R_{kj} = \sqrt{p_k} (\delta_{kj} - p_j)\).

    Args:
        probabilities: p, (..., classes).

    Returns:
        (..., classes, classes).

    Example:
        >>> root = cross_entropy_root(torch.tensor([0.5, 0.5]))
        >>> root.T @ root
        tensor([[ 0.2500, -0.2500],
                [-0.2500,  0.2500]])
    """
    classes = probabilities.shape[-1]
    eye = torch.eye(classes, dtype=probabilities.dtype, device=probabilities.device)
    return probabilities.sqrt()[..., :, None] * (eye - probabilities[..., None, :])


def _positions(held: HeldBatches, width: int) -> int:
    """How many targets an example has.

    Raises:
        SourceError: the network's outputs are not as many logits for each of them.
    """
    _, targets = next(iter(held))
    positions = targets[0].numel()
    if positions == 0 or width % positions or width == positions:
        problem = f"it gives {width} numbers for an example of {positions} targets"
        raise SourceError(_NETWORK, problem, "give one that gives a logit for each class")
    return positions


def _mixing(network: ParameterMap, inputs: torch.Tensor, positions: int) -> torch.Tensor:
    """The root of each example's curvature as weights of its outputs, (examples, d_out, 1, d_out)."""
    with network.ready(), torch.no_grad():
        outputs = network.outputs(inputs)
    logits = outputs.reshape(len(inputs), -1, positions).transpose(1, 2)  # (examples, positions, classes)
    root = cross_entropy_root(logits.softmax(dim=-1))
    same = torch.eye(positions, dtype=root.dtype, device=root.device)
    found = torch.einsum("xtkj,ts->xktjs", root, same)  # rows and outputs are classes by positions
    return found.reshape(len(inputs), outputs.shape[1], 1, outputs.shape[1])
