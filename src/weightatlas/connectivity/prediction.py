"""The barrier of each layer as derivatives at its line's ends predict it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from weightatlas.connectivity.curvature import EXAMPLES, taylor
from weightatlas.connectivity.rank_agreement import RankAgreement, rank_agreement
from weightatlas.connectivity.slopes.derivatives import LineLoss, Statistics
from weightatlas.evaluation.mean_loss import Loss, classification_loss
from weightatlas.evaluation.states import first_names
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import torch
    from torch import nn

    from weightatlas.evaluation.batches import Batch

__all__ = ["Ends", "RankAgreement", "predicted_barriers", "rank_agreement"]

Ends = Literal["lines", "networks"]


def predicted_barriers(
    model: nn.Module,
    a: Mapping[str, torch.Tensor],
    b: Mapping[str, torch.Tensor],
    data: Iterable[Batch],
    groups: Mapping[str, Sequence[str]],
    *,
    alpha: float = 0.5,
    ends: Ends = "lines",
    loss: Loss = classification_loss,
    examples: int | None = EXAMPLES,
    statistics: Statistics = "running",
    dtype: torch.dtype | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, float]:
    r"""Predict the barrier of each group of tensors from derivatives at the ends of its lines.

    A group S has two lines: its tensors go from a's to b's, \(\Delta_S\), while all others stay at a's, or at b's. For
    each, with slope \(\varphi'\) and curvature \(\varphi''\) of the loss by alpha at both of its ends,

    \(B(\alpha) \approx \alpha (1 - \alpha) (\varphi'(0) - \varphi'(1))
    + \frac{1}{2} \alpha (1 - \alpha) [\alpha \varphi''(0) + (1 - \alpha) \varphi''(1)]\),

    \(\varphi' = \nabla L \cdot \Delta_S\), \(\varphi'' = \Delta_S^T \nabla^2 L \Delta_S\). The mean of both lines is
    given, as `layer_barriers` measures it. One group of everything predicts the barrier of the networks themselves:
    both lines are the same.

    **It ranks, it does not measure.** Exact to second order, the estimate is good for ends that are close: what it
    leaves out falls with the third power of their distance, the fourth at the midpoint. Between independent solutions
    it was seen from a tenth of the barrier to four times it, and hundreds of times where training had no decay of
    weights: a minimum's curvature says little of the loss far away. Compare by `rank_agreement`, with the rise at the
    same alpha: `LayerBarrier.barrier` is the highest rise, which is 0 wherever the loss stays below its chord, while
    this goes on below 0. With ReLU or max pooling second derivatives also miss the kinks (`path_curvature`).

    One end of each line is a network with one layer of another: no minimum, and no point that training ever saw. With
    `ends="networks"` only the two networks themselves are looked at, as if the slopes and curvatures there held for
    both lines: derivatives at a stand for the first end of each, those at b for the second. That takes half the time,
    but is not exact to second order unless other groups do not matter.

    **Batch norm.** Running estimates that a group names move with it, as in `layer_barriers(..., recalibrate=None)`.
    Where it estimates statistics anew in every network, `statistics="batch"` is close to that: each batch is normalised
    by its own moments. All else is in evaluation mode.

    **Cost.** Four points a group (two with "networks"), each one forward and two backward passes over the examples; no
    Hessian and no vector as long as the parameters.

    Args:
        model: inputs to what `loss` takes; its own parameters do not count.
        a: state of one network, by the model's names.
        b: of the other.
        data: pairs of inputs and targets.
        groups: names of parameters and buffers by the group's own name, as `layer_groups` gives them.
        alpha: b's share in the group, 0 to 1.
        ends: "lines" or "networks".
        loss: of what the model gives and the targets; the mean over a batch.
        examples: how many at most, the first ones; None is all.
        statistics: what batch norms go by: "batch" or "running".
        dtype: of all computation; None is as the model's.
        seed: of what random layers draw.
        progress: called after every group.

    Returns:
        One prediction a group, in units of the loss; 0 for a group that both networks share.

    Raises:
        SourceError: a state or the data do not fit the model.
        ValueError: a group names what the model does not have, or an option is out of range.
        NotFiniteError: the loss or a derivative is not finite at an end.

    **Source:** Singh and others, *Landscaping Linear Mode Connectivity* (2024), for layer-wise prediction from
    curvature at both ends. We keep the slopes, which are not zero where training stopped early; without them the
    prediction for close networks has the wrong sign.

    Example:
        >>> import torch
        >>> class Saddle(torch.nn.Linear):
        ...     def forward(self, inputs):
        ...         return self.weight.square().sum() / 2 - self.bias.square().sum() / 2
        >>> a, b = ({"weight": torch.full((1, 1), at), "bias": torch.full((1,), at)} for at in (-1.0, 1.0))
        >>> groups = {"across": ["weight"], "along": ["bias"], "both": ["weight", "bias"]}
        >>> predicted_barriers(Saddle(1, 1), a, b, [(torch.ones(1, 1),) * 2], groups, loss=lambda out, _: out)
        {'across': -0.5, 'along': 0.5, 'both': 0.0}
    """
    if ends not in get_args(Ends) or not 0 <= alpha <= 1:
        message = f"ends must be one of {', '.join(get_args(Ends))} and alpha between 0 and 1, not {ends!r} and {alpha}"
        raise ValueError(message)
    firsts = first_names(model)
    unknown = sorted({name for names in groups.values() for name in names} - set(firsts))
    if unknown:
        message = f"the model has no {', '.join(unknown)}; name its parameters and buffers"
        raise ValueError(message)
    line_loss = LineLoss(model, data, loss=loss, examples=examples, statistics=statistics, dtype=dtype, seed=seed)
    one, other = line_loss.fit(a, "the first state"), line_loss.fit(b, "the second state")
    predicted: dict[str, float] = {}
    for count, (group, names) in enumerate(groups.items(), start=1):
        own = dict.fromkeys(firsts[name] for name in names)
        direction = line_loss.direction(one, other, own)
        lines = [(one, other)]
        if ends == "lines":
            lines = [(one, _with(one, other, own)), (_with(other, one, own), other)]
        predicted[group] = float(np.mean([_along(line_loss, line, direction, alpha) for line in lines]))
        progress(count, len(groups), group)
    return predicted


def _along(
    line_loss: LineLoss,
    line: tuple[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]],
    direction: Mapping[str, torch.Tensor],
    alpha: float,
) -> float:
    """The estimate along one line, from its two ends."""
    start, end = (line_loss.at(point, direction) for point in line)
    return float(taylor(start, end, np.array([alpha]))[0])


def _with(
    kept: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], names: Iterable[str]
) -> dict[str, torch.Tensor]:
    """A state with some tensors of another."""
    return {**kept, **{name: other[name] for name in names}}
