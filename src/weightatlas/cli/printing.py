"""Rows on standard output or in a file: a table for a reader, JSON, JSON lines or CSV for a script."""

from __future__ import annotations

import csv
import io
import sys
from typing import TYPE_CHECKING

from weightatlas.cli.reporting import UsageError
from weightatlas.cli.terminal import terminal_table
from weightatlas.files import replacing
from weightatlas.result import Row, json_array, json_line, plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from weightatlas.cli.options import Format
    from weightatlas.cli.terminal import TerminalColumn
    from weightatlas.result import Result

SUFFIXES: dict[str, Format] = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".txt": "table"}


def with_source(rows: Sequence[Row], source: str) -> list[Row]:
    """Say in every row which source it is of; `skipped` stays last."""
    answer = []
    for row in rows:
        head = {key: value for key, value in row.items() if key != "skipped"}
        answer.append(head | {"source": source, "skipped": row.get("skipped")})
    return answer


def with_source_column(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of rows that `with_source` made."""
    return (*(column for column in columns if column != "skipped"), "source", "skipped")


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

    Raises:
        UsageError: neither `format_` nor the suffix of `output` names a format.
    """
    chosen = format_ or ("table" if output is None else SUFFIXES.get(output.suffix.lower()))
    if chosen is None:
        message = f"cannot tell a format from {output}: end it in {', '.join(SUFFIXES)}, or give --format"
        raise UsageError(message)
    text = {"json": json_array, "jsonl": _json_lines}.get(chosen, lambda _: "")(rows)
    if chosen == "csv":
        text = _csv(rows, columns)
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
    """Print one table of several results of the same kind; `output` may also name a picture, a page or arrays.

    Raises:
        UsageError: several results cannot go into one such file.
    """
    if output is not None and format_ is None and output.suffix.lower() not in SUFFIXES:
        if len(results) > 1:
            message = f"{output.name} takes one source, and {len(results)} are given"
            raise UsageError(message)
        for result in results:
            try:
                result.save(output)
            except ValueError as error:
                raise UsageError(str(error)) from error
        return
    rows = [row for result in results for row in with_source(result.rows(table), result.source)]
    columns = with_source_column(results[0].columns(table)) if results else ()
    print_rows(rows, columns, format_=format_, output=output, shown=shown)


def _json_lines(rows: Sequence[Row]) -> str:
    return "\n".join(json_line(row) for row in rows)


def _csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {key: plain(value) for key, value in row.items()}
        writer.writerow(
            {key: "x".join(map(str, cell)) if isinstance(cell, list) else cell for key, cell in cells.items()}
        )
    return text.getvalue().rstrip("\n")
