"""A program that trains the configurations of a JSON file, one after the other: `run_all.py FILE DEVICES`.

Several processes run it at once, each from its beginning, as they do the command line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from weightatlas.errors import WeightatlasError
from weightatlas.lab import Devices, run
from weightatlas.lab.configuration_file import configuration_from
from weightatlas.lab.devices import process


def main() -> int:
    """Train; an error is one line."""
    for folder, values in json.loads(Path(sys.argv[1]).read_text()).items():
        try:
            run(configuration_from(values), folder, devices=Devices(accelerator="cpu", devices=int(sys.argv[2])))
        except WeightatlasError as error:
            sys.stderr.write(f"process {process()}: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
