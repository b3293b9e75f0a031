"""Weight standardisation: every unit's weights at mean zero and deviation one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch

from weightatlas.errors import NotFiniteError


@dataclass(frozen=True, slots=True)
class Standardization:
    r"""Say how the weights of a unit are standardised: the estimate of the deviation, and its epsilon.

    Attributes:
        eps: keeps the deviation from zero; 0 or above.
        eps_inside: epsilon is added to the variance, under the root; otherwise to the deviation, outside of it.
        unbiased: the variance divides by I - 1, not by I, the number of weights of a unit.
        centre: the mean is taken away.
        scale: the weights are divided by their deviation, which is about the mean in any case.

    Raises:
        ValueError: epsilon is negative or not finite, or there is nothing to do.

    Example:
        >>> Standardization(eps=1e-5, unbiased=True) == STANDARDIZATIONS["bcn2019"]
        True
    """

    eps: float = 1e-6
    eps_inside: bool = True
    unbiased: bool = False
    centre: bool = True
    scale: bool = True

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if not (math.isfinite(self.eps) and self.eps >= 0):
            message = f"eps must be 0 or above, and finite, not {self.eps}"
            raise ValueError(message)
        if not (self.centre or self.scale):
            message = "a standardization centres, scales, or does both"
            raise ValueError(message)


STANDARDIZATIONS: Final[Mapping[str, Standardization]] = MappingProxyType(
    {
        "timm": Standardization(),
        "bit": Standardization(eps=1e-8),
        "qiao2019": Standardization(eps=1e-5, eps_inside=False, unbiased=True),
        "bcn2019": Standardization(eps=1e-5, unbiased=True),
        "google": Standardization(eps=1e-5, eps_inside=False),
        "centred": Standardization(scale=False),
        "scaled": Standardization(centre=False),
    }
)
"""Published ways, and the two halves of the default.

