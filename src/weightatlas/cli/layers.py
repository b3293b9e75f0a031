"""`weightatlas layers`: what is in a checkpoint, from its headers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from weightatlas.anatomy.listing import COLUMNS, layer_rows
from weightatlas.checkpoints import open_checkpoint
from weightatlas.cli.options import BackendOption, FormatOption, Jobs, Layout, Output, Quiet, Seed, Source
from weightatlas.cli.printing import check_output, print_rows
from weightatlas.cli.reporting import for_each_source, report
from weightatlas.result import columns_with_source, with_source

if TYPE_CHECKING:
    from weightatlas.result import Row


def layers(
    *source: Source,
    table: Literal["layers"] = "layers",
    layout: Layout = None,
    format_: FormatOption = None,
    output: Output = None,
    jobs: Jobs = None,
    backend: BackendOption = "threading",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """List the tensors of a checkpoint with their kind, role, shape and dtype. Reads headers only.

    Args:
        source: The checkpoints.
        table: Which rows to print; there is one table.
    """
    del table, jobs, backend, seed, quiet  # every command takes them; a listing has no work to spread or to draw by lot
    check_output(output, format_, sources=len(source), pictures=False)

    def list_one(name: str) -> list[Row]:
        checkpoint = open_checkpoint(name, layout=layout)
        for note in checkpoint.notes:
            report(f"{name}: {note}")
        return [with_source(row, name) for row in layer_rows(checkpoint)]

    listed, complete = for_each_source(source, list_one)
    rows = [row for rows in listed for row in rows]
    if listed or output is None:
        print_rows(rows, columns_with_source(COLUMNS), format_=format_, output=output)
    return 0 if complete else 1
