"""Which checkpoints of a run can be used: those that open, are of one network, and stand for a step of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.runs.same_network import (
    Signature,
    difference,
    is_optimizer,
    is_same_network,
    majority,
    signature,
)
from weightatlas.checkpoints.runs.step_metadata import read_metadata
from weightatlas.checkpoints.runs.steps import Reading, stem
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.errors import MissingDependencyError, SourceError
from weightatlas.wording import printable

if TYPE_CHECKING:
    from weightatlas.checkpoints.runs.run_members import Member

COPIES: Final = re.compile(r"(?<![a-z])(?:last|best|final|latest|current|recent)(?![a-z])", re.IGNORECASE)
"""Words in the names of copies: where two checkpoints are of one step, the other is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """What opening a checkpoint of a run told.

    Attributes:
        member: which.
        told: the step by its metadata.
        found: its layers and shapes; None where it was not opened.
        error: why it cannot be opened; None where it can, or was not tried.
    """

    member: Member
    told: Reading = field(default_factory=Reading)
    found: Signature | None = None
    error: SourceError | None = None


def checker() -> Callable[[Member], Checked]:
    """What checks the members of one run, from their headers; those of one network share one signature."""
    known: dict[Signature, Signature] = {}

    def check(member: Member) -> Checked:
        if not member.is_local:
            return Checked(member)
        try:
            with untrusted(member.name, "cannot be opened"):
                checkpoint = member.open()
                told = read_metadata(checkpoint.metadata)
                found = signature(checkpoint)
                return Checked(member, told if told.tells else member.told(), known.setdefault(found, found))
        except MissingDependencyError:
            raise
        except SourceError as error:
            return Checked(member, error=error)

    return check


def reason_of_failure(error: SourceError, *, is_newest: bool) -> str:
    """Why a checkpoint cannot be used; the newest may not be there yet."""
    return f"cannot be opened ({error.problem})" + (": still being written?" if is_newest else "")


def foreign(source: str, checked: Sequence[Checked]) -> tuple[dict[int, str], list[str]]:
    """The checkpoints, by index, that are not of the run's network and why; sentences on small differences.

    Args:
        source: the run, for the error.
        checked: in the order of their steps.

    Raises:
        SourceError: all are of different networks.
    """
    reasons: dict[int, str] = {}
    notes: list[str] = []
    opened = {index: each.found for index, each in enumerate(checked) if each.found is not None}
    networks = {index: found for index, found in opened.items() if not is_optimizer(found)}
    reasons.update({index: "an optimizer's state alone, no weights" for index in opened if index not in networks})
    if not networks:
        return reasons, notes
    reference = majority(list(networks.values()))
    if reference is None:
        first, second, *_ = networks
        names = f"{_name(checked[second])} beside {_name(checked[first])}"
        how = difference(networks[second], networks[first])
        problem = f"its {len(networks)} checkpoints are of different networks ({names}: {how})"
        raise SourceError(source, problem, "give those of one run as a list, or a pattern that finds them")
    for index, found in networks.items():
        if found != reference:
            how = difference(found, reference)
            if is_same_network(found, reference):
                notes.append(f"{_name(checked[index])} differs from the others: {how}")
            else:
                reasons[index] = f"another network than the others: {how}"
    return reasons, notes


def repeated(checked: Sequence[Checked], named: Sequence[Reading], places: Sequence[int], unit: str) -> dict[int, str]:
    """The checkpoints, by index, whose step another one has, and which.

    Kept is a name without `-v1` and the like, then one that is not `last` or `best`, then safetensors, then the
    shortest name, then the first.
    """

    def rank(index: int) -> tuple[int, bool, bool, int, str]:
        name = checked[index].member.name
        is_copy = COPIES.search(stem(name)) is not None or not named[index].tells
        return named[index].copy, is_copy, not name.endswith(".safetensors"), len(stem(name)), name

    kept: dict[int, int] = {}
    for index in sorted(range(len(checked)), key=rank):
        kept.setdefault(places[index], index)
    return {
        index: f"{unit} {place:,} again: {_name(checked[kept[place]])} is kept"
        for index, place in enumerate(places)
        if kept[place] != index
    }


def _name(checked: Checked) -> str:
    return printable(checked.member.name, limit=120)
