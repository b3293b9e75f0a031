"""Claims: a run of 40 GB is surveyed in 512 MB, each byte read once; killed half-way, it goes on to the same table.

Twenty checkpoints of 2 GB in bfloat16, four shards each, are made in a temporary place: sparse files, in which every
tensor begins with 64 KiB of weights that move and is 0 beyond, so that they take 90 MB of room. Bytes are counted where
files are mapped, beside the survey's own count; anonymous memory is that of the whole process, imports included, looked
at every 20 ms.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from measure import Claims, machine
from sparse import BYTES, TENSORS, make_folder

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKPOINTS = 20
SHARDS = 4
MOVING = 2**15
MEGABYTES = 512

SURVEY = """
import hashlib, json, sys
from weightatlas.change.survey import survey
from weightatlas.checkpoints.places.blob import LocalBlob

mapped = 0
memory = LocalBlob.memory

def counted(blob, offset, length):
    global mapped
    mapped += length
    return memory(blob, offset, length)

LocalBlob.memory = counted
changes = survey(sys.argv[1], journal=sys.argv[2])
rows = changes.rows("steps")
print(json.dumps({
    "read": changes.bytes_read,
    "mapped": mapped,
    "rows": len(rows),
    "measured": sum(row["ratio_l1"] is not None for row in rows),
    "table": hashlib.sha256(repr(rows).encode()).hexdigest(),
}))
"""


class Ran(NamedTuple):
    """One process: its exit status, its seconds, the most anonymous memory it had, and what it printed."""

    status: int
    seconds: float
    most: int
    said: dict[str, int | str]


def make_run(folder: Path) -> int:
    """Write the checkpoints; returns their bytes."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(SHARDS, TENSORS, MOVING)).astype(np.float32)
    total = 0
    for step in range(CHECKPOINTS):
        checkpoint = folder / f"step{step * 1000}"
        checkpoint.mkdir()
        total += make_folder(checkpoint, shards=SHARDS)
        for shard, path in enumerate(sorted(checkpoint.glob("*.safetensors"))):
            with path.open("r+b") as file:
                begin = 8 + struct.unpack("<Q", file.read(8))[0]
                for tensor in range(TENSORS):
                    file.seek(begin + tensor * BYTES)
                    file.write((weights[shard, tensor].view(np.uint32) >> 16).astype(np.uint16).tobytes())
        weights += 0.05 * generator.normal(size=weights.shape).astype(np.float32)
    return total


def lines(journal: Path) -> int:
    """How many parts a journal knows: all its lines but the first."""
    return max(journal.read_bytes().count(b"\n") - 1, 0) if journal.exists() else 0


def run(folder: Path, journal: Path, *, until: Callable[[], bool] = lambda: False) -> Ran:
    """Survey in a process of its own; it is killed, as by `kill -9`, when `until` says so."""
    began, most = time.perf_counter(), 0
    command = [sys.executable, "-c", SURVEY, str(folder), str(journal)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603 - our own command
        while child.poll() is None:
            most = max(most, anonymous(child.pid))
            if until():
                child.kill()
            time.sleep(0.02)
        output = child.stdout.read() if child.stdout else ""
    said = json.loads(output) if child.returncode == 0 else {}
    return Ran(child.returncode, time.perf_counter() - began, most, said)


def anonymous(process: int) -> int:
    """Its anonymous memory in bytes; 0 where it has just ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in status if line.startswith("RssAnon")), 0)


def main() -> None:
    """Print the figures; exit with 1 if a claim fails."""
    print(machine())
    claims, tensors = Claims(), SHARDS * TENSORS
    with tempfile.TemporaryDirectory() as name:
        folder, journal = Path(name) / "run", Path(name) / "journal"
        folder.mkdir()
        total = make_run(folder)
        print(f"{CHECKPOINTS} checkpoints of {tensors} tensors, {total / 1e9:.1f} GB")
        whole = run(folder, Path(name) / "other")
        killed = run(folder, journal, until=lambda: lines(journal) >= tensors // 2)
        known = lines(journal)
        rest = run(folder, journal)
        idle = run(folder, journal)
    for label, ran in (("whole", whole), ("killed", killed), ("the rest", rest), ("nothing left", idle)):
        read = f"{int(ran.said['read']) / 1e9:5.1f} GB read" if ran.said else f"status {ran.status}"
        print(f"{label:14} {ran.seconds:6.1f} s {ran.most / 1e6:6.0f} MB anonymous, {read}")
    most = max(ran.most for ran in (whole, killed, rest, idle))
    claims.check(f"anonymous memory {most / 1e6:.0f} MB is under {MEGABYTES} MB", most < MEGABYTES * 1e6)
    rows = tensors * (CHECKPOINTS - 1)
    figures = f"{whole.said['measured']} of {rows} rows have figures"
    claims.check(figures, whole.said["rows"] == whole.said["measured"] == rows)
    counted = f"{int(whole.said['mapped']) / 1e9:.1f} GB were mapped of {total / 1e9:.1f} GB"
    claims.check(f"every byte is read once: {counted}", whole.said["read"] == whole.said["mapped"] == total)
    claims.check(f"killed with {known} of {tensors} tensors done", killed.status < 0 and 0 < known < tensors)
    left = total * (tensors - known) // tensors
    claims.check("what was done is not read again", rest.said["read"] == rest.said["mapped"] == left)
    claims.check("with all done nothing is read", idle.said["read"] == idle.said["mapped"] == 0)
    same = whole.said["table"] == rest.said["table"] == idle.said["table"]
    claims.check("the table is that of the survey that was not killed, to the last bit", same)
    claims.settle()


if __name__ == "__main__":
    main()
