"""What the Hessian's rank says about the learning coefficient: bounds that need no sampling."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from weightatlas.evaluation.mean_loss import Loss, MeanLoss, classification_loss, first_examples, not_finite
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from weightatlas.evaluation.batches import Batch

    Array = npt.NDArray[np.float64]

TOLERANCE: Final = 1e-8
"""Of an eigenvalue, relative to the largest magnitude: the root of float64's precision. Rounding in the network and in
the decomposition of some thousand rows comes to about 1e-12 of it."""
LIMIT: Final = 4096
"""Parameters at most: the Hessian of that many takes 134 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class HessianRank:
    """The rank of the Hessian of a mean loss.

    Attributes:
        rank: eigenvalues whose magnitude is above the tolerance.
        parameters: rows of the Hessian.
        negative: those of the rank that are below zero; none at a minimum, so that the bracket holds.
        eigenvalues: float64 (parameters,), descending.
        gradient: length of the gradient there, 0 at a minimum. Directions that are free by a symmetry have eigenvalues
            of its size where it is not 0.
        tolerance: relative to the largest magnitude.
        examples: that the loss is a mean over.
    """

    rank: int
    parameters: int
    negative: int
    eigenvalues: Array
    gradient: float
    tolerance: float
    examples: int

    @property
    def bracket(self) -> tuple[float, float]:
        """Lower and upper bound of the learning coefficient; see `hessian_bracket`."""
        return hessian_bracket(self.rank, self.parameters)


def hessian_bracket(rank: int, parameters: int) -> tuple[float, float]:
    r"""Bound the learning coefficient of a minimum by the rank of its Hessian.

    \(\frac{r}{2} \le \lambda \le \frac{r}{2} + \frac{d - r}{4}\), r the rank and d the number of parameters. A smooth
    loss is, in suitable coordinates, a sum of r squares and a function of the d - r others that has no second-order
    terms (the splitting lemma); at a minimum it has none of third order either, so that it rises at most as fast as a
    fourth power, whose coefficient is 1 / 4 for each coordinate. Both ends are met: by squares with free directions,
    and by squares with fourth powers.

    The loss must have four derivatives: where a ReLU has its kink at the minimum the upper end may fail. And it is the
    coefficient that is bounded, what estimates tend to as n grows: see `gauss_newton_rank`.

    Args:
        rank: of the Hessian of that very loss there. Where the loss is 0, or the network linear in its weights, that is
            the rank of the Gauss-Newton matrix; of the stacked Jacobian of the outputs only for their square error.
        parameters: how many there are.

    Returns:
        Both bounds, float64 from 0 to d / 2.

    Raises:
        ValueError: the rank is below 0 or above the number of parameters.

    **Source:** "The Hessian rank bounds the learning coefficient" (LessWrong, Z2RWoyJp9j2yEfbHN), an argument in a blog
    that is not peer reviewed; given above in short.

    Example:
        >>> hessian_bracket(6, 10)
        (3.0, 4.0)
    """
    if not 0 <= rank <= parameters:
        message = f"the rank must lie between 0 and the number of parameters, {parameters}, not {rank}"
        raise ValueError(message)
    return rank / 2, rank / 2 + (parameters - rank) / 4


def hessian_rank(
    model: torch.nn.Module,
    data: Iterable[Batch],
    *,
    loss: Loss = classification_loss,
    tolerance: float = TOLERANCE,
    examples: int | None = None,
    limit: int = LIMIT,
    seed: int = 0,
    progress: Progress = silent,
) -> HessianRank:
    r"""Find the rank of \(\nabla^2 L(w)\) of a small network, from the whole matrix in float64.

    The network is copied to float64 and evaluation mode; rows are derivatives of the gradient, one for each parameter
    that requires a gradient, added up over batches and made symmetric.

    An eigenvalue is the square of a singular value of the outputs' Jacobian, so that at a tolerance of 1e-8 singular
    values below 1e-4 of the largest count as 0: for ranks beyond that take the Jacobian's.

    Args:
        model: the network, at a minimum.
        data: pairs of inputs and targets.
        loss: of what the network gives and the targets; the mean over a batch.
        tolerance: of eigenvalues, relative to the largest magnitude.
        examples: how many at most, the first ones; None is all.
        limit: parameters at most.
        seed: of what random layers draw.
        progress: called after every batch.

    Raises:
        ValueError: there are more parameters than `limit`, none that requires a gradient, or no examples.
        NotFiniteError: the Hessian is not finite.

    Example:
        >>> line = torch.nn.Linear(3, 1, bias=False)
        >>> rows = [(torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]), torch.zeros(2))]
        >>> found = hessian_rank(line, rows, loss=lambda output, _: output.square().mean() / 2)
        >>> found.rank, found.negative, found.bracket
        (2, 0, (1.0, 1.25))
    """
    double = copy.deepcopy(model).double()
    device = next((parameter.device for parameter in double.parameters()), torch.device("cpu"))
    batches = [(_doubled(inputs), _doubled(targets)) for inputs, targets in first_examples(data, examples, device)]
    mean_loss = MeanLoss(double, batches, loss=loss, seed=seed)
    size = sum(tensor.numel() for tensor in mean_loss.parameters.values())
    if size > limit:
        message = f"the Hessian of {size} parameters is larger than the limit of {limit}"
        raise ValueError(message)
    slope = torch.zeros(size, dtype=torch.float64, device=device)
    matrix = torch.zeros(size, size, dtype=torch.float64, device=device)
    with mean_loss.ready():
        for number, batch in enumerate(mean_loss.batches, start=1):
            share = len(batch[0]) / mean_loss.examples
            gradient, rows = _rows(mean_loss, batch)
            slope += share * gradient
            matrix += share * rows
            progress(number, len(batches), "Hessian")
    if not (matrix.isfinite().all() and slope.isfinite().all()):
        what = "the Hessian of the loss"
        raise not_finite(what)
    values = np.linalg.eigvalsh(((matrix + matrix.T) / 2).cpu().numpy())[::-1]
    above = np.abs(values) > tolerance * np.abs(values).max()
    return HessianRank(
        rank=int(above.sum()),
        parameters=size,
        negative=int((above & (values < 0)).sum()),
        eigenvalues=values,
        gradient=float(slope.norm()),
        tolerance=tolerance,
        examples=mean_loss.examples,
    )


def _rows(mean_loss: MeanLoss, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of a batch's loss, and the derivative of each of its entries as a row."""
    inputs, targets = batch
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in mean_loss.parameters.items()}
    wanted = tuple(leaves.values())
    found = mean_loss.loss(mean_loss.outputs(leaves, inputs), targets)
    gradient = _flat(torch.autograd.grad(found, wanted, create_graph=True, allow_unused=True, materialize_grads=True))
    if not gradient.requires_grad:  # a loss that is linear in every parameter
        return gradient.detach(), gradient.new_zeros(len(gradient), len(gradient))
    rows = [
        _flat(torch.autograd.grad(entry, wanted, retain_graph=True, allow_unused=True, materialize_grads=True))
        for entry in gradient
    ]
    return gradient.detach(), torch.stack(rows)


def _flat(tensors: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _doubled(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor
