"""Names that lie one module deeper on one side than on the other: `transformer.h.0` and `h.0`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

Value = TypeVar("Value")


def aligned(found: Mapping[str, Value], wanted: Mapping[str, object]) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Rename the keys of a checkpoint to a model's, where one module path put before them or taken off does that.

    A key that the model has stays. Of all first parts of either side's names the one is taken that brings the most of
    the others to names of the model, if that is at least half of them; the rest stay as they are.

    Args:
        found: what the checkpoint has, by key.
        wanted: what the model has, by key.

    Returns:
        The values by their new keys, in their order, and a sentence if any was renamed.

    Example:
        >>> aligned({"h.0.weight": 1, "lm_head.weight": 2}, {"transformer.h.0.weight": 0, "lm_head.weight": 0})
        ({'transformer.h.0.weight': 1, 'lm_head.weight': 2}, ("'transformer.' was put before 1 of the names",))
    """
    others = [key for key in found if key not in wanted]
    free = {key for key in wanted if key not in found}
    if not others or not free:
        return dict(found), ()
    added = {f"{key.partition('.')[0]}." for key in free if "." in key}
    taken = {f"{key.partition('.')[0]}." for key in others if "." in key}
    choices = [(_with(others, prefix, free), f"{prefix!r} was put before") for prefix in sorted(added)]
    choices += [(_without(others, prefix, free), f"{prefix!r} was taken off") for prefix in sorted(taken)]
    names, said = max(choices, key=lambda choice: len(choice[0]), default=({}, ""))
    if 2 * len(names) < len(others) or not names:
        return dict(found), ()
    return {names.get(key, key): value for key, value in found.items()}, (f"{said} {len(names)} of the names",)


def _with(keys: list[str], prefix: str, free: Container[str]) -> dict[str, str]:
    return {key: prefix + key for key in keys if prefix + key in free}


def _without(keys: list[str], prefix: str, free: Container[str]) -> dict[str, str]:
    return {
        key: key.removeprefix(prefix) for key in keys if key.startswith(prefix) and key.removeprefix(prefix) in free
    }
