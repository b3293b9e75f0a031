"""How much one tensor changed from one moment of its training to another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np
import torch

from weightatlas.change.summing.measuring import Asked, Measured, measure, nothing_measured
from weightatlas.change.summing.ratios import median_ratio
from weightatlas.change.summing.stored import viewed
from weightatlas.change.summing.sums import ChangeStatistics, Zero, figures
from weightatlas.parallel import parallel_map

if TYPE_CHECKING:
    import numpy.typing as npt

    Weight = torch.Tensor | npt.NDArray[Any]

PARTS: Final = 1 << 24
"""Elements of what several threads share: each takes parts of this size."""


def statistics(
    before: Weight,
    after: Weight,
    *,
    start: Weight | None = None,
    previous: Weight | None = None,
    zero: Zero = "skip",
    only_norms: bool = False,
    median: bool = False,
    jobs: int | None = 1,
) -> ChangeStatistics:
    """Measure how much a tensor changed, in one read of it.

    With w the weights before, w' after, d = w' - w, e the update before this one, s the first weights:

        ratio_l1 = sum |d| / sum |w|             elementwise = mean |d| / |w|       ratio_l2 = |d|_2 / |w|_2
        cosine = <d, e> / (|d|_2 |e|_2)          from_start = sum |w' - s| / sum |s|

    `ratio_l1` is what to look at. `elementwise` has the tail of a Cauchy law: a weight near 0 makes it large, and it
    grows with the number of weights.

    Sums run in float32 over 512 elements (float64 where those could overflow or underflow), and in float64 beyond:
    figures are within 1e-6 of float64's, whatever the size. Of the angle that is true of its cosine, while w' is not
    much shorter than s: at a tenth of its length it is 1e-5. No copy is made of weights in float32, float64, bfloat16
    or float16 on the CPU whose elements lie side by side; others go through a copy a chunk at a time. On a GPU all
    sums are made there.

    Args:
        before: the weights, of any shape.
        after: the same later; its type may differ.
        start: the first weights of the training; without them `from_start` and `angle_from_start` are NaN.
        previous: the weights before `before`; without them `cosine` is NaN.
        zero: what `elementwise` does with weights of 0: leaves them out ("skip"), is infinite where one moves and NaN
            where one stays ("inf", as the paper's code), or divides by 1e-8 ("eps").
        only_norms: give `ratio_l1` alone, a little faster.
        median: also the median of |d| / |w|, from a histogram with 128 bins for each power of two.
        jobs: threads that share a large tensor; None is one a core.

    Returns:
        The figures. Where weights are NaN or infinite there are none, and `skipped` says how many are.

    Raises:
        ValueError: shapes differ, the tensors are sparse, complex or on different devices, or `zero` is none of the
            three.

    **Source:** WeightScale (Agrawal and others, 2022), equation 1, for `ratio_l1`. The code behind its figures computes
    `elementwise` with zero="inf".

    Example:
        >>> before, after = torch.tensor([1.0, -2.0, 0.0]), torch.tensor([1.5, -2.0, 0.0])
        >>> found = statistics(before, after)
        >>> round(found.ratio_l1, 6), found.elementwise, found.zeros
        (0.166667, 0.25, 1)
    """
    if zero not in get_args(Zero):
        message = f"zero must be one of {', '.join(get_args(Zero))}, not {zero!r}"
        raise ValueError(message)
    old, new, first, older = _in_memory_order(*_checked(before, after, start, previous))
    asked = Asked(only_norms=only_norms, median=median)
    measured = _on_cpu if old.device.type == "cpu" else _on_device
    total = measured(_Flat(old, new, first, older), asked, jobs)
    found = figures(
        total.sums,
        old.numel(),
        zero=zero,
        only_norms=only_norms,
        with_previous=previous is not None,
        with_start=start is not None,
    )
    return found if total.bins is None or found.skipped else replace(found, median=median_ratio(total.bins))


@dataclass(frozen=True, slots=True, eq=False)
class _Flat:
    """The weights of one tensor at up to four moments, flat, each element beside its own."""

    before: torch.Tensor
    after: torch.Tensor
    start: torch.Tensor | None
    previous: torch.Tensor | None


def _checked(*weights: Weight | None) -> list[Any]:
    """The weights as tensors that can be compared with each other.

    Raises:
        ValueError: they cannot.
    """
    tensors = [_tensor(weight) if isinstance(weight, np.ndarray) else weight for weight in weights]
    first = tensors[0]
    for name, tensor in zip(("before", "after", "start", "previous"), tensors, strict=True):
        if tensor is None or first is None:
            continue
        if tensor.is_meta:
            message = f"{name} is on the meta device: it has a shape and no values"
            raise ValueError(message)
        if tensor.layout != torch.strided or tensor.is_complex():
            message = f"{name} is {'complex' if tensor.is_complex() else 'sparse'}; dense real weights are compared"
            raise ValueError(message)
        if tensor.shape != first.shape or tensor.device != first.device:
            message = (
                f"{name} is {tuple(tensor.shape)} on {tensor.device}, before {tuple(first.shape)} on {first.device}: "
                "weights of one shape on one device are compared"
            )
            raise ValueError(message)
    return [None if tensor is None else tensor.detach() for tensor in tensors]


def _tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    """A view of an array as a tensor.

    Raises:
        ValueError: torch has no such type.
    """
    if not array.flags.writeable:  # torch warns of arrays that it could write to; nothing is written here
        interface = array.__array_interface__
        interface["data"] = (interface["data"][0], False)
        array = np.asarray(SimpleNamespace(__array_interface__=interface, kept=array))
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        message = f"an array of {array.dtype} holds no real numbers that torch knows: give float32"
        raise ValueError(message) from error


def _in_memory_order(before: torch.Tensor, *others: torch.Tensor | None) -> tuple[Any, ...]:
    """The tensors flat, each element beside its own; without a copy where all lie in memory as the first does."""
    axes = sorted(range(before.dim()), key=lambda axis: (before.stride(axis), before.shape[axis]), reverse=True)
    return tuple(None if tensor is None else tensor.permute(axes).reshape(-1) for tensor in (before, *others))


def _on_cpu(weights: _Flat, asked: Asked, jobs: int | None) -> Measured:
    """Sums by the compiled loops, in parts that threads share."""

    def part(low: int) -> Measured:
        into = nothing_measured(asked)
        of = slice(low, low + PARTS)
        measure(
            into,
            viewed(weights.before[of]),
            viewed(weights.after[of]),
            start=None if weights.start is None else viewed(weights.start[of]),
            previous=None if weights.previous is None else viewed(weights.previous[of]),
            asked=asked,
        )
        return into

    return sum(parallel_map(part, range(0, weights.before.numel(), PARTS), jobs=jobs), start=nothing_measured(asked))


def _on_device(weights: _Flat, asked: Asked, _jobs: int | None) -> Measured:
    """Sums made where the weights are; they alone travel."""
    from weightatlas.change.summing.device_sums import ratios_on_device, sums_on_device

    before, after = weights.before, weights.after
    sums = sums_on_device(before, after, start=weights.start, previous=weights.previous)
    bins = ratios_on_device(before, after).cpu().numpy() if asked.median else None
    return Measured(sums.cpu().numpy(), bins)
