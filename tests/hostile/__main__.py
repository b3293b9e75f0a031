"""`python -m tests.hostile`: open and read the whole catalogue in this process; one line of JSON says how it went."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.driver import limit_memory
from tests.fuzz.examine import BreachError, Counts, examine, peak_memory
from tests.hostile.case import CANARY
from tests.hostile.catalogue import CATALOGUE


def main() -> int:
    """Go through the catalogue; the names of those that broke a promise go to standard error."""
    limit_memory()
    counts, slowest, failed, peak = Counts(), (0.0, ""), 0, 0
    for case in CATALOGUE:
        folder = Path(tempfile.mkdtemp())
        try:
            path = case.build(folder)
            began = time.perf_counter()
            examine(path, counts, canary=folder / CANARY)
            peak = max(peak, peak_memory())
            slowest = max(slowest, (round(time.perf_counter() - began, 2), case.name))
        except (BreachError, Exception) as error:  # noqa: BLE001 - whatever it is, it is counted and named
            failed += 1
            sys.stderr.write(f"{case.name}: {type(error).__name__}: {str(error)[:300]}\n")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    told = {"files": len(CATALOGUE), "failed": failed, "peak_bytes": peak, "slowest": slowest} | asdict(counts)
    sys.stdout.write(json.dumps(told) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
