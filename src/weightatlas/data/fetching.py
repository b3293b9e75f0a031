"""Examples fetched by several threads at once: most of decoding an image needs no lock of Python's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import joblib
import torch

if TYPE_CHECKING:
    from weightatlas.data.examples import Examples

PART: Final = 8
"""The fewest examples that are worth handing to a thread."""


class ThreadedFetch:
    """Fetch examples in parts that several threads take; the answer is that of one thread.

    Args:
        examples: what is fetched; threads are safe with every reader of this room.
        workers: how many threads; None is one a core, and one is the caller itself.

    Raises:
        ValueError: there is no worker.
    """

    def __init__(self, examples: Examples, workers: int | None) -> None:
        self._workers = joblib.cpu_count() if workers is None else workers
        if self._workers < 1:
            message = f"workers must be 1 or more, not {workers}"
            raise ValueError(message)
        self._fetch = examples.fetch
        self._pool = ThreadPoolExecutor(self._workers, "weightatlas-decode") if self._workers > 1 else None

    def __call__(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the inputs (k, ...) of those numbers that can be read, and the numbers."""
        part = max(PART, -(-len(numbers) // (4 * self._workers)))
        if self._pool is None or len(numbers) <= part:
            return self._fetch(numbers)
        parts = list(self._pool.map(self._fetch, torch.split(numbers, part)))
        return torch.cat([inputs for inputs, _ in parts]), torch.cat([read for _, read in parts])