| name | variance | epsilon | where it is used |
|---|---|---|---|
| timm | biased | 1e-6 in the root | timm's `StdConv2d` and `ScaledStdConv2d`; the default |
| bit | biased | 1e-8 in the root | timm's BiT networks (`resnetv2_*_bit`) |
| qiao2019 | unbiased | 1e-5 outside | the authors' WeightStandardization, classification and DeepLab |
| bcn2019 | unbiased | 1e-5 in the root | the authors' Batch-Channel-Normalization |
| google | biased | 1e-5 outside | the authors' TensorFlow code, Google's vision transformers |
| centred | - | - | only the mean is taken away |
| scaled | biased | 1e-6 in the root | only divided by the deviation about the mean |
"""


def find_standardization(how: Standardization | str) -> Standardization:
    """Give a standardisation by its name in `STANDARDIZATIONS`, or as it is.

    Raises:
        ValueError: there is none of that name.
    """
    if isinstance(how, Standardization):
        return how
    if how not in STANDARDIZATIONS:
        message = f"no standardization is called {how!r}; there are {', '.join(STANDARDIZATIONS)}"
        raise ValueError(message)
    return STANDARDIZATIONS[how]


def standardize(
    weight: torch.Tensor,
    *,
    how: Standardization | str = STANDARDIZATIONS["timm"],
    gain: torch.Tensor | None = None,
    unit_axis: int = 0,
    groups: int = 1,
) -> torch.Tensor:
    r"""Standardise the weights of every unit.

    The unit o has the weights W_oi, I of them. By default

    $$\hat W_{oi} = \frac{W_{oi} - \mu_o}{\sqrt{\sigma_o^2 + \varepsilon}}, \qquad
    \mu_o = \frac{1}{I} \sum_i W_{oi}, \qquad \sigma_o^2 = \frac{1}{I} \sum_i (W_{oi} - \mu_o)^2.$$

    Statistics are of single precision for half weights, otherwise of the weights' own. A unit whose weights are all
    equal, or that has one weight, becomes zero (unless it is only scaled). With g the gradient of the loss at the
    standardised weights and epsilon 0, that at the weights is

    $$\frac{\partial L}{\partial W} = \dot g - \frac{\langle 1, \dot g \rangle}{I}, \qquad
    \dot g = \frac{1}{\sigma} \Bigl(g - \hat W \frac{\langle \hat W, g \rangle}{I}\Bigr).$$

    It can be differentiated again, by reverse or forward differentiation. Where the deviation of equal weights has no
    derivative (epsilon 0) their gradient is zero; elsewhere it is the true one, finite.

    Args:
        weight: (units, ...), floating, as a convolution or a linear layer has them, in any memory format.
        how: one of `STANDARDIZATIONS`, by name, or one's own.
        gain: multiplies the standardised weights, one number a unit, in any shape.
        unit_axis: the axis of the units: 0, or 1 for a transposed convolution.
        groups: of a transposed convolution: unit k of group g has the weights `weight[g * n : (g + 1) * n, k]`, n being
            the size of axis 0 over the groups. Where the units stand on axis 0, groups change nothing.

    Returns:
        The standardised weights, of the shape, dtype and, for units on axis 0, the memory format of `weight`.

    Raises:
        ValueError: the weights are not floating or have no units, the groups do not divide axis 0, there is no gain for
            each unit, or (on a CPU, outside of compiled code) a weight is NaN or infinite, or too large for its
            variance. Elsewhere a look at the values would make the device wait: there NaN and infinity come out as
            NaN, and a unit too large for its variance as zero.

    **Source:** Qiao et al., Micro-Batch Training with Batch-Channel Normalization and Weight Standardization (2019),
    the definition of weight standardisation. The paper's epsilon and the authors' several programs differ from each
    other; the default is that of timm.

    Example:
        >>> weight = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
        >>> standardize(weight, how=Standardization(eps=0.0))
        tensor([[-1.2247,  0.0000,  1.2247],
                [ 0.0000,  0.0000,  0.0000]])
    """
    how = find_standardization(how)
    _check(weight, gain, unit_axis, groups)
    if gain is not None:
        gain = gain.to(torch.promote_types(weight.dtype, torch.float32)).reshape(-1)
    if weight.dtype.itemsize < 4:
        return standardize(weight.float(), how=how, gain=gain, unit_axis=unit_axis, groups=groups).to(weight.dtype)
    if unit_axis == 0:
        return _in_memory_order(weight, how, gain)
    apart = weight.reshape(groups, -1, *weight.shape[1:]).movedim(unit_axis + 1, 1)
    joined = apart.flatten(0, 1)  # (groups * units of a group, inputs of a group, ...)
    standardized = _in_memory_order(joined, how, gain).view(apart.shape).movedim(1, unit_axis + 1)
    return standardized.flatten(0, 1)


def _in_memory_order(weight: torch.Tensor, how: Standardization, gain: torch.Tensor | None) -> torch.Tensor:
    """Standardise weights as they lie in memory: neither those in channels-last nor the answer are copied."""
    if weight.is_contiguous():
        return _standardized(weight, how, gain)
    order = (0, *sorted(range(1, weight.ndim), key=lambda axis: -weight.stride()[axis]))
    back = [order.index(axis) for axis in range(weight.ndim)]
    return _standardized(weight.permute(order), how, gain).permute(back)


def _standardized(weight: torch.Tensor, how: Standardization, gain: torch.Tensor | None) -> torch.Tensor:
    """Standardise (units, ...) by one kernel where there is one."""
    units, fan_in = weight.shape[0], math.prod(weight.shape[1:])
    if not (how.centre and how.scale and how.eps_inside and how.eps >= torch.finfo(weight.dtype).tiny):
        return _step_by_step(weight, how, gain)
    # sqrt(v I / (I - 1) + eps) = sqrt(I / (I - 1)) sqrt(v + eps (I - 1) / I): the kernel's variance is biased
    share = max(fan_in - 1, 1) / fan_in if how.unbiased else 1.0
    eps = how.eps * share
    if gain is not None:
        factor = gain * math.sqrt(share) if share < 1 else gain
        one = weight.unsqueeze(0).contiguous()
        answer, _, inverse = torch.native_group_norm(one, factor, None, 1, units, fan_in, units, eps)
        answer = answer.squeeze(0)
    else:
        answer, _, inverse = torch.native_layer_norm(weight, weight.shape[1:], None, None, eps)
        answer = answer * math.sqrt(share) if share < 1 else answer
    _check_values(weight, inverse, "a variance")
    return answer


def _step_by_step(weight: torch.Tensor, how: Standardization, gain: torch.Tensor | None) -> torch.Tensor:
    """Standardise (units, ...) by the definition."""
    rest = tuple(range(1, weight.ndim))
    mean = weight.mean(rest, keepdim=True)
    fixed = weight.detach()
    equal = fixed.amin(rest, keepdim=True) == fixed.amax(rest, keepdim=True)
    centred = weight - mean
    centred = answer = centred - torch.where(equal, centred.detach(), 0.0)  # less what rounding leaves of equal weights
    _check_values(weight, 1 / (mean.detach().abs() + 1), "a mean")
    if how.scale:
        variance = centred.square().sum(rest, keepdim=True) / max(math.prod(weight.shape[1:]) - int(how.unbiased), 1)
        _check_values(weight, 1 / (variance.detach() + 1), "a variance")
        deviation = _root(variance + how.eps) if how.eps_inside else _root(variance) + how.eps
        inverse = torch.where(deviation > 0, deviation, torch.inf).reciprocal()
        answer = (centred if how.centre else weight) * inverse
    return answer if gain is None else answer * gain.view(-1, *(1 for _ in rest))


def _root(squares: torch.Tensor) -> torch.Tensor:
    """The root, with a derivative of zero at zero, where it has none."""
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)


def _check(weight: torch.Tensor, gain: torch.Tensor | None, unit_axis: int, groups: int) -> None:
    """Refuse weights without units, and units without a gain."""
    if not weight.is_floating_point():
        message = f"weights to standardise are floating numbers, not {weight.dtype}"
        raise ValueError(message)
    if weight.ndim < 2 or math.prod(weight.shape) == 0 or not 0 <= unit_axis < weight.ndim:
        message = f"weights of shape {tuple(weight.shape)} have no units along axis {unit_axis}"
        raise ValueError(message)
    if unit_axis != 0 and (groups < 1 or weight.shape[0] % groups):
        message = f"{groups} groups do not divide the {weight.shape[0]} inputs"
        raise ValueError(message)
    units = weight.shape[unit_axis] * (groups if unit_axis else 1)
    if gain is not None and gain.numel() != units:
        message = f"gain has {gain.numel()} numbers, not one for each of the {units} units"
        raise ValueError(message)


def _check_values(weight: torch.Tensor, health: torch.Tensor, moment: str) -> None:
    """Refuse weights whose unit is in bad health, which is NaN or 0, where a look makes no device wait."""
    if health.device.type != "cpu" or torch.compiler.is_compiling():
        return
    try:
        good = health.min().item() > 0
    except RuntimeError:  # values that cannot be looked at: traced, or many at once under vmap
        return
    if good:
        return
    unit = int((~(health > 0)).flatten().nonzero()[0, 0])
    what = f"values too large for {moment} in {weight.dtype}" if weight[unit].isfinite().all() else "NaN or infinity"
    message = f"unit {unit} of the weights has {what}: it cannot be standardised"
    raise NotFiniteError(message)
