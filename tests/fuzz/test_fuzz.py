"""Ten thousand files that lie, of every format, each format in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.fuzz.driver import FORMATS

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLES: Final = {
    "safetensors": 1600,
    "shards": 1000,
    "npz": 1400,
    "torch": 1200,
    "legacy": 1000,
    "pickle": 1200,
    "distributed": 800,
    "gguf": 1000,
    "onnx": 1000,
    "hdf5": 800,
}


def test_every_format_is_fuzzed_and_the_sum_is_ten_thousand() -> None:
    assert EXAMPLES.keys() == FORMATS.keys()
    assert sum(EXAMPLES.values()) >= 10_000


@pytest.mark.parametrize("name", FORMATS)
def test_files_that_lie_give_tensors_rows_or_one_line(name: str, tmp_path: Path) -> None:
    examples = EXAMPLES[name]
    options = ["--format", name, "--examples", str(examples), "--keep", str(tmp_path / "kept")]
    command = [sys.executable, "-m", "tests.fuzz", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603 - our own code
    assert done.returncode == 0, f"{done.stderr[-3000:]}\nkept in {tmp_path / 'kept'}"
    told = json.loads(done.stdout)
    assert told["opened"] + told["refused"] == examples
    assert told["opened"] >= examples // 20, "hardly any file is good enough to reach a reader's end"
    assert told["refused"] >= examples // 20, "hardly any file lies"
    assert told["read"] >= examples // 20
