"""What is said on standard error: one line for each thing that failed, a bar while work goes on."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from weightatlas.errors import WeightatlasError
from weightatlas.progress import Progress, silent
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Answer = TypeVar("Answer")

LINE: Final = 2000
LABEL: Final = 60


class UsageError(WeightatlasError):
    """The command line was used wrongly in a way that only the command can see."""


def report(message: object) -> None:
    """Say one line on standard error: names out of files with their control characters escaped, none too long."""
    line = printable(" ".join(str(message).split()), limit=LINE)
    print(f"weightatlas: {line}", file=sys.stderr)  # noqa: T201 - the command line is where printing belongs


def for_each_source(sources: Sequence[str], do: Callable[[str], Answer]) -> tuple[list[Answer], bool]:
    """Do the same for every source; say which could not be used, and go on with the rest.

    Returns:
        The answers of those that could, and whether all could.
    """
    answers = []
    for source in sources:
        try:
            answers.append(do(source))
        except WeightatlasError as error:
            if isinstance(error, UsageError):
                raise
            report(error)
    return answers, len(answers) == len(sources)


@contextmanager
def progress_bar(title: str, *, quiet: bool) -> Iterator[Progress]:
    """A bar on standard error while the block runs; nothing where that is no terminal, or quiet is asked for."""
    if quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]passed,"),
        TimeRemainingColumn(),
        TextColumn("[dim]left"),
        TextColumn("[dim]{task.fields[label]}", markup=True),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, label="")

        def show(done: int, total: int, label: str) -> None:
            bar.update(task, completed=done, total=total, label=escape(printable(label, limit=LABEL)))

        yield show
