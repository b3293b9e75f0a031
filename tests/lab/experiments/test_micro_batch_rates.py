from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from weightatlas.lab.experiments import micro_batch_rates

PAGE = Path(__file__).parents[3] / "docs" / "experiments" / "micro-batch.md"
OF_TASKS = {
    "scenes, order, 16": micro_batch_rates.QUICK,
    "scenes, masks, 16": micro_batch_rates.QUICK_MASKS,
    "CIFAR-10, 64": micro_batch_rates.CIFAR10_SMALL,
}
"""The tasks as the page calls them."""


def published() -> dict[str, dict[str, list[tuple[float, bool]]]]:
    """The page's table: by task and method the score at each rate that was tried, and whether it is bold."""
    table = PAGE.read_text(encoding="utf-8").partition("| task, batch | method | .03 | .1 | .3 |\n")[2]
    found: dict[str, dict[str, list[tuple[float, bool]]]] = {}
    task = ""
    for line in table.partition("\n\n")[0].splitlines()[1:]:
        name, method, *scores = (cell.strip() for cell in line.strip("|").split("|"))
        task = name or task
        found.setdefault(task, {})[method] = [(float(score.strip("*")), "**" in score) for score in scores]
    return found


def test_the_rates_that_are_tried_are_half_a_decade_apart() -> None:
    assert np.diff(np.log10(micro_batch_rates.TRIED)) == pytest.approx([0.5, 0.5], abs=0.03)


@pytest.mark.parametrize("task", OF_TASKS)
def test_the_rate_that_is_taken_is_the_best_of_those_that_were_tried(task: str) -> None:
    rows = published()[task]
    assert set(rows) == set(OF_TASKS[task])
    for method, cells in rows.items():
        scores, bold = zip(*cells, strict=True)
        assert bold.count(True) == 1, method
        assert scores[bold.index(True)] == max(scores), method
        assert OF_TASKS[task][method] == micro_batch_rates.TRIED[bold.index(True)], method


def test_the_figures_beside_the_rates_are_those_of_the_page() -> None:
    source = Path(micro_batch_rates.__file__).read_text(encoding="utf-8")
    known = {float(figure) for figure in re.findall(r"(?<![\d])\.\d{3}\b", source)}
    assert known == {score for rows in published().values() for cells in rows.values() for score, _ in cells}
