"""Which checkpoints of a run can be used: those that open, are of one network, and stand for a step of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.runs.same_network import (
    Signature,
    difference,
    is_optimizer,
    is_same_network,
    leading,
    signature,
)
from weightatlas.checkpoints.runs.step_metadata import read_metadata
from weightatlas.checkpoints.runs.step_pattern import template_of
from weightatlas.checkpoints.runs.steps import Reading, stem
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.errors import MissingDependencyError, SourceError
from weightatlas.wording import listed, printable

if TYPE_CHECKING:
    from weightatlas.checkpoints.runs.run_members import Member

COPIES: Final = re.compile(r"(?<![a-z])(?:last|best|final|latest|current|recent)(?![a-z])", re.IGNORECASE)
"""Words in the names of copies: where two checkpoints are of one step, the other is kept."""

AVERAGES: Final = re.compile(r"(?<![a-z])(?:ema|avg|averaged?|swa)(?![a-z])", re.IGNORECASE)
"""Words in the names of weights averaged over steps: where there are plain ones of that step, those are kept."""


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
        SourceError: all are of different networks, or there are as many of one network as of another.
    """
    reasons: dict[int, str] = {}
    notes: list[str] = []
    opened = {index: each.found for index, each in enumerate(checked) if each.found is not None}
    networks = {index: found for index, found in opened.items() if not is_optimizer(found)}
    reasons.update({index: "an optimizer's state alone, no weights" for index in opened if index not in networks})
    if not networks:
        return reasons, notes
    reference = _network_of(source, networks, checked)
    for index, found in networks.items():
        if found != reference:
            how = difference(found, reference)
            if is_same_network(found, reference):
                notes.append(f"{_name(checked[index])} differs from the others: {how}")
            else:
                reasons[index] = f"another network than the others: {how}"
    return reasons, notes


def _network_of(source: str, networks: Mapping[int, Signature], checked: Sequence[Checked]) -> Signature:
    """The run's network: the one that most are of; plain weights where as many are averages.

    Raises:
        SourceError: two networks have equally many checkpoints.
    """
    leaders = leading(list(networks.values()))
    series = [[index for index, found in networks.items() if is_same_network(found, leader)] for leader in leaders]
    plain = [rank for rank, indices in enumerate(series) if not all(_is_average(checked[index]) for index in indices)]
    if len(leaders) == 1 or len(plain) == 1:
        return leaders[plain[0] if len(plain) == 1 else 0]
    first, second = series[0], series[1]
    how = difference(networks[second[0]], networks[first[0]])
    if len(first) == 1:
        names = f"{_name(checked[second[0]])} beside {_name(checked[first[0]])}"
        problem = f"its {len(networks)} checkpoints are of different networks ({names}: {how})"
    else:
        each = listed([_name(checked[indices[0]]) for indices in series[:4]])
        problem = f"{len(first)} checkpoints of each of {len(series)} networks, such as {each} ({how})"
    raise SourceError(source, problem, _remedy([[_text(checked[index]) for index in indices] for indices in series]))


def _remedy(series: Sequence[Sequence[str]]) -> str:
    """The patterns that find one network each, if names tell them apart."""
    found = []
    for rank, names in enumerate(series[:4]):
        others = [name for other, held in enumerate(series) if other != rank for name in held]
        template = template_of(names, others)
        if template is None:
            return "give those of one run as a list, or a pattern that finds them"
        found.append(f"pattern={printable(template, limit=120)!r}")
    return f"choose one: {' or '.join(found)}"


def repeated(checked: Sequence[Checked], named: Sequence[Reading], places: Sequence[int], unit: str) -> dict[int, str]:
    """The checkpoints, by index, whose step another one has, and which.

    Kept is a name without `-v1` and the like, then one that is not `last` or `best`, then one that is no average
    (`ema`, `swa`), then safetensors, then the shortest name, then the first.
    """

    def rank(index: int) -> tuple[int, bool, bool, bool, int, str]:
        name = checked[index].member.name
        is_copy = COPIES.search(stem(name)) is not None or not named[index].tells
        is_average = _is_average(checked[index])
        return named[index].copy, is_copy, is_average, not name.endswith(".safetensors"), len(stem(name)), name

    kept: dict[int, int] = {}
    for index in sorted(range(len(checked)), key=rank):
        kept.setdefault(places[index], index)
    return {
        index: f"{unit} {place:,} again: {_name(checked[kept[place]])} is kept"
        for index, place in enumerate(places)
        if kept[place] != index
    }


def note_of_averages(checked: Sequence[Checked]) -> str | None:
    """A sentence on the averages among plain weights of a run; None where there are none, or nothing else."""
    averages = [each for each in checked if _is_average(each)]
    if len(averages) in {0, len(checked)}:
        return None
    verb = "is an average" if len(averages) == 1 else "are averages"
    return f"{len(averages)} of {len(checked)} checkpoints {verb} by name, such as {_name(averages[0])}"


def _is_average(checked: Checked) -> bool:
    return AVERAGES.search(stem(checked.member.name)) is not None


def _text(checked: Checked) -> str:
    return checked.member.texts[0] if checked.member.texts else ""


def _name(checked: Checked) -> str:
    return printable(checked.member.name, limit=120)
