"""Sentences follow the figures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from weightatlas.connectivity.findings import (
    LINKED,
    connection_findings,
    coverage_title,
    layers_title,
    path_title,
    verdict,
)

if TYPE_CHECKING:
    from weightatlas.connectivity import Connection
    from weightatlas.connectivity.pair import Line, Pair


def _with_interval(line: Line, low: float, high: float) -> Line:
    height = replace(line.barrier.error_barrier, low=low, high=high, height=(low + high) / 2)
    return replace(line, barrier=replace(line.barrier, error_barrier=height))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, LINKED / 2, "joined"),
        (LINKED / 2, 2 * LINKED, "undecided"),
        (2 * LINKED, 3 * LINKED, "apart"),
        (float("nan"), float("nan"), "undecided"),
    ],
)
def test_networks_are_joined_where_the_whole_interval_is_below(
    planted: Connection, low: float, high: float, expected: str
) -> None:
    best = planted.pairs[0].best
    assert best is not None
    assert verdict(_with_interval(best, low, high)) == expected


def _titled(pair: Pair, low: float, high: float) -> str:
    assert pair.best is not None
    return path_title(replace(pair, lines=(*pair.lines[:-1], _with_interval(pair.best, low, high))))


def test_the_title_says_what_was_done_and_what_came_out(planted: Connection) -> None:
    pair = planted.pairs[0]
    joined, apart = _titled(pair, 0, 0.01), _titled(pair, 0.3, 0.4)
    assert joined.startswith("Once aligned and recalibrated, a straight line joins")
    assert apart.startswith("Once aligned and recalibrated, a barrier parts")
    assert "35.0%" in apart
    assert "open" in _titled(pair, 0.0, 0.4)


def test_layers_are_named_highest_first(planted: Connection) -> None:
    pair = planted.pairs[1]
    raised = tuple(
        replace(one, barrier=height, low=height - 0.05)
        for one, height in zip(pair.layers, (0.1, 0.4, 0.0, 0.2, 0.03), strict=True)
    )
    title = layers_title(replace(pair, layers=raised))
    names = [one.layer for one in raised]
    assert title.startswith("Of five layers" if "five" in title else "Of 5 layers")
    assert title.index(names[1]) < title.index(names[3]) < title.index(f"and {names[0]}")
    assert names[4] not in title
    flat = tuple(replace(one, low=-0.1) for one in pair.layers)
    assert "has a barrier of its own" in layers_title(replace(pair, layers=flat))


def test_every_pair_speaks_and_every_plate_exists(planted: Connection, blind: Connection) -> None:
    for found in (planted, blind):
        keys = {plate.heading.key for plate in found.plates() if hasattr(plate, "heading")}
        findings = connection_findings(found)
        assert findings
        assert all(one.plate in keys for one in findings)
    assert "nearer" in connection_findings(blind)[0].statement


def test_coverage_is_said_in_figures(planted: Connection) -> None:
    assert planted.symmetries is not None
    title = coverage_title(replace(planted, symmetries=replace(planted.symmetries, coverage=0.5)))
    assert "50.0%" in title
    assert "two groups" in title.lower()
