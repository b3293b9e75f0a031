"""Plates stand where there is something to show, each with how it was computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.plate import Chart, Subject, Table

if TYPE_CHECKING:
    from weightatlas.connectivity import Connection


def test_all_plates_of_several_networks(planted: Connection) -> None:
    keys = [plate.heading.key for plate in planted.plates() if isinstance(plate, Chart | Table)]
    assert keys[:2] == ["path", "barriers"]
    for key in ("layers-1", "layers-2", "cumulative-1", "ranks-2", "plane", "coverage", "groups"):
        assert key in keys
    assert len(set(keys)) == len(keys)


def test_without_data_only_what_may_change_places(blind: Connection) -> None:
    plates = blind.plates()
    assert isinstance(plates[0], Subject)
    assert [plate.heading.key for plate in plates if isinstance(plate, Chart | Table)] == ["coverage", "groups"]


def test_every_figure_says_how_it_was_made(planted: Connection) -> None:
    for plate in planted.plates():
        if isinstance(plate, Chart | Table):
            assert plate.heading.reading
            assert plate.heading.method
            assert plate.rows
