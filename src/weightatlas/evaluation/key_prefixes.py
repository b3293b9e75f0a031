"""Names that lie one module deeper on one side than on the other: `transformer.h.0` and `h.0`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from weightatlas.errors import SourceError
from weightatlas.wording import listed, printable

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

Value = TypeVar("Value")

NAMED: Final = 4
"""How many ways an error names."""


def aligned(
    found: Mapping[str, Value], wanted: Mapping[str, object], *, source: str
) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Rename the keys of a checkpoint to a model's, where one module path put before them or taken off does that.

    A key that the model has stays. Of all first parts of either side's names the one is taken that brings the most of
    the others to names of the model, if that is at least half of them; the rest stay as they are. Where two bring
    equally many, as a student and its teacher in one file do, nobody can tell which is meant.

    Args:
        found: what the checkpoint has, by key.
        wanted: what the model has, by key.
        source: the checkpoint's name, for the error.

    Returns:
        The values by their new keys, in their order, and a sentence if any was renamed.

    Raises:
        SourceError: several first parts fit equally well.

    Example:
        >>> wanted = {"transformer.h.0.weight": 0, "lm_head.weight": 0}
        >>> aligned({"h.0.weight": 1, "lm_head.weight": 2}, wanted, source="net.pt")
        ({'transformer.h.0.weight': 1, 'lm_head.weight': 2}, ("'transformer.' was put before 1 of the names",))
    """
    others = [key for key in found if key not in wanted]
    free = {key for key in wanted if key not in found}
    if not others or not free:
        return dict(found), ()
    added = {f"{key.partition('.')[0]}." for key in free if "." in key}
    taken = {f"{key.partition('.')[0]}." for key in others if "." in key}
    choices = [(_with(others, prefix, free), prefix, "put before") for prefix in sorted(added)]
    choices += [(_without(others, prefix, free), prefix, "taken off") for prefix in sorted(taken)]
    most = max((len(names) for names, _, _ in choices), default=0)
    if not most or 2 * most < len(others):
        return dict(found), ()
    best = [choice for choice in choices if len(choice[0]) == most]
    if len(best) > 1:
        ways = [f"{_shown(prefix)} {done}" for _, prefix, done in best]
        ways = ways if len(ways) <= NAMED else [*ways[: NAMED - 1], f"{len(ways) - NAMED + 1} others"]
        problem = f"its names fit the model equally well with {listed(ways)}, {most} of them each way"
        raise SourceError(source, problem, "pass a state dict of the one network that is meant, by the model's names")
    names, prefix, done = best[0]
    renamed = {names.get(key, key): value for key, value in found.items()}
    return renamed, (f"{_shown(prefix)} was {done} {most} of the names",)


def _shown(prefix: str) -> str:
    return f"'{printable(prefix, limit=80)}'"


def _with(keys: list[str], prefix: str, free: Container[str]) -> dict[str, str]:
    return {key: prefix + key for key in keys if prefix + key in free}


def _without(keys: list[str], prefix: str, free: Container[str]) -> dict[str, str]:
    return {
        key: key.removeprefix(prefix) for key in keys if key.startswith(prefix) and key.removeprefix(prefix) in free
    }
