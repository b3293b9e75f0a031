"""Claim: the banding survey of a ResNet-50, null included, takes under 1 s of computing.

Random weights of torchvision's network, in memory, so that nothing but computing is timed: scores of 17 layers, 99,999
sign flips over units and over inputs for each score and symmetry. Beside it the physical limit, one read of the same
weights, and the survey with tissue slides, which factor 3,776 units and as many random ones for their null.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING

from weightatlas import banding
from weightatlas.checkpoints import open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
SECONDS = 1.0


def fastest_and_median(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the fastest and of the median round, after one that compiles."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), statistics.median(seconds)


def main() -> int:
    """Print the figures; 1 if the claim fails."""
    checkpoint = open_checkpoint("torchvision:resnet50?pretrained=false")
    kernels = [checkpoint[layer.tensor] for layer in checkpoint.layers if layer.role == "dense"]
    layers = banding.survey(checkpoint, with_slides=False)
    reading = fastest_and_median(lambda: [kernel.sum() for kernel in kernels])
    scoring = fastest_and_median(lambda: banding.survey(checkpoint, with_slides=False))
    drawing = fastest_and_median(lambda: banding.survey(checkpoint))
    weights = sum(kernel.numel() for kernel in kernels)
    print(f"{len(layers.scored)} layers, {weights:,} weights; fastest and median of {ROUNDS}")
    for label, (fastest, median) in (
        ("one read of the weights", reading),
        ("survey, null included", scoring),
        ("survey with slides", drawing),
    ):
        print(f"{label:24} {fastest:7.3f} s {median:7.3f} s")
    good = scoring[1] < SECONDS
    print("holds" if good else f"FAILS: under {SECONDS} s was claimed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
