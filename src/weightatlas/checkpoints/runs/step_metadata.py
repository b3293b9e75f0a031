"""The step that a checkpoint says itself, where its name does not: in its metadata, or in `trainer_state.json`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.bounded_json import bounded_json
from weightatlas.checkpoints.runs.steps import Reading
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.checkpoints.places.blob import Folder

STEP_KEYS: Final = ("global_step", "step", "iteration", "iter", "iter_num", "num_updates", "global_steps")
EPOCH_KEYS: Final = ("epoch", "current_epoch")
TRAINER_STATE: Final = "trainer_state.json"
STATE_LIMIT: Final = 64_000_000
"""The most bytes of `trainer_state.json`: its log grows with the run."""

LARGEST: Final = 10**15


def read_metadata(metadata: Mapping[str, object]) -> Reading:
    """Step and epoch from what a checkpoint says of itself.

    Example:
        >>> reading = read_metadata({"epoch": "3", "global_step": "1000", "lr": "0.1"})
        >>> reading.step, reading.epoch
        (1000, 3)
    """
    return Reading(step=_number(metadata, STEP_KEYS), epoch=_number(metadata, EPOCH_KEYS))


def read_trainer_state(folder: Folder) -> Reading:
    """Step and epoch from the `trainer_state.json` of a Hugging Face folder; nothing where there is none to read."""
    try:
        blob = folder.blob(TRAINER_STATE)
        if blob.size > STATE_LIMIT:
            return Reading()
        state = bounded_json(blob.read(0, blob.size), blob.name, "the trainer's state")
    except (OSError, SourceError, ValueError):
        return Reading()
    return read_metadata(state) if isinstance(state, dict) else Reading()


def _number(metadata: Mapping[str, object], keys: tuple[str, ...]) -> int | None:
    for key in keys:
        if isinstance(value := metadata.get(key), str | int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except (ValueError, OverflowError):
                continue
            if math.isfinite(number) and 0 <= number < LARGEST:
                return int(number)
    return None
