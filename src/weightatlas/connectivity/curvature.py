"""The barrier between two networks as the curvature of the loss along the line between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float64

from weightatlas.connectivity.slopes.derivatives import Derivatives, LineLoss, Statistics
from weightatlas.connectivity.slopes.line_integrals import LineIntegrals
from weightatlas.evaluation.mean_loss import Loss, classification_loss
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import torch
    from torch import nn

    from weightatlas.evaluation.batches import Batch

Array = np.ndarray

EXAMPLES: Final = 512
"""That the loss is a mean over: derivatives cost several forward passes a point."""

NODES: Final = 161
"""Points on the line at most: ten parts of 16 steps."""

TOLERANCE: Final = 1e-4
"""Of the integrals, relative to the highest barrier of `alphas`: what the identity is asked to hold to."""


@dataclass(frozen=True, slots=True, eq=False)
class PathCurvature:
    """The barrier along a line, and what of it is curvature that second derivatives see.

    Attributes:
        alphas: where on the line, 0 at the first network.
        barrier: as measured: the loss there less the chord of both ends'.
        from_slopes: the same from first derivatives along the line alone; of any piecewise smooth loss.
        seen: what second derivatives along the line give: the barrier of a loss with continuous gradient.
        from_ends: the Taylor estimate from slopes and curvatures at both ends alone.
        positions: of the points that were integrated over, ascending from 0 to 1.
        losses: at these.
        slopes: derivative of the loss by alpha at these.
        curvatures: second derivative by alpha at these, without kinks.
        slope_error: how far `from_slopes` moved at most as the steps were halved the last time.
        curvature_error: how far `seen` did.
        length: |b - a|, of all floating-point tensors that the loss depends on.
        examples: that losses are means over.
    """

    alphas: Float64[Array, " alphas"]
    barrier: Float64[Array, " alphas"]
    from_slopes: Float64[Array, " alphas"]
    seen: Float64[Array, " alphas"]
    from_ends: Float64[Array, " alphas"]
    positions: Float64[Array, " nodes"]
    losses: Float64[Array, " nodes"]
    slopes: Float64[Array, " nodes"]
    curvatures: Float64[Array, " nodes"]
    slope_error: float
    curvature_error: float
    length: float
    examples: int

    @property
    def in_kinks(self) -> Float64[Array, " alphas"]:
        """What second derivatives do not see: the barrier less `seen`; 0 within `curvature_error` of a smooth loss."""
        unseen: Float64[Array, " alphas"] = self.barrier - self.seen
        return unseen

    @property
    def scale(self) -> float:
        """The largest |barrier|: what errors are relative to."""
        return float(np.abs(self.barrier).max())

    @property
    def slope_gap(self) -> float:
        """The largest |barrier - from_slopes|.

        Far above `slope_error` it says that derivatives leave out something that moves along the line: a norm that
        detaches its running statistics, an operator whose gradient is not its derivative (rounding, straight-through).
        """
        return float(np.abs(self.barrier - self.from_slopes).max())


def path_curvature(
    model: nn.Module,
    a: Mapping[str, torch.Tensor],
    b: Mapping[str, torch.Tensor],
    data: Iterable[Batch],
    *,
    alphas: Sequence[float] | None = None,
    nodes: int = NODES,
    tolerance: float = TOLERANCE,
    loss: Loss = classification_loss,
    examples: int | None = EXAMPLES,
    statistics: Statistics = "running",
    dtype: torch.dtype | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> PathCurvature:
    r"""Take the barrier between two networks apart into curvature that is seen and curvature in kinks.

    With \(\varphi(\alpha) = L(\theta_\alpha)\), \(\theta_\alpha = (1 - \alpha) a + \alpha b\) and \(D = b - a\), the
    barrier is \(B(\alpha) = \varphi(\alpha) - (1 - \alpha) \varphi(0) - \alpha \varphi(1)\). Three figures for it:

    - **measured**, from losses;
    - **from slopes**, \((1 - \alpha) \int_0^\alpha \varphi' - \alpha \int_\alpha^1 \varphi'\): exact for every
      continuous and piecewise smooth loss;
    - **seen**, \(-\int_0^1 g(\alpha, s)\, D^T \nabla^2 L(\theta_s) D\, ds\) with Green's function
      \(g = \min(\alpha, s) (1 - \max(\alpha, s))\). For a loss with a continuous gradient (GELU, SiLU, tanh, softplus)
      it is the barrier: there is one where curvature along the line is negative on the whole. With ReLU or max pooling
      derivatives do not see the kinks, of which a line crosses many: `in_kinks` is what is left, barrier less seen. It
      can be the larger part, and `seen` of the other sign.

    **Batch norm.** Running estimates are interpolated with the weights, as `barrier(..., recalibrate=None)` does. They
    are part of D and of every derivative, or else the identity would be of another loss. With `statistics="batch"`
    each batch is normalised by its own moments instead: the loss is then a function of the parameters alone, close to
    what `barrier` measures with statistics estimated anew at every point. To statistics that are estimated on other
    data, or REPAIR, no such identity applies. All else is in evaluation mode.

    Integrals are by Simpson's rule between the alphas, steps halved until neither moves by more than the tolerance or
    there are no nodes left; both errors are in the result. Along ReLU networks slopes jump, and the error falls with
    the steps only, not with their fourth power. In float32 derivatives carry rounding of about 1e-5 of their size,
    which no halving takes away: pass `dtype=torch.float64` to hold the identity to 1e-4 of a low barrier.

    **Cost.** At each node one forward and two backward passes over the examples: about five forward passes' time. A
    batch's activations are held with their derivatives, no vector as long as the parameters but the two ends, D and
    the point.

    Args:
        model: inputs to what `loss` takes; its own parameters do not count.
        a: state at alpha 0, by the model's names.
        b: state at alpha 1.
        data: pairs of inputs and targets.
        alphas: where to give the barrier, 0 to 1; None is eleven in equal steps.
        nodes: on the line, at most; fewer where the tolerance is met.
        tolerance: of both integrals, relative to the largest |barrier|.
        loss: of what the model gives and the targets; the mean over a batch.
        examples: how many at most, the first ones; None is all.
        statistics: what batch norms go by: "batch" or "running".
        dtype: of all computation; None is as the model's.
        seed: of what random layers draw.
        progress: called after every node.

    Returns:
        The three at every alpha, losses and derivatives at every node.

    Raises:
        SourceError: a state or the data do not fit the model.
        ValueError: alphas are out of range, `nodes` are too few for them, or there are no examples.
        NotFiniteError: the loss or a derivative is not finite somewhere on the line.

    **Source:** Singh and others, *Landscaping Linear Mode Connectivity* (2024), for the question. Green's function of
    \(-d^2/ds^2\) on an interval is classical; kinks apart are ours.

    Example:
        >>> import torch
        >>> class Bowl(torch.nn.Linear):
        ...     def forward(self, inputs):
        ...         return self.weight.square().sum() / 2 + 0 * inputs.sum()
        >>> a, b = ({"weight": torch.tensor([[value, 0.0]]), "bias": torch.zeros(1)} for value in (-1.0, 1.0))
        >>> found = path_curvature(Bowl(2, 1), a, b, [(torch.ones(1, 2),) * 2], alphas=[0.5], loss=lambda out, _: out)
        >>> found.barrier.tolist(), found.seen.tolist(), found.from_ends.tolist()
        ([-0.5], [-0.5], [-0.5])
    """
    wanted = np.linspace(0, 1, 11) if alphas is None else np.asarray(alphas, dtype=np.float64)
    line = LineIntegrals(wanted, nodes)
    line_loss = LineLoss(model, data, loss=loss, examples=examples, statistics=statistics, dtype=dtype, seed=seed)
    ends = line_loss.fit(a, "the first state"), line_loss.fit(b, "the second state")
    direction = line_loss.direction(*ends)
    found: dict[float, Derivatives] = {}
    while True:
        for position in line.positions():
            if position not in found:
                found[position] = line_loss.at(_between(*ends, position), direction)
                progress(len(found), nodes, f"alpha {position:.4g}")
        values, slopes, curvatures = np.array([found[position] for position in line.positions()]).T
        answers = line.barriers(values), line.from_slopes(slopes), line.from_curvatures(curvatures)
        halved = line.from_slopes(slopes, every=2), line.from_curvatures(curvatures, every=2)
        errors = [float(np.abs(fine - coarse).max()) for fine, coarse in zip(answers[1:], halved, strict=True)]
        if max(errors) <= tolerance * np.abs(answers[0]).max() or not line.halve():
            break
    return PathCurvature(
        wanted,
        *answers,
        from_ends=taylor(found[0.0], found[1.0], wanted),
        positions=np.array(line.positions()),
        losses=values,
        slopes=slopes,
        curvatures=curvatures,
        slope_error=errors[0],
        curvature_error=errors[1],
        length=math.sqrt(sum(float(tensor.double().square().sum()) for tensor in direction.values())),
        examples=line_loss.examples,
    )


def taylor(start: Derivatives, end: Derivatives, alphas: Float64[Array, " alphas"]) -> Float64[Array, " alphas"]:
    r"""Estimate a barrier from both ends' derivatives alone.

    \(B(\alpha) \approx \alpha (1 - \alpha) (\varphi'(0) - \varphi'(1))
    + \frac{1}{2} \alpha (1 - \alpha) [\alpha \varphi''(0) + (1 - \alpha) \varphi''(1)]\): the parabola at the first end
    and that at the second, weighted by (1 - alpha) and alpha.

    Args:
        start: derivatives by alpha at 0.
        end: at 1.
        alphas: where.
    """
    both = alphas * (1 - alphas)
    found: Float64[Array, " alphas"] = both * (
        start.slope - end.slope + (alphas * start.curvature + (1 - alphas) * end.curvature) / 2
    )
    return found


def _between(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor], alpha: float) -> dict[str, torch.Tensor]:
    """The point of the line, exact at its ends."""
    return {name: tensor.lerp(b[name], alpha) if tensor.is_floating_point() else tensor for name, tensor in a.items()}
