from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from weightatlas.branching.consistency import consistency
from weightatlas.branching.onset import onset
from weightatlas.branching.specialization import LOOKED, specialization
from weightatlas.plate import Chart

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.result import Result

LABELS = np.repeat(["colour", "black-and-white"], 16)
NOISE = np.random.default_rng(0).permutation(LABELS)


def run_of(*, sets_in: int) -> dict[int, dict[str, torch.Tensor]]:
    grey = torch.randn(16, 1, 3, 3, generator=torch.Generator().manual_seed(0)).expand(16, 3, 3, 3)
    colour = grey * torch.tensor([1.0, -1.0, 0.0])[:, None, None]
    split = torch.cat([grey[:8], colour[8:]])
    return {step: {"conv1.weight": (split if step >= sets_in else grey).clone()} for step in range(4)}


@pytest.mark.parametrize(
    ("result", "title"),
    [
        (
            specialization(LABELS, 2, units=32, layer="conv1"),
            "Units gather: colour in branch 1, black-and-white in branch 2",
        ),
        (specialization(NOISE, 2, units=32), "No family gathers in a branch"),
        (specialization({}, 2, units=32), "No family gathers in a branch"),
        (
            consistency([specialization(LABELS, 2, units=32)] * 2, permutations=99),
            "Branches take colour and black-and-white alike in two runs",
        ),
        (
            consistency([specialization(NOISE, 2, units=32)] * 2, permutations=99),
            "No family is taken alike in two runs",
        ),
        (onset(run_of(sets_in=2), branches=2), "The branches of conv1 specialise by colour from step 2"),
        (
            onset(run_of(sets_in=9), branches=2),
            "The branches of conv1 do not specialise by colour to the end of the run",
        ),
    ],
)
def test_plates_say_what_was_found(result: Result, title: str, tmp_path: Path) -> None:
    (plate,) = result.plates()
    assert isinstance(plate, Chart)
    assert plate.heading.title == title
    assert plate.heading.null
    assert plate.rows == tuple(result.rows())
    json.dumps(plate.spec, allow_nan=False)
    assert result.save(tmp_path / "chart.svg").read_text(encoding="utf-8").startswith("<svg")
    assert title in result.save(tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_family_chosen_after_looking_says_so_on_its_plate() -> None:
    found = specialization(LABELS, 2, units=32, chosen_after_looking=True)
    assert found.notes[-1] == LOOKED
    (plate,) = found.plates()
    assert isinstance(plate, Chart)
    assert "chosen after looking" in plate.heading.method
