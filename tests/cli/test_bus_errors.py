from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import safetensors.torch
import torch

from weightatlas.cli.bus_errors import LINE

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import os, sys, threading
from weightatlas.checkpoints import open_checkpoint
from weightatlas.cli.bus_errors import leave_on_bus_errors

leave_on_bus_errors()
tensor = open_checkpoint(sys.argv[1])["weight"]
os.truncate(sys.argv[1], 4096)
look = lambda: tensor.sum()
if sys.argv[2] == "thread":
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
look()
print("read")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGBUS")
@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_file_cut_short_while_it_is_looked_at_is_one_line_and_exit_1(where: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file({"weight": torch.ones(1 << 20)}, path)
    ended = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", SCRIPT, str(path), where], capture_output=True, check=False, timeout=120
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, b"", LINE)
