from __future__ import annotations

import pytest

from tests.atlas.plates_for_tests import Given, row, table
from weightatlas.atlas.chapters import gather
from weightatlas.atlas.tables import FILTER_FROM, FOLD_AT, TableView, table_view
from weightatlas.plate import Column, Heading, Table


def view(drawn: Table, slides: dict[str, str] | None = None) -> TableView:
    (chapter,) = gather(Given("a", (drawn,)))
    return table_view(drawn, chapter, slides or {}, set(slides or {}))


def test_rows_without_figures_are_told_apart_and_grouped_by_reason() -> None:
    rows = [
        row("a", 0.1),
        {"layer": "b", "skipped": "too small"},
        row("c", 0.2),
        {"layer": "d", "skipped": "too small"},
    ]
    drawn = view(table([*rows, {"layer": "e", "skipped": "not finite"}]))
    assert [cells.cells[0].text for cells in drawn.rows] == ["a", "c"]
    assert [cells.index for cells in drawn.rows] == [0, 2]
    assert drawn.skipped == (("too small", ("b", "d")), ("not finite", ("e",)))
    assert drawn.skipped_count == 3
    assert [line[0] for line in drawn.data["rows"]] == ["a", "b", "c", "d", "e"]


def test_a_layers_name_leads_to_its_slide_and_else_to_its_own_row() -> None:
    drawn = view(table([row("a", 0.1), row("b/c", 0.2)]), {"a": "layer/a"})
    assert [cells.cells[0].link for cells in drawn.rows] == ["layer/a", "row/banding/b%2Fc"]
    assert [cells.alias for cells in drawn.rows] == ["", "layer/b%2Fc"]


def test_rows_of_the_same_layer_have_links_of_their_own() -> None:
    drawn = view(table([row("a", 0.1), row("a", 0.2), row("a", 0.3)]))
    assert [cells.anchor for cells in drawn.rows] == ["row/banding/a", "row/banding/a~2", "row/banding/a~3"]
    assert [cells.alias for cells in drawn.rows] == ["layer/a", "", ""]


def test_a_table_without_layers_names_its_rows_by_number() -> None:
    plain = Table(Heading("k", "", "", ""), (Column("step", "step", "integer"),), ({"step": 5}, {"step": 6}))
    assert [cells.anchor for cells in view(plain).rows] == ["row/k/0", "row/k/1"]


@pytest.mark.parametrize("count", [FILTER_FROM - 1, FILTER_FROM, FOLD_AT + 5, FOLD_AT + 6])
def test_long_tables_have_a_filter_and_longer_ones_fold(count: int) -> None:
    drawn = view(table([row(f"layer{place}", 0.1) for place in range(count)]))
    assert drawn.filters == (count >= 13)
    assert drawn.folds == (count > 45)


def test_the_column_of_reasons_is_no_column_of_the_page() -> None:
    plain = Table(Heading("k", "", "", ""), (Column("layer", "l", "layer"), Column("skipped", "s")), ({"layer": "x"},))
    assert [column.key for column in view(plain).columns] == ["layer"]
    assert view(plain).data["fields"] == ["layer", "skipped"]


def test_marks_that_do_not_fit_the_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="marks 1 rows and has 2"):
        view(table([row("a", 0.1), row("b", 0.1)], marked=(True,)))
