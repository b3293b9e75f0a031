"""What a source is: one checkpoint, or a run of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.checkpoints import Checkpoint, open_checkpoint, open_trajectory
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.checkpoints import Trajectory
    from weightatlas.cli.options import Layout


def opened(name: str, layout: Layout) -> Checkpoint | Trajectory:
    """A checkpoint, or a run of two or more; of a run that has one, that one.

    Raises:
        SourceError: it is neither; the error is that of the checkpoint.
    """
    try:
        return open_checkpoint(name, layout=layout)
    except SourceError as error:
        try:
            run = open_trajectory(name, layout=layout)
        except SourceError:
            raise error from None
        if not len(run):
            raise
        return run if len(run) > 1 else run[-1][1]


def last_opened(name: str, layout: Layout) -> Checkpoint:
    """A checkpoint; of a run, its last one.

    Raises:
        SourceError: it is neither.
    """
    found = opened(name, layout)
    return found if isinstance(found, Checkpoint) else found[-1][1]
