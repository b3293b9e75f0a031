"""A program that trains the configurations of a JSON file, one after the other: `run_all.py FILE DEVICES`.

Several processes run it at once, each from its beginning, as they do the command line. A thread of Gloo's that is left
at the very end could abort the process, and is an error (exit status 3).
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from pathlib import Path

from weightatlas.errors import WeightatlasError
from weightatlas.lab import Devices, run
from weightatlas.lab.configuration_file import configuration_from
from weightatlas.lab.devices import process


def main() -> int:
    """Train; an error is one line."""
    atexit.register(assert_no_thread_of_gloo)  # the first to be registered is the last to be called
    for folder, values in json.loads(Path(sys.argv[1]).read_text()).items():
        try:
            run(configuration_from(values), folder, devices=Devices(accelerator="cpu", devices=int(sys.argv[2])))
        except WeightatlasError as error:
            sys.stderr.write(f"process {process()}: {error}\n")
            return 1
    return 0


def assert_no_thread_of_gloo() -> None:
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    left = [name for name in threads if "gloo" in name]
    if left:
        sys.stderr.write(f"process {process()}: {left} left\n")
        sys.stderr.flush()
        os._exit(3)


if __name__ == "__main__":
    sys.exit(main())
