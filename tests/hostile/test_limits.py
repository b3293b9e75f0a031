"""The whole catalogue in one process: bounded memory, bounded time, nothing run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.hostile.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]


def test_the_catalogue_is_opened_and_read_within_a_gigabyte_and_ten_seconds_a_file() -> None:
    command = [sys.executable, "-m", "tests.hostile"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - our own code
    assert done.stderr == ""
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["files"] == len(CATALOGUE)
    assert told["peak_bytes"] < 2**30
    assert told["slowest"][0] < 10
    assert told["opened"] + told["refused"] == told["files"]
    assert told["refused"] > 400
    assert told["read"] > 10
