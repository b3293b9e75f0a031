"""Rows on standard output or in a file: a table for a reader, JSON, JSON lines or CSV for a script."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from weightatlas.cli.reporting import UsageError
from weightatlas.cli.terminal import terminal_table
from weightatlas.files import replacing
from weightatlas.result import DATA, PICTURES, Row, columns_with_source, csv_text, json_array, json_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from weightatlas.cli.options import Format
    from weightatlas.cli.terminal import TerminalColumn
    from weightatlas.result import Result

SUFFIXES: dict[str, Format] = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".txt": "table"}
RESULT_SUFFIXES = (*(suffix for suffix in DATA if suffix not in SUFFIXES), ".html", *PICTURES)


def check_output(output: Path | None, format_: Format | None, *, sources: int, pictures: bool) -> None:
    """Refuse, before any work, an output that could not be written.

    Raises:
        UsageError: the suffix names no format, or a file that holds one source is to hold several.
    """
    if output is None or format_ is not None or output.suffix.lower() in SUFFIXES:
        return
    known = (*SUFFIXES, *RESULT_SUFFIXES) if pictures else tuple(SUFFIXES)
    if output.suffix.lower() not in known:
        message = f"cannot tell a format from {output}: end it in {', '.join(known)}, or give --format"
        raise UsageError(message)
    if sources > 1:
        message = f"{output.name} takes one source, and {sources} are given"
        raise UsageError(message)


def print_rows(
    rows: Sequence[Row],
    columns: Sequence[str],
    *,
    format_: Format | None,
    output: Path | None,
    shown: Sequence[TerminalColumn] | None = None,
) -> None:
    """Print rows, or write them to a file, in the format asked for; the file's suffix decides where none is.

    Args:
        rows: flat, all with the same keys.
        columns: the keys, in order.
        format_: None is a table on standard output.
        output: the file, or None for standard output.
        shown: what a table shows of the columns, and how; all of them if left out.
    """
    chosen = format_ or ("table" if output is None else SUFFIXES[output.suffix.lower()])
    text = {"json": json_array, "jsonl": _json_lines}.get(chosen, lambda _: "")(rows)
    if chosen == "csv":
        text = csv_text(rows, columns)
    elif chosen == "table":
        text = terminal_table(rows, columns, shown=shown, width=None if output is None else 160)
    if output is None:
        sys.stdout.write(text + "\n" if text else "")
    else:
        with replacing(output) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def print_results(
    results: Sequence[Result],
    table: str | None,
    *,
    format_: Format | None,
    output: Path | None,
    shown: Sequence[TerminalColumn] | None = None,
) -> None:
    """Print one table of results of the same kind; `output` may also name a picture, a page or arrays of one."""
    if output is not None and format_ is None and output.suffix.lower() not in SUFFIXES:
        for result in results:
            result.save(output, table=table)
        return
    rows = [row for result in results for row in result.records(table)]
    columns = columns_with_source(results[0].columns(table)) if results else ()
    print_rows(rows, columns, format_=format_, output=output, shown=shown)


def _json_lines(rows: Sequence[Row]) -> str:
    return "\n".join(json_line(row) for row in rows)
