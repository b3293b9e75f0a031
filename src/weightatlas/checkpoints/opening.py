"""Tell what a source is and hand it to the format that reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weightatlas.checkpoints.checkpoint import Checkpoint


def open_checkpoint(source: object) -> Checkpoint:
    """Open a file, a folder, a zoo name, a live module or a state dict."""
    raise NotImplementedError
