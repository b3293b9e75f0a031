from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import weightatlas as wa
from tests.change.example_changes import ROLES, depth_example, example, told
from weightatlas.change.analysis import Analysis, analysed
from weightatlas.change.changes import Changes
from weightatlas.change.clusters.pipeline import PUBLISHED
from weightatlas.change.drawing.captions import clusters_method, curves_method
from weightatlas.change.trends import trends
from weightatlas.plate import Chart, Finding, Heading, Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WHOLE = ["layers", "curves", "heat-map", "map", "scree", "outliers", "stopped", "depth"]


def figures(changes: Changes) -> dict[str, Table | Chart]:
    return {plate.heading.key: plate for plate in changes.plates() if isinstance(plate, Table | Chart)}


def headings(changes: Changes) -> list[Heading]:
    return [figure.heading for figure in figures(changes).values()]


def whole(roles: Sequence[str] = ("dense",)) -> Changes:
    changes = example(16, 9, stopped={3: 2}, roles=roles)
    return told(changes, alone=[3], replaced={5: (3, 4)}, depth=depth_example())


def few_layers(*, spike: float) -> Changes:
    """Three layers, one of them with a spike, too few for clusters; a spike of 0 stands for layers that stand still."""
    changes = example(3, 12, groups=1)
    for layer in changes.layers if not spike else ():
        layer.figures["ratio_l1"][:] = 0
    changes.layers[1].figures["ratio_l1"][5] *= spike
    return analysed(changes, Analysis())


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        (whole(), WHOLE),
        (told(example(3, 8, groups=1), groups=1), ["layers", "curves", "heat-map", "scree", "stopped"]),
        (few_layers(spike=30.0), ["layers", "curves", "heat-map", "stopped"]),
        (few_layers(spike=0.0), ["layers", "curves"]),
        (example(6, 3), ["layers", "curves", "heat-map"]),
        (example(6, 1), ["layers", "pair"]),
        (example(2, 1, missing={(0, 0): "gone", (1, 0): "gone"}), ["layers"]),
    ],
)
def test_a_run_has_the_plates_that_it_can_fill(changes: Changes, keys: list[str], tmp_path: Path) -> None:
    assert list(figures(changes)) == keys
    page = wa.write_atlas(changes, tmp_path / "atlas.html").read_text(encoding="utf-8")
    assert all(heading.title in page.replace("&#39;", "'") for heading in headings(changes))


@pytest.mark.parametrize("changes", [whole(), whole(roles=ROLES), example(6, 1)])
def test_findings_lead_to_plates_that_are_there(changes: Changes) -> None:
    keys = {"", *figures(changes)}
    assert all(plate.plate in keys for plate in changes.plates() if isinstance(plate, Finding))


def test_every_plate_says_how_to_read_it_and_how_it_was_made() -> None:
    found = headings(whole())
    for heading in found:
        assert heading.reading.endswith(".")
        assert heading.method.endswith(".")
        assert heading.title
        assert not heading.title.endswith(".")
    with_null = {heading.key for heading in found if heading.null}
    assert with_null == {"map", "scree", "depth"}


def test_the_table_marks_layers_that_have_stopped() -> None:
    table = figures(whole())["layers"]
    assert isinstance(table, Table)
    assert [row["layer"] for row, mark in zip(table.rows, table.marked, strict=True) if mark] == ["block1.conv1"]
    none = figures(told(example(6, 8)))["layers"]
    assert isinstance(none, Table)
    assert none.marked == ()


def test_all_charts_have_their_data() -> None:
    assert all(figure.rows for figure in figures(whole()).values())


def test_what_was_put_together_is_said() -> None:
    assert "neighbouring steps" not in curves_method(example(30, 20))
    assert "Up to 10 neighbouring steps" in curves_method(example(300, 200))


def test_checkpoints_unevenly_apart_are_said_to_be() -> None:
    changes = example(6, 4)
    uneven = Changes(changes.source, "step", (1, 2, 4, 8), (0, 1, 2, 4), changes.layers)
    assert "Checkpoints lie 1 to 4 steps apart" in curves_method(uneven)
    assert "apart" not in curves_method(changes)


def test_the_method_names_the_steps_that_were_taken() -> None:
    changes = example(12, 8)
    found = trends(changes.curves(), names=changes.names, pipeline=replace(PUBLISHED, nulls=9, inits=5), clusters=2)
    text = clusters_method(found)
    assert "The first and the last layer are left out. Curves as they are. k-means (k-means++) on the curves." in text
    assert "as asked for" in text
