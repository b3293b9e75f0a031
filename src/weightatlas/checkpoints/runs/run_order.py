"""The place of each checkpoint in a run: its step or epoch, by its name, by its metadata, or by the order given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from weightatlas.checkpoints.runs.schedule import starts_again
from weightatlas.checkpoints.runs.steps import Reading, read_names

if TYPE_CHECKING:
    from weightatlas.checkpoints.runs.step_pattern import StepPattern

Unit = Literal["step", "epoch", "token", "position"]
COUNTED: Final[tuple[tuple[Unit, str], ...]] = (("step", "step"), ("epoch", "epoch"), ("token", "tokens"))
"""What runs are counted in, and the field of a `Reading` that has it; where names tell several, the first."""


@dataclass(frozen=True, slots=True)
class Order:
    """Where the checkpoints of a run stand.

    Attributes:
        unit: what the places count.
        places: one for each checkpoint; None where nothing tells it.
        reasons: for each without a place, why.
        notes: what was assumed, one sentence each.
    """

    unit: Unit
    places: tuple[int | None, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_texts(texts: Sequence[Sequence[str]], pattern: StepPattern | None) -> list[Reading]:
    """What the names of a run's checkpoints tell.

    Args:
        texts: for each checkpoint its name, then the folders it lies in, from the inmost outwards.
        pattern: where the user says that the step stands in a name; then nothing else counts.
    """
    if pattern is not None:
        return [Reading(step=_by_pattern(parts, pattern)) for parts in texts]
    best: list[Reading] = [Reading()] * len(texts)
    for depth in range(max(map(len, texts), default=0)):
        names = [parts[depth] if depth < len(parts) else "" for parts in texts]
        told = read_names(names)
        readings = [told[name] for name in names]
        if sum(reading.tells for reading in readings) > sum(reading.tells for reading in best):
            best = readings
    return best


def _by_pattern(parts: Sequence[str], pattern: StepPattern) -> int | None:
    whole = "/".join(reversed(parts))
    for text in (*parts, whole):
        if (step := pattern.step(text)) is not None:
            return step
    return None


def in_order(
    named: Sequence[Reading], told: Sequence[Reading], *, is_ordered: bool, pattern: StepPattern | None = None
) -> Order:
    """Place the checkpoints of a run.

    Args:
        named: what the name of each tells.
        told: what the metadata of each tells.
        is_ordered: whether the user gave them in their order, which counts where nothing else tells.
        pattern: where the user says that the step stands; then the names alone count.
    """
    if pattern is not None:
        places = tuple(reading.step for reading in named)
        return Order("step", places, tuple("" if reading.tells else "does not fit the pattern" for reading in named))
    named = _as_epochs(named, told)
    readings = named if any(reading.tells for reading in named) else told
    unit, attribute = max(COUNTED, key=lambda each: sum(getattr(reading, each[1]) is not None for reading in readings))
    values = [_value(name, attribute, meta) for name, meta in zip(named, told, strict=True)]
    if all(value is None for value in values):
        if not is_ordered:
            return Order(unit, tuple(values), ("neither its name nor its metadata tells a step",) * len(values))
        note = "nothing tells the steps: the checkpoints are numbered in the order in which they were given"
        return Order("position", tuple(range(len(values))), ("",) * len(values), (note,))
    reasons = [_reason(reading, place, unit) for reading, place in zip(named, values, strict=True)]
    values = _one_stage(named, values, reasons)
    return _counted_anew(named, Order(unit, tuple(values), tuple(reasons)))


def _as_epochs(named: Sequence[Reading], told: Sequence[Reading]) -> Sequence[Reading]:
    """Names whose bare numbers are epochs: all metadata that tell an epoch agree with them, and no steps do."""
    bare = [(name.step, meta) for name, meta in zip(named, told, strict=True) if name.is_bare]
    epochs = [(number, meta.epoch) for number, meta in bare if meta.epoch is not None]
    steps = [(number, meta.step) for number, meta in bare if meta.step is not None]
    if not epochs or not _agree(epochs) or (steps and _agree(steps)):
        return named
    return [replace(name, step=None, epoch=name.step) if name.is_bare else name for name in named]


def _agree(pairs: Sequence[tuple[int | None, int]]) -> bool:
    return all(number == other for number, other in pairs)


def _value(named: Reading, attribute: str, told: Reading) -> int | None:
    value: int | None = getattr(named, attribute)
    other: int | None = getattr(told, attribute)
    return other if value is None else value


def _reason(reading: Reading, place: int | None, unit: Unit) -> str:
    if place is not None:
        return ""
    return f"its name tells no {unit}, as the others do" if reading.tells else "nothing tells its step"


def _one_stage(named: Sequence[Reading], places: Sequence[int | None], reasons: list[str]) -> list[int | None]:
    """Keep the stage with the most checkpoints, where a run has several that count their steps anew."""
    stages = Counter(reading.stage for reading in named if reading.stage)
    if len(stages) < 2:
        return list(places)
    ((kept, _),) = stages.most_common(1)
    for index, reading in enumerate(named):
        if reading.stage and reading.stage != kept:
            reasons[index] = f"of {reading.stage}, beside {kept}, which has more checkpoints: a pattern can choose it"
    return [None if reason else place for place, reason in zip(places, reasons, strict=True)]


def _counted_anew(named: Sequence[Reading], order: Order) -> Order:
    """Number the checkpoints by epoch and step, where steps start again with every epoch."""
    placed = [index for index, place in enumerate(order.places) if place is not None]
    pairs = {index: (named[index].epoch, named[index].step) for index in placed}
    known = {index: (epoch, step) for index, (epoch, step) in pairs.items() if epoch is not None and step is not None}
    if order.unit != "step" or len(known) < len(placed) or not starts_again(known.values()):
        return order
    ranks = {pair: rank for rank, pair in enumerate(sorted(set(known.values())))}
    places = tuple(ranks[known[index]] if index in known else None for index in range(len(named)))
    note = "steps start again with every epoch: the checkpoints are numbered in the order of epoch and step"
    return Order("position", places, order.reasons, (note,))
