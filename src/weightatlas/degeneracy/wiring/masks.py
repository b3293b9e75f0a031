"""Which keys attention's queries attend to: where a query attends to none, its factors do not add up to 1."""

from __future__ import annotations

import torch


def attended(mask: torch.Tensor, *, is_taken: bool = True) -> torch.Tensor:
    """The keys that a mask lets through, bool, of the mask's shape.

    Args:
        mask: bool, or numbers that are added to the products of queries and keys.
        is_taken: whether True means that a key is attended to, as in torch's function; in its module it is left out.
    """
    if mask.dtype != torch.bool:
        return mask > -torch.inf
    return mask if is_taken else ~mask


def both_attended(mask: torch.Tensor | None, padding: torch.Tensor | None) -> torch.Tensor | None:
    """The keys that the masks of torch's module of attention let through, (..., queries, keys); None is all.

    Args:
        mask: (queries, keys), or (examples * heads, queries, keys).
        padding: (examples, keys), or (keys,) without an axis of examples.
    """
    found = None if mask is None else attended(mask, is_taken=False)
    if padding is None:
        return found
    kept = attended(padding, is_taken=False).unsqueeze(-2)
    if found is None:
        return kept
    if found.ndim == kept.ndim == 3:
        kept = kept.repeat_interleave(found.shape[0] // kept.shape[0], dim=0)
    return found & kept


def attends_somewhere(keys: torch.Tensor | None) -> bool:
    """Whether every query attends to a key, given (..., queries, keys); None is all keys.

    Example:
        >>> attends_somewhere(torch.tensor([[True, False], [False, False]]))
        False
    """
    return keys is None or bool(keys.any(-1).all())
