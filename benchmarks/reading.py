"""Claims: one tensor of 100 GB costs no anonymous memory beyond its size and 64 MB; mapped tensors are read like `cat`.

Like `cat`: at nine tenths of its rate at least. Members of an .npz begin wherever the zip archive puts them; one that
is not aligned to its elements is copied first, so their rate is shown and not claimed.

The 100 GB are sparse files, which take no room. The rate is measured on 1 GB that is in the page cache, every reading
beside one of `cat` into memory; reading is the sum of all elements, so that every byte is looked at, on one thread.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import safetensors.torch
import torch
from measure import Claims, interleaved, machine
from sparse import make_folder

from weightatlas.checkpoints import open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

SHARDS = 200
SPARE = 64e6
SHARE = 0.9
REPEATS = 7
CHUNK = 2**22
TENSORS = 8
SHAPE = (4096, 8192)
MAPPED: Final = ("safetensors", "pt")

ONE_TENSOR = """
import sys
from pathlib import Path
import torch
from weightatlas.checkpoints import open_checkpoint

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

torch.ones(2**20, dtype=torch.int64).sum()  # threads and their buffers are there before anything is counted
before = anonymous()
checkpoint = open_checkpoint(sys.argv[1])
tensor = checkpoint[list(checkpoint)[len(checkpoint) // 2]]
tensor.view(torch.int64).sum()
print(anonymous() - before, tensor.nbytes)
"""


def cat(path: Path) -> Callable[[], None]:
    """What reads a file as `cat` does, into a process that keeps nothing."""

    def pour() -> None:
        with path.open("rb") as file:
            subprocess.run(["cat"], stdin=file, stdout=subprocess.DEVNULL, check=True)  # noqa: S607 - the peer

    return pour


def read(path: Path) -> Callable[[], None]:
    """What looks at every element of a checkpoint, chunk by chunk."""

    def look() -> None:
        checkpoint = open_checkpoint(path)
        for name in checkpoint:
            for chunk in checkpoint.chunks(name, CHUNK):
                chunk.view(torch.int64).sum()

    return look


def main() -> None:
    """Print the figures; leave with 1 if a claim fails."""
    print(machine())
    torch.set_num_threads(1)
    claims = Claims()
    with tempfile.TemporaryDirectory() as name:
        total = make_folder(Path(name), shards=SHARDS)
        command = [sys.executable, "-c", ONE_TENSOR, name]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own script
        anonymous, nbytes = map(int, answer.stdout.split())
        print(f"one tensor of {nbytes / 1e6:.1f} MB out of {total / 1e9:.0f} GB: {anonymous / 1e6:.1f} MB anonymous")
        claims.check("one tensor costs less than its own size and 64 MB", anonymous < nbytes + SPARE)
    with tempfile.TemporaryDirectory() as name:
        tensors = {f"layers.{number}.weight": torch.randn(SHAPE) for number in range(TENSORS)}
        paths = {suffix: Path(name) / f"net.{suffix}" for suffix in ("safetensors", "npz", "pt")}
        safetensors.torch.save_file(tensors, paths["safetensors"])
        np.savez(paths["npz"], allow_pickle=False, **{key: tensor.numpy() for key, tensor in tensors.items()})
        torch.save(tensors, paths["pt"])
        for suffix, path in paths.items():
            seconds = interleaved({"cat": cat(path), "ours": read(path)}, repeats=REPEATS)
            rates = {label: path.stat().st_size / 1e9 / value for label, value in seconds.items()}
            print(f"{suffix:12} cat {rates['cat']:5.1f} GB/s, read {rates['ours']:5.1f} GB/s")
            if suffix in MAPPED:
                claims.check(f"{suffix} is read at {SHARE} of cat's rate", rates["ours"] > SHARE * rates["cat"])
    claims.settle()


if __name__ == "__main__":
    main()
