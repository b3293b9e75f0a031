"""The largest eigenvalues of the Hessian of a network's loss."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from inspect import signature
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from weightatlas.errors import MissingDependencyError
from weightatlas.evaluation.mean_loss import Loss, MeanLoss, classification_loss, first_examples, not_finite

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from weightatlas.evaluation.batches import Batch

    Array = npt.NDArray[np.floating[Any]]

Which = Literal["largest", "magnitude"]

BASIS: Final = 20
"""Lanczos vectors, as scipy's default: the memory is that many copies of the parameters and a few more."""

RESTARTS: Final = 50
"""Restarts of the Lanczos iteration, of `BASIS` products each: ten times what trained networks were seen to take."""


@dataclass(frozen=True, slots=True)
class HessianEigenvalues:
    """Eigenvalues of the Hessian of a mean loss.

    Attributes:
        values: largest first (by magnitude, where that was asked for), in units of the loss over a squared parameter.
        residuals: |Hv - value v| with |v| = 1: an eigenvalue of the Hessian lies within that of each value.
        converged: whether each residual is within the tolerance. Where not, the values are bounds from inside: the
            largest eigenvalue is no smaller than the first.
        products: Hessian-vector products that were computed.
        parameters: rows of the Hessian.
    """

    values: tuple[float, ...]
    residuals: tuple[float, ...]
    converged: bool
    products: int
    parameters: int


