"""Open a training run: find its checkpoints, put them in order, and say what is missing, repeated or foreign."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from weightatlas.checkpoints.checkpoint import Checkpoint, Skipped
from weightatlas.checkpoints.contents import Layout
from weightatlas.checkpoints.opening import open_location
from weightatlas.checkpoints.places.blob import Blob, Folder, LocalFolder
from weightatlas.checkpoints.places.hub_cache import cache_snapshot
from weightatlas.checkpoints.places.locations import locate, public_name
from weightatlas.checkpoints.runs.run_checks import (
    Checked,
    checker,
    foreign,
    note_of_averages,
    reason_of_failure,
    repeated,
)
from weightatlas.checkpoints.runs.run_folder import Level, find_level
from weightatlas.checkpoints.runs.run_members import (
    Access,
    Member,
    members_of_branches,
    members_of_cache,
    members_of_level,
    members_of_list,
    members_of_steps,
)
from weightatlas.checkpoints.runs.run_order import Order, in_order, read_texts
from weightatlas.checkpoints.runs.schedule import note_of_gaps
from weightatlas.checkpoints.runs.step_pattern import StepPattern, compile_pattern
from weightatlas.checkpoints.runs.trajectory import Moment, Trajectory
from weightatlas.checkpoints.zoo import ZOOS
from weightatlas.errors import SourceError
from weightatlas.wording import listed, printable

if TYPE_CHECKING:
    from weightatlas.checkpoints.runs.steps import Reading

REPOSITORY: Final = re.compile(r"hf://[^/@]+/[^/@]+/?")
"""A repository of the Hugging Face hub without a branch: its branches may be the run."""

OPEN_ALONE: Final = "open it with open_checkpoint, or give the folder of its run"


@dataclass(frozen=True, slots=True)
class Run:
    """What a source of the user holds, before anything is opened.

    Attributes:
        source: the run's name.
        members: what may be its checkpoints.
        steps: where they stand, if the user says so.
        is_ordered: whether the user gave them in their order.
        level: the folder they lie in, if they lie in one.
    """

    source: str
    members: Sequence[Member]
    steps: Sequence[int] | None = None
    is_ordered: bool = False
    level: Level | None = None


def open_trajectory(
    run: str | os.PathLike[str] | Sequence[Any] | Mapping[int, Any],
    *,
    pattern: str | None = None,
    layout: Layout | None = None,
    storage_options: Mapping[str, object] | None = None,
) -> Trajectory:
    """Open the checkpoints of one training run in the order of their steps; each is opened when it is asked for.

    Steps come from the names: a number after `step`, `iter`, `checkpoint`, `epoch` and the like; a bare number where
    names share everything else. Where names tell nothing they come from what the checkpoints say themselves
    (`global_step`, `trainer_state.json`). A list whose checkpoints tell nothing keeps its order.

    What is on this disk is looked at now, by its headers: what cannot be opened, is of another network or stands for a
    step that another one has is in `skipped`, with the reason. What lies behind a URL is opened when it is asked for.

    Args:
        run: a folder; a URL of one; `hf://org/repo`, whose branches are steps; a list of whatever `open_checkpoint`
            takes, or a mapping from step to that.
        pattern: where the step stands in a name: a template such as "model_{step}.pt" or "step{step}/model.pt", with
            "*" for anything, or a regular expression with a group named "step". Names that do not fit are skipped.
        layout: as in `open_checkpoint`.
        storage_options: what goes to the fsspec file system of a URL.

    Returns:
        Pairs of step and checkpoint, ascending.

    Raises:
        SourceError: there is no checkpoint in the run, or it is no run: one line, what is wrong and what to do.
        ValueError: `layout` or `pattern` is none.

    Example:
        >>> import torch
        >>> run = open_trajectory({
        ...     step: {"conv1.weight": torch.full((8, 3, 5, 5), float(step))} for step in (0, 200, 100)
        ... })
        >>> run
        Trajectory('checkpoints', 3 checkpoints, step 0 to 200)
        >>> [(step, float(checkpoint["conv1.weight"].mean())) for step, checkpoint in run[1:]]
        [(100, 100.0), (200, 200.0)]
    """
    from weightatlas.parallel import parallel_map  # joblib loads numpy, which `import weightatlas` must not

    if layout is not None and layout not in get_args(Layout):
        message = f"no layout {layout!r}: there is {' and '.join(get_args(Layout))}"
        raise ValueError(message)
    compiled = None if pattern is None else compile_pattern(pattern)
    found = _find(run, compiled, Access(layout, storage_options))
    jobs = None if any(member.is_local for member in found.members) else 1
    checked = parallel_map(checker(), found.members, jobs=jobs, backend="threading")
    named = read_texts([member.texts for member in found.members], compiled)
    if found.steps is not None:
        order = Order("step", tuple(found.steps), ("",) * len(found.steps))
    else:
        told = [each.told for each in checked]
        order = in_order(named, told, is_ordered=found.is_ordered, pattern=compiled)
    return _arrange(found, checked, named, order)


def _find(run: object, pattern: StepPattern | None, access: Access) -> Run:
    """Dispatch on what the run is."""
    if isinstance(run, str | os.PathLike):
        return _find_named(os.fsdecode(os.fspath(run)), pattern, access)
    torch = sys.modules.get("torch")  # whoever made a module has imported it
    if isinstance(run, Checkpoint) or (torch is not None and isinstance(run, torch.nn.Module)):
        raise SourceError(type(run).__name__, "one checkpoint, no run", "put the checkpoints of the run into a list")
    if isinstance(run, Mapping):
        if not run or not all(isinstance(step, int) and not isinstance(step, bool) for step in run):
            remedy = "give a dictionary from step to checkpoint, or a list"
            raise SourceError(type(run).__name__, "a dictionary whose keys are no steps", remedy)
        return Run("checkpoints", members_of_steps(run, access), steps=tuple(run))
    if isinstance(run, Sequence) and not isinstance(run, bytes):
        if not run:
            raise SourceError(type(run).__name__, "an empty list", "give the checkpoints of a run")
        return Run("checkpoints", members_of_list(run, access), is_ordered=True)
    raise SourceError(type(run).__name__, "no run", "give a folder, a URL, or a list of checkpoints")


def _find_named(text: str, pattern: StepPattern | None, access: Access) -> Run:
    if text.partition(":")[0] in ZOOS and not Path(text).exists():
        raise SourceError(text, "a zoo's network, one checkpoint and no run", "open it with open_checkpoint")
    name = public_name(text)
    if REPOSITORY.fullmatch(text):
        members = members_of_branches(text, access)
        if _tell(members, pattern):
            return Run(name, members)
    place = locate(text, storage_options=access.storage_options)
    if isinstance(place, Blob):
        raise SourceError(name, "one checkpoint, no run", OPEN_ALONE)
    note = ""
    if isinstance(place, LocalFolder) and (snapshot := cache_snapshot(place)):
        members = members_of_cache(place, access)
        if _tell(members, pattern):
            return Run(name, members)
        place, note = snapshot
    level = find_level(place, is_local=isinstance(place, LocalFolder), pattern=pattern)
    level = replace(level, note=level.note or note)
    members = members_of_level(level, access, inner=pattern.inner if pattern else "")
    if not members:
        raise _nothing_in(name, place, level)
    return Run(name, members, level=level)


def _tell(members: Sequence[Member], pattern: StepPattern | None) -> bool:
    """Whether the name of any tells a step."""
    return any(reading.tells for reading in read_texts([member.texts for member in members], pattern))


def _nothing_in(name: str, place: Folder, level: Level) -> SourceError:
    """The error for a folder without checkpoints: it may be one itself."""
    try:
        open_location(place)
    except SourceError:
        pass
    else:
        return SourceError(name, "one checkpoint, no run", OPEN_ALONE)
    if level.skipped:
        names = listed([printable(skipped.name, limit=80) for skipped in level.skipped[:5]])
        return SourceError(name, f"no checkpoint that is written to its end ({names})", "wait for the first one")
    held = [printable(name, limit=80) for name in level.seen]
    what = listed([*held[:5], f"{len(held) - 5} more"] if len(held) > 5 else held) if held else "nothing"
    return SourceError(
        name, f"no checkpoints in it (it holds {what})", "give the folder that holds a run's checkpoints"
    )


def _arrange(run: Run, checked: Sequence[Checked], named: Sequence[Reading], order: Order) -> Trajectory:
    """Leave out what cannot be used, and put the rest in order."""
    reasons = {index: reason for index, reason in enumerate(order.reasons) if reason}
    reasons.update(_failures(checked, order))

    def usable() -> list[int]:
        """The indices of what can still be used, in the order of the steps."""
        placed = [(place, index) for index, place in enumerate(order.places) if place is not None]
        return [index for _, index in sorted(placed) if index not in reasons]

    indices = usable()
    if not indices:
        raise _nothing_usable(run, checked, order)
    strangers, differences = foreign(run.source, [checked[index] for index in indices])
    reasons.update({indices[rank]: reason for rank, reason in strangers.items()})
    indices = usable()
    if not indices:
        problem = "its checkpoints hold an optimizer's state alone, no weights"
        raise SourceError(run.source, problem, "give the folder of the weights")
    places = [place for index in indices if (place := order.places[index]) is not None]
    again = repeated([checked[index] for index in indices], [named[index] for index in indices], places, order.unit)
    reasons.update({indices[rank]: reason for rank, reason in again.items()})
    moments = [
        Moment(place, checked[index].member.name, checked[index].member.open)
        for place, index in zip(places, indices, strict=True)
        if index not in reasons
    ]
    averages = note_of_averages([checked[index] for index in indices if index not in reasons])
    told = [place for place in order.places if place is not None]
    skipped = [Skipped(checked[index].member.name, reason) for index, reason in sorted(reasons.items())]
    return Trajectory(
        run.source,
        moments,
        unit=order.unit,
        skipped=(*(run.level.skipped if run.level else ()), *skipped),
        notes=_notes(run, order, told, [*differences, *([averages] if averages else [])]),
    )


def _failures(checked: Sequence[Checked], order: Order) -> dict[int, str]:
    """What cannot be opened, and why; the newest may not be there yet."""
    newest = max((place for place in order.places if place is not None), default=0)
    return {
        index: reason_of_failure(each.error, is_newest=place == newest)
        for index, (each, place) in enumerate(zip(checked, order.places, strict=True))
        if each.error is not None
    }


def _notes(run: Run, order: Order, told: Sequence[int], differences: Sequence[str]) -> list[str]:
    notes = [run.level.note] if run.level and run.level.note else []
    notes.extend(order.notes)
    if order.unit != "position" and (gaps := note_of_gaps(told, order.unit)):
        notes.append(gaps)
    notes.extend(differences)
    unseen = sum(not member.is_local for member in run.members)
    if unseen:
        notes.append(f"{unseen} of {len(run.members)} checkpoints were not opened yet: their names alone were read")
    return notes


def _nothing_usable(run: Run, checked: Sequence[Checked], order: Order) -> SourceError:
    ranked = sorted(zip(checked, order.places, strict=True), key=lambda each: each[1] is None)  # those of a step first
    failed = [each for each, _ in ranked if each.error is not None]
    names = listed([printable(each.member.name, limit=80) for each in checked[:5]])
    for each in failed[:1]:
        error = each.error
        if error is not None and len(failed) == len(checked):
            problem = (
                f"none of its checkpoints can be opened ({printable(each.member.name, limit=80)}: {error.problem})"
            )
            return SourceError(run.source, problem, error.remedy)
    if len(checked) == 1:
        return SourceError(run.source, f"one checkpoint ({names}), and nothing tells its step", OPEN_ALONE)
    reason = next((reason for reason in order.reasons if reason), "nothing tells their steps")
    problem = f"no order among its {len(checked)} checkpoints ({names}): {reason}"
    return SourceError(run.source, problem, "give a pattern such as 'model_{step}.pt', or a list in their order")
