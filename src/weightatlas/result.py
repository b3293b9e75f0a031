"""What every result is: rows for the command line, a data frame, a chart, plates for the atlas, files."""

from __future__ import annotations

import csv
import io
import json
import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from weightatlas.errors import MissingDependencyError
from weightatlas.files import replacing
from weightatlas.wording import escaped

if TYPE_CHECKING:
    import os
    from collections.abc import Container, Iterable, Mapping, Sequence

    import altair as alt
    import numpy.typing as npt
    import pandas as pd

    from weightatlas.plate import Plate

Row = dict[str, Any]
DATA = (".csv", ".json", ".parquet", ".npz")
PICTURES = (".svg", ".png", ".pdf")


class Result(ABC):
    """Base of the frozen dataclasses that the rooms return.

    A subclass names its tables and their columns in `tables` (the first is the default) and gives their rows; data
    frames, JSON, CSV and Parquet follow from that. Rows are flat, their keys are the fields of the command line's JSON
    and every one ends with `skipped`: None, or the sentence that says why its figures are missing.
    """

    __slots__ = ()

    tables: ClassVar[Mapping[str, tuple[str, ...]]]

    source: str
    """The name of what was measured, as the user gave it: the chapter of the atlas that its plates stand in."""

    @abstractmethod
    def rows(self, table: str | None = None) -> list[Row]:
        """One flat mapping a row of the named table, each with all of its columns; plain Python values."""

    @abstractmethod
    def chart(self) -> alt.Chart | alt.LayerChart | alt.HConcatChart | alt.VConcatChart | alt.FacetChart:
        """The figure that says the most about this result, without a theme."""

    @abstractmethod
    def plates(self) -> Sequence[Plate]:
        """Its pages of the atlas."""

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays behind the result, for `.npz`; by default the columns of the default table."""
        rows = self.rows()
        return {column: _array([row[column] for row in rows]) for column in self.columns()}

    def picture(self, path: Path) -> None:
        """Draw the result to an `.svg`, `.png` or `.pdf` file: by default its chart."""
        from weightatlas.atlas.charts import save_chart

        save_chart(self.chart().to_dict(), path)

    def records(self, table: str | None = None) -> list[Row]:
        """The rows as they leave the result: each says its source, and `skipped` stays last."""
        return [with_source(row, self.source) for row in self.rows(table)]

    def frame(self, table: str | None = None) -> pd.DataFrame:
        """The named table as a tidy data frame, one row a layer (or unit, or step), with a column for the source.

        Raises:
            KeyError: the result has no such table; the message names those it has.
        """
        import pandas as pd

        return pd.DataFrame(self.records(table), columns=list(columns_with_source(self.columns(table))))

    @classmethod
    def columns(cls, table: str | None = None) -> tuple[str, ...]:
        """The columns of a table, the same whatever was measured."""
        name = next(iter(cls.tables)) if table is None else table
        if name not in cls.tables:
            message = f"no table {name!r}; there is {', '.join(cls.tables)}"
            raise KeyError(message)
        return cls.tables[name]

    def save(self, path: str | os.PathLike[str], *, table: str | None = None) -> Path:
        """Write the result in the format that the suffix names, whole or not at all.

        `.csv`, `.json` and `.parquet` hold a table (the default one unless another is named), `.npz` the arrays,
        `.html` an atlas of this result, `.svg`, `.png` and `.pdf` its picture.

        Raises:
            ValueError: the suffix is none of these.
            MissingDependencyError: `.parquet` without pyarrow.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix not in (*DATA, ".html", *PICTURES):
            known = ", ".join((*DATA, ".html", *PICTURES))
            message = f"cannot save as {target.name!r}: end the name in one of {known}"
            raise ValueError(message)
        if suffix == ".html":
            from weightatlas.atlas import write_atlas

            return write_atlas([self], target)
        with replacing(target) as temporary:
            if suffix == ".csv":
                columns = columns_with_source(self.columns(table))
                temporary.write_text(csv_text(self.records(table), columns) + "\n", encoding="utf-8")
            elif suffix == ".json":
                temporary.write_text(json_array(self.records(table)) + "\n", encoding="utf-8")
            elif suffix == ".parquet":
                self._save_parquet(temporary, table)
            elif suffix == ".npz":
                np.savez_compressed(temporary, allow_pickle=False, **self.arrays())
            else:
                self.picture(temporary)
        return target

    def _save_parquet(self, path: Path, table: str | None) -> None:
        try:
            self.frame(table).to_parquet(path, index=False)
        except ImportError as error:
            need = "a .parquet file"
            raise MissingDependencyError(need, "pyarrow", "parquet") from error


def _array(values: Sequence[Any]) -> npt.NDArray[Any]:
    """A column as an array that needs no pickle: numbers with NaN for what is missing, or text."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, int | float) for value in known):
        return np.array([math.nan if value is None else value for value in values])
    return np.array(["" if value is None else cell_text(value) for value in values], dtype=np.str_)


def cell_text(value: object) -> str:
    """A value as text in one cell; a shape is written 64x3x7x7."""
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def columns_with_source(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of rows that say their source: as `source`, or as `checkpoint` in a table whose `source` is another.

    Example:
        >>> columns_with_source(("layer", "score", "skipped"))
        ('layer', 'score', 'source', 'skipped')
        >>> columns_with_source(("layer", "source", "skipped"))
        ('layer', 'source', 'checkpoint', 'skipped')
    """
    return (*(column for column in columns if column != "skipped"), _source_column(columns), "skipped")


def with_source(row: Row, source: str) -> Row:
    """A row that says which source it is of, in the column that `columns_with_source` names."""
    head = {key: value for key, value in row.items() if key != "skipped"}
    return head | {_source_column(head): source, "skipped": row.get("skipped")}


def _source_column(columns: Container[str]) -> str:
    return "checkpoint" if "source" in columns else "source"


def plain(value: object) -> object:
    """A value as JSON has it: numpy scalars unwrapped, sequences as lists, what is not finite as None.

    Example:
        >>> plain((np.int64(3), np.float32("nan"), "conv1"))
        [3, None, 'conv1']
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    return value


def json_line(row: Mapping[str, object]) -> str:
    """A row as one line of JSON, fields in the order of the row, never NaN; what does not print is escaped."""
    return escaped(json.dumps({key: plain(value) for key, value in row.items()}, ensure_ascii=False, allow_nan=False))


def csv_text(rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Rows as CSV with a header; a shape is written 64x3x7x7, what is not finite is empty.

    Names stand as they are in the source, whatever a spreadsheet makes of them; only lone surrogates, which no UTF-8
    can hold, become escapes.

    Example:
        >>> print(csv_text([{"layer": "conv1", "shape": (8, 3), "score": float("nan")}], ("layer", "shape", "score")))
        layer,shape,score
        conv1,8x3,
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {key: plain(value) for key, value in row.items()}
        writer.writerow({key: cell_text(cell) if isinstance(cell, list) else cell for key, cell in cells.items()})
    return text.getvalue().rstrip("\n").encode("utf-8", "backslashreplace").decode("utf-8")


def json_array(rows: Iterable[Mapping[str, object]]) -> str:
    """Rows as one JSON array, a row a line.

    Example:
        >>> print(json_array([{"layer": "conv1", "score": float("nan")}]))
        [
          {"layer": "conv1", "score": null}
        ]
    """
    lines = ",\n  ".join(json_line(row) for row in rows)
    return f"[\n  {lines}\n]" if lines else "[]"
