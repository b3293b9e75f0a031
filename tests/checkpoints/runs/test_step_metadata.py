from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from weightatlas.checkpoints.places.blob import LocalFolder
from weightatlas.checkpoints.runs.step_metadata import read_metadata, read_trainer_state
from weightatlas.checkpoints.runs.steps import Reading

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("metadata", "reading"),
    [
        ({"global_step": "12", "step": "3"}, Reading(step=12)),
        ({"iteration": "7"}, Reading(step=7)),
        ({"epoch": 1.9, "iter": 5}, Reading(step=5, epoch=1)),
        ({"epoch": "4"}, Reading(epoch=4)),
        ({"step": "soon", "iter": "8"}, Reading(step=8)),
        ({"step": "-1"}, Reading()),
        ({"step": "nan"}, Reading()),
        ({"step": "1e400"}, Reading()),
        ({"step": "9" * 400}, Reading()),
        ({"step": True}, Reading()),
        ({"lr": "3"}, Reading()),
        ({}, Reading()),
    ],
)
def test_metadata_tell_the_step(metadata: dict[str, object], reading: Reading) -> None:
    assert read_metadata(metadata) == reading


def test_a_trainers_state_tells_the_step(tmp_path: Path) -> None:
    (tmp_path / "trainer_state.json").write_text(json.dumps({"global_step": 500, "epoch": 1.5, "log_history": []}))
    assert read_trainer_state(LocalFolder(tmp_path)) == Reading(step=500, epoch=1)


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"global_step": [1]}', '{"global_step": 1, "global_step": 2}'])
def test_a_trainers_state_that_cannot_be_read_tells_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "trainer_state.json").write_text(text)
    assert read_trainer_state(LocalFolder(tmp_path)) == Reading()


def test_a_trainers_state_beyond_the_limit_is_left_alone(tmp_path: Path) -> None:
    with (tmp_path / "trainer_state.json").open("wb") as file:
        file.truncate(65_000_000)
    assert read_trainer_state(LocalFolder(tmp_path)) == Reading()
