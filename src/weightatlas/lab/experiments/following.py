"""Following runs that go on in other processes, by the metrics they write."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from weightatlas.lab.configuration import Recipe
    from weightatlas.progress import Progress

INTERVAL: Final = 0.5
"""Seconds between two looks."""

PARTS: Final = 1000
"""A run counted in epochs, whose updates only its own process knows, counts as so many parts."""


class Tail:
    """The newest row of a growing file of JSON lines, read on from where the last look ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def newest(self) -> dict[str, float] | None:
        """The last whole row written since the last look; None where there is none.

        A file that was rewritten shorter, as a resumed run does, is read from its beginning.
        """
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._read:
                    self._read = 0
                file.seek(self._read)
                whole, newline, _ = file.read().rpartition(b"\n")
        except OSError:
            return None
        self._read += len(whole) + len(newline)
        for line in reversed(whole.splitlines()):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and "step" in row:
                return row
        return None


class Followed:
    """Tell how far several runs are, from a thread, while the block runs.

    Args:
        runs: each run's label, its file of metrics and its recipe.
        progress: called with the updates made, those there are in all, and the label of a run that moves.
        interval: seconds between two looks.
    """

    def __init__(
        self, runs: Sequence[tuple[str, Path, Recipe]], progress: Progress, *, interval: float = INTERVAL
    ) -> None:
        self._labels = [label for label, _, _ in runs]
        self._tails = [Tail(path) for _, path, _ in runs]
        self._recipes = [recipe for _, _, recipe in runs]
        self._totals = [recipe.steps or PARTS for recipe in self._recipes]
        self._done = [0] * len(runs)
        self._ended = [False] * len(runs)
        self._progress = progress
        self._interval = interval
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._follow, name="followed runs", daemon=True)

    def __enter__(self) -> Self:
        """Start to look, and say how much there is to do."""
        self._progress(0, sum(self._totals), "")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop; nothing is told after this."""
        self._stop.set()
        self._thread.join()

    def ended(self, number: int) -> None:
        """Count a run as over, however it ended."""
        with self._lock:
            self._ended[number] = True
            self._done[number] = self._totals[number]
            self._tell(number)

    def _follow(self) -> None:
        while not self._stop.wait(self._interval):
            with self._lock:
                moved = [number for number in range(len(self._tails)) if self._look(number)]
                if moved:
                    self._tell(moved[0])

    def _look(self, number: int) -> bool:
        """Read one run's news; say whether there was any."""
        if self._ended[number]:
            return False
        row = self._tails[number].newest()
        if row is None:
            return False
        recipe, total = self._recipes[number], self._totals[number]
        share = row["step"] / total if recipe.steps else row.get("epoch", 0.0) / (recipe.epochs or 1.0)
        self._done[number] = min(total, round(total * share))
        return True

    def _tell(self, number: int) -> None:
        self._progress(sum(self._done), sum(self._totals), self._labels[number])
