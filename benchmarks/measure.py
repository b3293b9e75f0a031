"""What all benchmarks share: timing side by side on a noisy machine, the machine's name, and claims that may fail."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COMPARED = ("numpy", "scipy", "scikit-learn", "numba", "torch")


def machine() -> str:
    """One line: processor, cores, load, and the versions that a figure depends on."""
    names = [line.split(":", 1)[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    versions = ", ".join(f"{package} {version(package)}" for package in COMPARED)
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    return f"{processor}, {os.cpu_count()} cores, {load}; Python {platform.python_version()}, {versions}"


def interleaved(routines: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, float]:
    """Median seconds of each routine, all of them in every round, so that a busy moment falls on all alike.

    Each routine is called once before, uncounted: compilers and caches are not what is compared.
    """
    seconds: dict[str, list[float]] = {name: [] for name in routines}
    for routine in routines.values():
        routine()
    for _ in range(repeats):
        for name, routine in routines.items():
            start = time.perf_counter()
            routine()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


@dataclass
class Claims:
    """Sentences with a figure and a bound; `settle` ends the script with 1 if one of them fails."""

    failed: list[str] = field(default_factory=list)

    def check(self, sentence: str, holds: bool) -> None:
        """Print the sentence with its verdict."""
        print(f"  {'holds' if holds else 'FAILS'}: {sentence}")
        if not holds:
            self.failed.append(sentence)

    def settle(self) -> None:
        """Exit: 0 if every claim held, else 1."""
        sys.exit(1 if self.failed else 0)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
