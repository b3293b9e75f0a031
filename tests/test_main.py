from __future__ import annotations

import subprocess
import sys

from weightatlas import __version__


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "weightatlas", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == __version__
