"""The straight line between two states of one network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation.states import COUNTER, State

_FIRST: Final = "the first state"
_SECOND: Final = "the second state"
_REMEDY: Final = "give two states of one network"


def interpolate(a: State, b: State, alpha: float) -> dict[str, torch.Tensor]:
    r"""The state at \((1 - \alpha) a + \alpha b\).

    Floating-point (and complex) entries are blended, running means and variances too; integers and truth values are
    those of `a`. Entries keep the dtype and device of `a`; half precision is blended in single. At 0 and 1 the values
    are those of `a` and `b`, and where both are equal they stay what they are, to the last bit.

    Args:
        a: the state at alpha = 0.
        b: the state at alpha = 1, of the same names and shapes; a count of batches may be absent.
        alpha: any number; beyond 0 and 1 the line goes on.

    Returns:
        New tensors, by the names of `a`.

    Raises:
        SourceError: a name is in one state alone, or shapes differ.

    Example:
        >>> a, b = {"weight": torch.tensor([0.0, 2.0])}, {"weight": torch.tensor([4.0, 2.0])}
        >>> interpolate(a, b, 0.25)["weight"]
        tensor([1., 2.])
    """
    lone = next((name for name in {**dict.fromkeys(a), **dict.fromkeys(b)} if (name in a) != (name in b)), None)
    if lone is not None and not lone.endswith(COUNTER):
        raise SourceError(_SECOND if lone in a else _FIRST, f"it has no {lone}", _REMEDY)
    blended: dict[str, torch.Tensor] = {}
    for name in a:
        one = a[name].detach()
        if name not in b or not (one.is_floating_point() or one.is_complex()):
            blended[name] = one.clone()
            continue
        other = b[name].detach()
        if one.shape != other.shape:
            shapes = f"{list(other.shape)} where the first has {list(one.shape)}"
            raise SourceError(_SECOND, f"{name} is {shapes}", _REMEDY)
        blended[name] = blend_into(torch.empty_like(one), one, other.to(one.device), alpha)
    return blended


def blend_into(out: torch.Tensor, one: torch.Tensor, other: torch.Tensor, alpha: float) -> torch.Tensor:
    """Write (1 - alpha) one + alpha other into a tensor; give it back."""
    if alpha in (0, 1):
        return out.copy_(other if alpha == 1 else one)
    full = torch.float32 if one.is_floating_point() and one.element_size() < 4 else one.dtype
    if full != one.dtype or other.dtype != one.dtype:
        return out.copy_(torch.lerp(one.to(full), other.to(full), alpha))
    return torch.lerp(one, other, alpha, out=out)


def blend_state_into(out: Mapping[str, torch.Tensor], a: State, b: State, alpha: float) -> None:
    """Write the state between two that `fit_state` gave into tensors of the same names; integers are those of `a`."""
    for name, tensor in out.items():
        if tensor.is_floating_point() or tensor.is_complex():
            blend_into(tensor, a[name], b[name], alpha)
        else:
            tensor.copy_(a[name])
