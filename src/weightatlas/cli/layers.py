"""`weightatlas layers`: what is in a checkpoint, from its headers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.anatomy.listing import COLUMNS, layer_rows
from weightatlas.checkpoints import open_checkpoint
from weightatlas.cli.options import FormatOption, Layout, Output, Source
from weightatlas.cli.printing import print_rows, with_source, with_source_column
from weightatlas.cli.reporting import for_each_source, report

if TYPE_CHECKING:
    from weightatlas.result import Row


def layers(
    *source: Source,
    layout: Layout = None,
    format_: FormatOption = None,
    output: Output = None,
) -> int:
    """List the tensors of a checkpoint with their kind, role, shape and dtype. Reads headers only."""

    def list_one(name: str) -> list[Row]:
        checkpoint = open_checkpoint(name, layout=layout)
        for note in checkpoint.notes:
            report(f"{name}: {note}")
        return with_source(layer_rows(checkpoint), name)

    listed, complete = for_each_source(source, list_one)
    print_rows([row for rows in listed for row in rows], with_source_column(COLUMNS), format_=format_, output=output)
    return 0 if complete else 1