def hessian_eigenvalues(
    model: torch.nn.Module,
    batches: Iterable[Batch],
    *,
    count: int = 1,
    which: Which = "largest",
    examples: int | None = None,
    loss: Loss = classification_loss,
    training: bool = False,
    tolerance: float = 1e-3,
    restarts: int = RESTARTS,
    seed: int = 0,
) -> HessianEigenvalues:
    r"""Find the largest eigenvalues of the Hessian \(\nabla^2 L(w)\) of the mean loss over some batches.

    The Hessian is with respect to every parameter that requires a gradient. Its products with vectors are exact
    (curvlinops); ARPACK's implicitly restarted Lanczos iteration (scipy's
    `eigsh`) finds the ends of its spectrum. Each value is checked with one more product: its residual is given.

    Networks of ReLUs are piecewise smooth: the Hessian is that of the piece that w lies in, and knows nothing of the
    kinks around it, which a finite step crosses. Compare it with `gradient_lipschitz` of `conditioning.smoothness`.

    In training mode a normalisation by running estimates (micro-batch BCN) passes no gradient through them: its Hessian
    is that of the loss with the estimates held where this batch moves them, though a finite step would move them again.

    Memory is that of a gradient that can be differentiated again, and 20 vectors as long as the parameters. A
    randomly initialised ResNet-18 on 128 images of 32 x 32 in batches of 32 took 43 products, each 2.6 times as long as
    a gradient: 95 s of one CPU core, 1.9 GiB in all.

    The network, its gradients, buffers and mode stay as they are, as do torch's random generators.

    Args:
        model: inputs to what `loss` takes, with parameters of one type on one device.
        batches: pairs of inputs and targets.
        count: how many eigenvalues.
        which: "largest" (the most positive: sharpness) or "magnitude" (of either sign: the first one's absolute value
            is the local Lipschitz constant of the gradient).
        examples: how many examples at most, the first ones.
        loss: of what the model gives and the targets; the mean over a batch.
        training: whether the network is in training mode, each batch normalised by its own statistics.
        tolerance: of the residuals, relative to the value.
        restarts: of the iteration at most, each of about 20 products.
        seed: of the first vector, and of what random layers draw.

    Returns:
        Values, residuals and whether they converged.

    Raises:
        ValueError: there are no examples or no trained parameters, these are of several types or devices, or `count`
            is not between 1 and their number.
        NotFiniteError: the Hessian has values that are not finite.
        MissingDependencyError: curvlinops is not installed.

    **Source:** Santurkar and others, *How Does Batch Normalization Help Optimization?* (2018), for the question;
    Lehoucq and others, *ARPACK Users' Guide* (1998).

    Example:
        >>> square = torch.nn.Linear(2, 1, bias=False)  # the loss mean (x w)^2 / 2 has the Hessian mean x x^T
        >>> rows = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> half_square = lambda output, _: (output**2).mean() / 2
        >>> hessian_eigenvalues(square, [(rows, torch.zeros(2))], count=2, loss=half_square).values
        (2.0, 0.5)
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    mean_loss = MeanLoss(model, first_examples(batches, examples, device), loss=loss, training=training, seed=seed)
    return eigenvalues_of(mean_loss, count=count, which=which, tolerance=tolerance, restarts=restarts, seed=seed)


def eigenvalues_of(
    mean_loss: MeanLoss,
    *,
    count: int = 1,
    which: Which = "largest",
    tolerance: float = 1e-3,
    restarts: int = RESTARTS,
    seed: int = 0,
) -> HessianEigenvalues:
    """The same of a mean loss that is there already: see `hessian_eigenvalues`."""
    if which not in get_args(Which):
        message = f"which must be one of {', '.join(get_args(Which))}, not {which!r}"
        raise ValueError(message)
    with mean_loss.ready(), warnings.catch_warnings():
        # on first use: by a package that curvlinops imports
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
        hessian = _Hessian(mean_loss)
        if not 1 <= count <= hessian.size:
            message = f"count must lie between 1 and the number of parameters, {hessian.size}, not {count}"
            raise ValueError(message)
        vectors, finished = _ends(hessian, count, which=which, tolerance=tolerance, restarts=restarts, seed=seed)
        pairs = [_rayleigh(hessian, vector) for vector in vectors.T]
    pairs.sort(key=lambda pair: abs(pair[0]) if which == "magnitude" else pair[0], reverse=True)
    return HessianEigenvalues(
        values=tuple(value for value, _ in pairs),
        residuals=tuple(residual for _, residual in pairs),
        converged=finished and all(residual <= tolerance * abs(value) for value, residual in pairs),
        products=hessian.products,
        parameters=hessian.size,
    )


class _Hessian:
    """The Hessian as its products with vectors, which are counted."""

    def __init__(self, mean_loss: MeanLoss) -> None:
        """Make curvlinops's operator.

        Raises:
            MissingDependencyError: it is not installed.
            ValueError: the parameters are of several types or devices.
        """
        kinds = {f"{tensor.dtype} on {tensor.device}" for tensor in mean_loss.parameters.values()}
        if len(kinds) > 1:
            message = f"the parameters are {', '.join(sorted(kinds))}: the Hessian needs one type on one device"
            raise ValueError(message)
        self._operator = _operator(mean_loss)
        self.size = sum(tensor.numel() for tensor in mean_loss.parameters.values())
        self.dtype = np.dtype(np.float64 if self._operator.dtype == torch.float64 else np.float32)
        self.products = 0

    def __call__(self, vector: Array) -> Array:
        """Multiply it by a vector.

        Raises:
            NotFiniteError: the product is not finite.
        """
        self.products += 1
        operator = self._operator
        found = operator @ torch.tensor(vector.ravel(), dtype=operator.dtype, device=operator.device)
        product: Array = found.detach().to("cpu", torch.float64).numpy()
        if not np.isfinite(product).all():
            what = "the Hessian's product with a vector"
            raise not_finite(what)
        return product.astype(self.dtype)


def _operator(mean_loss: MeanLoss) -> Any:  # noqa: ANN401 - curvlinops has no types
    """The Hessian of a mean loss as an operator of curvlinops, which adds up batches and lays out vectors.

    Its own products are by a forward derivative of the gradient, which torch has not for group normalisation
    (`native_group_norm_backward`); here the gradient is differentiated backwards, which is as exact and no slower.

    Raises:
        MissingDependencyError: curvlinops is not installed.
    """
    try:
        from curvlinops import HessianLinearOperator
    except ImportError as error:
        need = "the Hessian's eigenvalues"
        raise MissingDependencyError(need, "curvlinops-for-pytorch", "curvature") from error

    class Hessian(HessianLinearOperator):  # type: ignore[misc] # curvlinops has no types
        def _matmat_batch(self, X: torch.Tensor, y: torch.Tensor, M: list[torch.Tensor]) -> list[torch.Tensor]:  # noqa: N803
            leaves = {name: tensor.detach().requires_grad_() for name, tensor in mean_loss.parameters.items()}
            wanted = tuple(leaves.values())
            options: dict[str, Any] = {"allow_unused": True, "materialize_grads": True}
            loss = mean_loss.loss(mean_loss.outputs(leaves, X), y)
            gradient = torch.autograd.grad(loss, wanted, create_graph=True, **options)
            depends = [(slope, column) for slope, column in zip(gradient, M, strict=True) if slope.requires_grad]
            if not depends:  # a loss that is linear in every parameter
                return [torch.zeros_like(column) for column in M]
            products = [
                torch.autograd.grad(
                    [slope for slope, _ in depends],
                    wanted,
                    [column[..., index] for _, column in depends],
                    retain_graph=True,
                    **options,
                )
                for index in range(M[0].shape[-1])
            ]
            return [torch.stack(columns, dim=-1) for columns in zip(*products, strict=True)]

    return Hessian(
        mean_loss.model,
        SimpleNamespace(reduction="mean"),  # all that is asked of the loss: that batches are weighted by their sizes
        list(mean_loss.parameters.values()),
        list(mean_loss.batches),
        check_deterministic=False,  # it draws from torch's own generator
        num_data=mean_loss.examples,
    )


def _ends(
    hessian: _Hessian, count: int, *, which: Which, tolerance: float, restarts: int, seed: int
) -> tuple[Array, bool]:
    """Vectors at the end of the spectrum, as columns, and whether the iteration came to its end."""
    size = hessian.size
    if size <= max(BASIS, 2 * count + 1):
        dense = np.stack([hessian(row) for row in np.eye(size, dtype=hessian.dtype)])
        values, vectors = np.linalg.eigh((dense + dense.T) / 2)
        order = np.argsort(np.abs(values) if which == "magnitude" else values)
        return vectors[:, order[-count:]], True
    operator = LinearOperator((size, size), matvec=hessian, dtype=hessian.dtype)
    first = np.random.default_rng(seed).standard_normal(size).astype(hessian.dtype)
    if not hessian(first).any():  # it is zero, and no first vector then starts an iteration
        return np.eye(size, count, dtype=hessian.dtype), True
    options: dict[str, Any] = {
        "k": count,
        "which": {"largest": "LA", "magnitude": "LM"}[which],
        "v0": first,
        "ncv": max(BASIS, 2 * count + 1),
        "maxiter": restarts,
    }
    if "rng" in signature(eigsh).parameters:  # scipy 1.17 on: where the vectors so far span what there is to span
        options["rng"] = np.random.default_rng(seed)
    try:
        # half the tolerance: its own estimate of the residual is not quite the residual
        return eigsh(operator, tol=tolerance / 2, **options)[1], True
    except ArpackNoConvergence:
        return eigsh(operator, tol=np.inf, **options)[1], False  # the best of the first basis, no restart


def _rayleigh(hessian: _Hessian, vector: Array) -> tuple[float, float]:
    """The value that fits a vector best, and the length of what it leaves."""
    unit = vector.astype(np.float64) / np.linalg.norm(vector.astype(np.float64))
    product = hessian(unit).astype(np.float64)
    value = float(unit @ product)
    return value, float(np.linalg.norm(product - value * unit))
