"""Claim: listing a 10 GB sharded safetensors folder takes a whole process under 1 s and 300 MB.

Makes the folder of sparse files in a temporary place (it takes no room), then runs `weightatlas layers FOLDER --format
json` as its own process, beside two peers in the same run: a bare interpreter, and the safetensors library under torch.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHARDS = 20
TENSORS = 16
SHAPE = (4096, 4096)
BYTES = 2 * SHAPE[0] * SHAPE[1]
SECONDS = 1.0
MEGABYTES = 300

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


def make_folder(folder: Path) -> int:
    """Write sparse shards and their index; returns the bytes the headers claim."""
    weight_map = {}
    total = 0
    for shard in range(SHARDS):
        name = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        header = {}
        for tensor in range(TENSORS):
            key = f"model.layers.{shard * TENSORS + tensor}.mlp.down_proj.weight"
            header[key] = {
                "dtype": "BF16",
                "shape": SHAPE,
                "data_offsets": [tensor * BYTES, (tensor + 1) * BYTES],
            }
            weight_map[key] = name
        text = json.dumps(header).encode()
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + TENSORS * BYTES)
        total += TENSORS * BYTES
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return total


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


def main() -> int:
    """Print the figures; 1 if the claim fails."""
    weightatlas = str(Path(sys.executable).with_name("weightatlas"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        total = make_folder(folder)
        run(weightatlas, "layers", name, "--format", "json")  # compiles the bytecode
        rounds = 5
        ours = [run(weightatlas, "layers", name, "--format", "json") for _ in range(rounds)]
        bare = [run(sys.executable, "-c", "pass") for _ in range(rounds)]
        peer = [run(sys.executable, "-c", PEER, name) for _ in range(rounds)]
    rows = len(json.loads(ours[0][2]))
    print(f"{total / 1e9:.1f} GB in {SHARDS} shards, {rows} tensors; the fastest of {rounds}")
    for label, runs in (("weightatlas layers", ours), ("python -c pass", bare), ("safetensors with torch", peer)):
        seconds, memory = min(run[0] for run in runs), max(run[1] for run in runs)
        print(f"{label:24} {seconds:6.2f} s {memory:6.0f} MB")
    seconds, memory = min(run[0] for run in ours), max(run[1] for run in ours)
    print(f"{min(run[0] for run in peer) / seconds:.1f} times as fast as the peer")
    good = seconds < SECONDS and memory < MEGABYTES and rows == SHARDS * TENSORS
    print("holds" if good else f"FAILS: under {SECONDS} s and {MEGABYTES} MB was claimed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
