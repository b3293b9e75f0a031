"""`python -m tests.fuzz --format NAME --examples N --seed S [--keep FOLDER]`; several names, or all of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.driver import FORMATS, fuzz, limit_memory


def main() -> int:
    """Fuzz the formats that are asked for; one line of JSON each."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the readers of checkpoints.")
    parser.add_argument(
        "--format", action="append", choices=sorted(FORMATS), help="several are allowed; all if left out"
    )
    parser.add_argument("--examples", type=int, default=1000, help="files of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where the smallest failing file is left")
    options = parser.parse_args()
    limit_memory()
    with tempfile.TemporaryDirectory() as working:
        keep = (options.keep or Path("fuzz-failure")).resolve()
        os.chdir(working)  # what a payload would touch
        for name in options.format or FORMATS:
            began = time.perf_counter()
            counts = fuzz(name, options.examples, options.seed, keep=keep)
            taken = round(time.perf_counter() - began, 1)
            sys.stdout.write(json.dumps({"format": name, "seconds": taken} | asdict(counts)) + "\n")
            sys.stdout.flush()
            if any(Path(working).iterdir()):
                sys.stderr.write(f"{name}: a file was written by what was in a file\n")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
