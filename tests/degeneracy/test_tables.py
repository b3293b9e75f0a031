"""The rows of surveys whose figures are known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.degeneracy.planted_surveys import (
    FIRST,
    LOST,
    curve_of,
    planted_counts,
    planted_structure,
    planted_survey,
    unablated,
    unknown,
)
from weightatlas.degeneracy.tables import NONE_OF_IT, SOURCES, UNEXPLAINED, UNKNOWN

if TYPE_CHECKING:
    from weightatlas.degeneracy.counts import Counts

Row = dict[str, Any]


def whole(counts: Counts) -> dict[str, Row]:
    return {row["source"]: row for row in planted_survey(counts).rows("counts") if row["layer"] is None}


def of_layers(counts: Counts) -> dict[tuple[str, str], Row]:
    rows = planted_survey(counts).rows("counts")
    return {(row["layer"], row["source"]): row for row in rows if row["layer"] is not None}


def test_a_row_a_source_and_what_is_not_explained() -> None:
    rows = whole(planted_counts())
    assert list(rows) == [*SOURCES, UNEXPLAINED]
    assert {source: row["directions"] for source, row in rows.items()} == {
        "activations": 12,
        "gradients": 6,
        "synchronised": 9,
        "rescalings": 4,
        "conditional": 22,
        "heads": None,
        "linear": None,
        "norms": None,
        "union": 40,
        "exact": 50,
        UNEXPLAINED: 10,
    }
    assert {row["skipped"] for source, row in rows.items() if source in {"heads", "linear", "norms"}} == {NONE_OF_IT}
    assert (rows["union"]["share"], rows["union"]["limit"], rows["union"]["parameters"]) == (0.4, 120, 100)
    assert (rows["exact"]["low"], rows["exact"]["high"], rows["exact"]["estimated"]) == (50, 50, False)


def test_what_is_not_known_says_why() -> None:
    rows = whole(unknown("it is large"))
    assert (rows["exact"]["directions"], rows["exact"]["skipped"]) == (None, "it is large")
    assert (rows["exact"]["low"], rows["exact"]["high"]) == (40, 100)
    assert (rows[UNEXPLAINED]["directions"], rows[UNEXPLAINED]["skipped"]) == (None, UNKNOWN)


def test_a_layer_has_a_row_for_every_source_that_was_counted() -> None:
    rows = of_layers(planted_counts())
    assert [source for layer, source in rows if layer == "net.second"] == [
        "activations",
        "gradients",
        "conditional",
        "union",
        "exact",
    ]
    assert rows["net.first", "union"]["share"] == 0.4
    (lost,) = (row for (layer, _), row in rows.items() if layer == "net.lost")
    assert (lost["source"], lost["directions"], lost["skipped"]) == (None, None, LOST.skipped)


@pytest.mark.parametrize(
    ("parameters", "exact", "limited"),
    [
        (200, 80, True),  # rank 120 of 120 rows
        (200, 81, True),  # 119
        (200, 83, False),  # 117, less than .98 of 120
        (120, 0, False),  # nothing is free, whatever the data
        (60, 30, False),
    ],
)
def test_a_layers_exact_number_is_the_datas_where_its_rank_is_near_its_rows(
    parameters: int, exact: int, limited: bool
) -> None:
    rows = of_layers(planted_counts(replace(FIRST, parameters=parameters, exact=exact)))
    assert rows["net.first", "exact"]["data_limited"] is limited
    assert rows["net.first", "union"]["data_limited"] is False
    assert whole(planted_counts(data_limited=True))["union"]["data_limited"] is True


def test_a_points_of_the_curve_are_the_datas_while_the_rank_follows_its_limit() -> None:
    curve = curve_of([3, 6, 11, 12], [1, 2, 4, 8], parameters=12, outputs=3)
    rows = planted_survey(planted_counts(curve=curve)).rows("curve")
    assert [(row["examples"], row["rank"], row["nullity"], row["limit"]) for row in rows] == [
        (1, 3, 9, 3),
        (2, 6, 6, 6),
        (4, 11, 1, 12),
        (8, 12, 0, 24),
    ]
    assert [row["data_limited"] for row in rows] == [True, True, False, False]
    full = curve_of([3, 6, 12], [1, 2, 4], parameters=12, outputs=3)
    assert planted_survey(planted_counts(curve=full)).rows("curve")[-1]["data_limited"] is False


def test_spectra_are_ranked_at_the_surveys_tolerance() -> None:
    at = {
        tolerance: planted_survey(planted_counts(FIRST), tolerance=tolerance).rows("layers")[0]["activation_rank"]
        for tolerance in (1e-9, 0.6, 1e-14)
    }
    assert at == {1e-9: 2, 0.6: 1, 1e-14: 3}


def test_edges_have_shares_of_their_pair_and_constants_have_none() -> None:
    found = planted_structure()
    rows = planted_survey(None, found).rows("edges")
    assert len(rows) == 8 * 9 + 9 * 7
    for source in ("p0", "p1"):
        own = [row for row in rows if row["layer"] == source]
        assert sum(row["share"] for row in own) == pytest.approx(1)
        assert min(row["direction"] for row in own) == min(row["target_direction"] for row in own) == 1
    assert [sum(row["kept"] for row in rows if row["layer"] == source) for source in ("p0", "p1")] == [20, 63]
    strengths = found.interactions.edges[0].strengths
    assert {(row["direction"], row["target_direction"]): row["strength"] for row in rows if row["layer"] == "p0"} == {
        (ours, theirs): strengths[theirs, ours] for ours in range(1, 9) for theirs in range(1, 10)
    }


def test_modules_are_those_of_the_graph_with_all_that_a_direction_does() -> None:
    found = planted_structure()
    rows = {(row["layer"], row["direction"]): row for row in planted_survey(None, found).rows("modules")}
    assert [rows[node]["module"] for node in found.modules.nodes] == found.modules.labels.tolist()
    first, second = (np.asarray(edge.strengths)[1:, 1:] for edge in found.interactions.edges)
    assert rows["p1", 3]["interaction"] == pytest.approx(first[2].sum() + second[:, 2].sum())


def test_what_was_left_out_has_what_it_reached() -> None:
    rows = planted_survey(None, planted_structure()).rows("ablations")
    assert [(row["layer"], row["target"], row["removed"], row["basis"]) for row in rows] == [
        ("p0", "p1", "edges", "interaction"),
        ("p1", "p2", "edges", "interaction"),
        ("p0", None, "nodes", "interaction"),
        ("p0", "p1", "edges", "pca"),
        ("p1", "p2", "edges", "pca"),
        ("p0", None, "nodes", "pca"),
    ]
    assert [(row["needed"], row["total"], row["reached"], row["base"]) for row in rows] == [
        (20, 72, 0.95, 0.95),
        (63, 63, 0.95, 0.95),
        (5, 8, 0.95, 0.95),
        (60, 72, 0.95, 0.95),
        (None, 63, None, 0.9),
        (7, 8, None, 0.95),
    ]


def test_what_was_not_left_out_says_why() -> None:
    (row,) = planted_survey(None, unablated(planted_structure())).rows("ablations")
    assert row["skipped"] == "edges were not left out: it was not asked for"
