"""A text file as examples: bytes, each position asked for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from weightatlas.data.language import CONTEXT, next_symbols
from weightatlas.data.splits import choose_split
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.data.examples import Examples

TESTED: Final = 10
"""One part in so many of a text, its end, is held out."""

LARGEST: Final = 256 * 2**20
"""Bytes of a file at most: in memory each takes twelve."""

PRINTABLE: Final = range(0x21, 0x7F)
BYTES: Final = tuple(chr(value) if value in PRINTABLE else f"0x{value:02x}" for value in range(256))
"""Names of the 256 symbols."""


def read_text(path: Path, *, split: str | None = None, context: int = CONTEXT) -> Examples:
    """Open a UTF-8 text, cut into pieces of one length; its symbols are bytes.

    Piece i has the bytes i c to (i + 1) c, c the context; its targets are one byte further. What is left at the end and
    fills no piece is dropped. The last tenth of the pieces is the test split, the rest is for training: no byte is a
    target of both.

    Args:
        path: a file.
        split: "train" (taken if left out) or "test".
        context: bytes of a piece.

    Returns:
        Examples with inputs float32 (context,), whole numbers from 0 to 255, and targets int64 (n, context).

    Raises:
        NoSplitError: there is no such split.
        SourceError: it is no text in UTF-8, is larger than 256 MiB, or too short for ten pieces.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "text.txt")
        ...     _ = path.write_text("to be or not to be " * 9, encoding="utf-8")
        ...     examples = read_text(path, context=8)
        >>> inputs, _ = examples.fetch(torch.arange(1))
        >>> bytes(inputs[0].byte().tolist()), bytes(examples.targets[0].tolist()), len(examples)
        (b'to be or', b'o be or ', 19)
    """
    if not path.is_file():
        raise SourceError(path, "no file", "give a text file: text:PATH")
    size = path.stat().st_size
    if size > LARGEST:
        raise SourceError(path, f"{size:,} bytes, more than {LARGEST:,}", "give a part of it")
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(path, f"no UTF-8 text (byte {error.start})", "convert it to UTF-8") from error
    pieces = (len(content) - 1) // context
    tested = pieces // TESTED
    if tested < 1:
        problem = f"{len(content)} bytes are too few for {TESTED} pieces of {context}"
        raise SourceError(path, problem, "give a longer text, or a shorter ?context=")
    chosen = choose_split(str(path), ["train", "test"], split)
    first, last = (0, pieces - tested) if chosen == "train" else (pieces - tested, pieces)
    symbols = np.frombuffer(content, dtype=np.uint8)[first * context : last * context + 1]
    texts = np.lib.stride_tricks.sliding_window_view(symbols, context + 1)[::context]
    return next_symbols(str(path), torch.from_numpy(texts.copy()), classes=BYTES, split=chosen)
