from __future__ import annotations

import pytest

from weightatlas.cli.terminal import TerminalColumn, terminal_table, written

ROWS: list[dict[str, object]] = [
    {"layer": "conv1", "score": 0.1234, "banded": True, "source": "a", "skipped": None},
    {"layer": "conv2", "score": -0.5, "banded": False, "source": "a", "skipped": None},
    {"layer": "fc", "score": None, "banded": None, "source": "a", "skipped": "a matrix"},
    {"layer": "head", "score": None, "banded": None, "source": "a", "skipped": "a matrix"},
]
COLUMNS = ("layer", "score", "banded", "source", "skipped")


def test_figures_stand_in_columns_and_reasons_are_counted_once() -> None:
    lines = terminal_table(ROWS, COLUMNS, width=80).splitlines()
    assert lines[0].split() == ["layer", "score", "banded"]
    assert lines[2].split() == ["conv1", "+0.123", "yes"]
    assert lines[3].split() == ["conv2", "-0.500", "no"]
    assert lines[2].index("+0.123") == lines[3].index("-0.500")
    assert lines[-1] == "not measured, fc and head: a matrix"


def test_several_sources_are_told_apart() -> None:
    rows = [ROWS[0], ROWS[1] | {"source": "b"}]
    assert "source" in terminal_table(rows, COLUMNS, width=80).splitlines()[0]


def test_columns_can_be_chosen_and_named() -> None:
    table = terminal_table(ROWS, COLUMNS, shown=[TerminalColumn("score", "B")], width=80)
    assert table.splitlines()[0].split() == ["B"]


def test_only_skipped_rows_make_no_empty_table() -> None:
    assert terminal_table(ROWS[2:], COLUMNS, width=80) == "not measured, fc and head: a matrix"
    assert terminal_table(ROWS[2:] * 2, COLUMNS, width=80) == "not measured, 4 rows: a matrix"


def test_no_rows_make_no_text() -> None:
    assert terminal_table([], COLUMNS) == ""


WIDE: list[dict[str, object]] = [
    {"layer": "layer1.0.conv1", "source": "a", "freed": "activations where it is live", "weights": 3466, "rest": "yes"},
    {"layer": None, "source": "a", "freed": "gradients", "weights": 12, "rest": "no"},
]
SHOWN = [
    TerminalColumn("layer", "layer", empty="(network)"),
    TerminalColumn("freed", "freed by"),
    TerminalColumn("weights", "examples × outputs"),
    TerminalColumn("rest", "data-limited"),
]


@pytest.mark.parametrize("width", [200, 78, 60, 58])
def test_names_are_whole_and_labels_wrap_while_there_is_room(width: int) -> None:
    table = terminal_table(WIDE, tuple(WIDE[0]), shown=SHOWN, width=width)
    assert max(map(len, table.splitlines())) <= width
    for part in ("layer1.0.conv1", "(network)", "activations", "gradients", "3,466", "examples", "data-limited"):
        assert part in table
    assert ("examples × outputs" in table) == (width > 100)
    assert "no room" not in table


def test_columns_without_room_are_named() -> None:
    table = terminal_table(WIDE, tuple(WIDE[0]), shown=SHOWN, width=32)
    assert "layer1.0.conv1" in table
    assert "3,466" not in table
    assert " ".join(table.split()).endswith(
        "no room for examples × outputs and data-limited: a wider terminal, or --format json"
    )


def test_lists_are_written_as_their_parts() -> None:
    assert written(["the chains disagree", "too short"], "text") == "the chains disagree; too short"


def test_markup_in_a_name_is_text() -> None:
    rows = [ROWS[0] | {"layer": "[red]x[/red] <script>"}]
    assert "[red]x[/red] <script>" in terminal_table(rows, COLUMNS, width=100)


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.0004, "probability", "<.001"),
        (0.0314, "probability", ".031"),
        (1.0, "probability", "1.000"),
        (1_234_567, "integer", "1,234,567"),
        (999, "bytes", "999 B"),
        (25_600_000, "bytes", "25.6 MB"),
        (10_000_000_000_000, "bytes", "10,000.0 GB"),
        (0.125, "share", "12.5%"),
        (0.00012345, "number", "0.000123"),
        (283.4, "number", "283"),
        (999.6, "number", "1,000"),
        (-1310.4, "number", "-1,310"),
        (2.5e9, "number", "2.5e+09"),
        (float("nan"), "signed", ""),
        ([], "shape", ""),
        (None, "flag", ""),
        (True, "flag", "yes"),
    ],
)
def test_cells(value: object, form: str, text: str) -> None:
    assert written(value, form) == text  # type: ignore[arg-type]


def test_a_name_that_steers_the_terminal_is_shown_and_not_obeyed() -> None:
    name = "conv\x1b[2J\u202e\n1" + "x" * 10_000
    rows = [ROWS[0] | {"layer": name}, ROWS[2] | {"skipped": f"no tensor: {name}"}]
    table = terminal_table(rows, COLUMNS, width=200)
    assert all(line.isprintable() for line in table.splitlines())
    assert r"conv\x1b[2J\u202e\n1xxx" in table
    assert len(table) < 1500


def test_beyond_twenty_reasons_the_others_are_counted_in_one_line() -> None:
    rows = [ROWS[2] | {"skipped": f"reason {number}"} for number in range(1000)]
    lines = terminal_table(rows, COLUMNS, width=100).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "not measured, 980 rows: other reasons; --format json gives each"
