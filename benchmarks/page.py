"""Claim: the atlas of a ResNet-50 takes a whole process under 30 s on 2 cores, and the page is under 6 MB.

Random weights of torchvision's network in one safetensors file; `weightatlas atlas FILE` as its own process, with
nothing compiled beforehand but what an installed package has.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import save_file

from weightatlas.checkpoints import open_checkpoint

SECONDS = 30.0
MEGABYTES = 6.0


def main() -> int:
    """Print the figures; 1 if the claim fails."""
    weightatlas = str(Path(sys.executable).with_name("weightatlas"))
    checkpoint = open_checkpoint("torchvision:resnet50?pretrained=false")
    with tempfile.TemporaryDirectory() as name:
        weights, page = Path(name) / "resnet50.safetensors", Path(name) / "atlas.html"
        save_file({tensor: checkpoint[tensor].contiguous() for tensor in checkpoint}, weights)
        seconds = []
        for cache in ("empty", "kept"):
            environment = os.environ | {"NUMBA_CACHE_DIR": str(Path(name) / "numba")}
            start = time.perf_counter()
            command = [weightatlas, "atlas", str(weights), "--output", str(page), "--quiet"]
            subprocess.run(command, check=True, env=environment)  # noqa: S603 - our own command
            seconds.append(time.perf_counter() - start)
            print(f"atlas of a ResNet-50, compiled kernels {cache}: {seconds[-1]:.1f} s")
        megabytes = page.stat().st_size / 1e6
        read = time.perf_counter()
        weights.read_bytes()
        print(f"one read of its {weights.stat().st_size / 1e6:.0f} MB: {time.perf_counter() - read:.2f} s")
    print(f"the page: {megabytes:.2f} MB")
    good = max(seconds) < SECONDS and megabytes < MEGABYTES
    print("holds" if good else f"FAILS: under {SECONDS:.0f} s and {MEGABYTES:.0f} MB was claimed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
