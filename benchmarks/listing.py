"""Claims: a whole process lists a sharded safetensors folder of 10 GB in 1 s and of 100 GB in 2 s, under 300 MB.

Makes each folder of sparse files in a temporary place (it takes no room), then runs `weightatlas layers FOLDER --format
json` as its own process, beside two peers in the same run: a bare interpreter, and the safetensors library under torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sparse import TENSORS, make_folder

CLAIMED = {20: 1.0, 200: 2.0}  # shards of half a gigabyte, seconds
MEGABYTES = 300
ROUNDS = 5

PEER = """
import sys, glob
from safetensors import safe_open
names = [
    (name, file.get_slice(name).get_shape())
    for path in sorted(glob.glob(sys.argv[1] + "/*.safetensors"))
    for file in [safe_open(path, framework="pt")]
    for name in file.keys()
]
print(len(names))
"""


def run(*command: str) -> tuple[float, float, bytes]:
    """Run a process: its seconds, its peak memory in MB, its output."""
    reader, writer = os.pipe()
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=writer)  # noqa: S603 - our own commands
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        output = pipe.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{command} failed")
    scale = 1024 if sys.platform == "linux" else 1
    return seconds, usage.ru_maxrss * scale / 1e6, output


def compare(shards: int) -> bool:
    """Print the figures of one size; whether the claim holds."""
    weightatlas = str(Path(sys.executable).with_name("weightatlas"))
    with tempfile.TemporaryDirectory() as name:
        total = make_folder(Path(name), shards=shards)
        run(weightatlas, "layers", name, "--format", "json")  # compiles the bytecode
        ours = [run(weightatlas, "layers", name, "--format", "json") for _ in range(ROUNDS)]
        bare = [run(sys.executable, "-c", "pass") for _ in range(ROUNDS)]
        peer = [run(sys.executable, "-c", PEER, name) for _ in range(ROUNDS)]
    rows = len(json.loads(ours[0][2]))
    print(f"{total / 1e9:.1f} GB in {shards} shards, {rows} tensors; the fastest of {ROUNDS}")
    for label, runs in (("weightatlas layers", ours), ("python -c pass", bare), ("safetensors with torch", peer)):
        print(f"{label:24} {min(run[0] for run in runs):6.2f} s {max(run[1] for run in runs):6.0f} MB")
    seconds, memory = min(run[0] for run in ours), max(run[1] for run in ours)
    print(f"{min(run[0] for run in peer) / seconds:.1f} times as fast as the peer")
    good = seconds < CLAIMED[shards] and memory < MEGABYTES and rows == shards * TENSORS
    print("holds" if good else f"FAILS: under {CLAIMED[shards]} s and {MEGABYTES} MB was claimed")
    return good


def main() -> int:
    """Print the figures; 1 if a claim fails."""
    held = [compare(shards) for shards in CLAIMED]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
