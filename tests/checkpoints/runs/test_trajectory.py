from __future__ import annotations

from functools import partial

import pytest
import torch

from weightatlas.checkpoints import Checkpoint, Skipped, open_checkpoint
from weightatlas.checkpoints.runs.trajectory import Moment, Trajectory
from weightatlas.errors import SourceError


class Opener:
    """Counts what is opened."""

    def __init__(self, steps: tuple[int, ...]) -> None:
        self.opened: list[int] = []
        self.moments = [Moment(step, f"step{step}.pt", partial(self.open, step)) for step in steps]

    def open(self, step: int) -> Checkpoint:
        self.opened.append(step)
        return open_checkpoint({"fc.weight": torch.full((2, 3), float(step))})


@pytest.fixture
def opener() -> Opener:
    return Opener((0, 100, 200, 1000))


@pytest.fixture
def run(opener: Opener) -> Trajectory:
    return Trajectory("runs/a", opener.moments, skipped=[Skipped("x.pt", "empty")], notes=["a note"])


def test_checkpoints_are_opened_when_they_are_asked_for(run: Trajectory, opener: Opener) -> None:
    assert (run.steps, run.sources[1], len(run), run.unit) == ((0, 100, 200, 1000), "step100.pt", 4, "step")
    assert opener.opened == []
    step, checkpoint = run[-1]
    assert (step, float(checkpoint["fc.weight"].mean())) == (1000, 1000)
    assert opener.opened == [1000]


def test_going_through_opens_one_after_the_other(run: Trajectory, opener: Opener) -> None:
    walk = iter(run)
    assert next(walk)[0] == 0
    assert opener.opened == [0]
    assert [step for step, _ in walk] == [100, 200, 1000]


def test_a_slice_is_a_trajectory_and_opens_nothing(run: Trajectory, opener: Opener) -> None:
    part = run[::-2][::-1]
    assert part.steps == (100, 1000)
    assert (part.source, part.skipped, part.notes, part.unit) == (run.source, run.skipped, run.notes, run.unit)
    assert opener.opened == []


def test_a_step_is_found_by_its_number(run: Trajectory) -> None:
    assert float(run.at(200)["fc.weight"].mean()) == 200
    with pytest.raises(SourceError, match=r"runs/a: no checkpoint of step 150; the nearest: 100 and 200"):
        run.at(150)
    with pytest.raises(SourceError, match="it has no checkpoints"):
        run[:0].at(1)


def test_places_beyond_the_end_are_refused(run: Trajectory) -> None:
    with pytest.raises(IndexError):
        run[4]


def test_it_says_what_it_is(run: Trajectory) -> None:
    assert repr(run) == "Trajectory('runs/a', 4 checkpoints, step 0 to 1,000)"
    assert repr(run[:1]) == "Trajectory('runs/a', 1 checkpoint, step 0 to 0)"
    assert repr(run[:0]) == "Trajectory('runs/a', 0 checkpoints)"
