"""The claim: q alone decides which layers have bands, the cut only how many are called banded; on slides, .53 agrees.

Reads the folder of reference weights and prints Markdown: what is banded at |B| cuts of .05, .10 and .20, and the
article's published slides beside its verdicts.

    python benchmarks/banding_cuts.py ../shared/reference
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.banding import score_slides, survey
from weightatlas.banding.score import BANDED_SLIDES, SIGNIFICANT, SMALLEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.banding import BandingSurvey

CUTS: Final = (0.05, 0.10, 0.20)

NETWORKS: Final = (
    ("ResNet-20", "cifar_resnets/resnet20-12fca82f.th"),
    ("ResNet-56", "cifar_resnets/resnet56-4bfd9763.th"),
    ("SqueezeNet 1.1", "squeezenet/squeezenet_v1.1_notop.h5"),
)

PUBLISHED: Final = "distill/weight_banding_slides.npz"

VERDICTS: Final = (
    ("Simplified-Base|", "simplified network, 5b", True),
    ("Simplified-90deg|", "the same, images turned 90 degrees", True),
    ("Simplified-fc-only|", "the same, no pooling", False),
    ("Simplified-x-avgpool|v0/v1/5a", "the same, pooled along x, 5a", True),
    ("Simplified-x-avgpool|v0/v1/5b", "the same, pooled along x, 5b", False),
    ("InceptionV1 - modelzoo|", "InceptionV1 of the model zoo", True),
    ("InceptionV1 - baseline|", "InceptionV1, the authors' own", True),
    ("InceptionV1 - 90deg|", "the same, images turned 90 degrees", True),
    ("InceptionV1 - fc-only|", "the same, no pooling", False),
)
"""What a published array's name starts with, what it is, and whether the article calls it banded."""


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def network_rows(name: str, found: BandingSurvey) -> list[tuple[str, ...]]:
    """The layers of one network that pass the test and the smallest cut, and which cuts they pass."""
    rows = []
    for layer in found.scored:
        if layer.score is None or not layer.q_value < SIGNIFICANT or abs(layer.score.score) < CUTS[0]:
            continue
        passed = tuple("banded" if abs(layer.score.score) >= cut else "" for cut in CUTS)
        rows.append(
            (name, layer.layer, f"{layer.score.score:+.3f}", layer.direction, f"{layer.slide_score:+.3f}", *passed)
        )
    return rows


def count_row(name: str, found: BandingSurvey) -> tuple[str, ...]:
    """How many of a network's layers are banded at each cut, and what q refuses."""
    significant = [abs(layer.score.score) for layer in found.scored if layer.score and layer.q_value < SIGNIFICANT]
    others = [abs(layer.score.score) for layer in found.scored if layer.score and not layer.q_value < SIGNIFICANT]
    counts = [str(sum(size >= cut for size in significant)) for cut in CUTS]
    refused = str(sum(size >= CUTS[0] for size in others))
    return (name, str(len(found.scored)), *counts, refused, f"{max(others, default=0):.3f}")


def slide_rows(path: Path) -> list[tuple[str, ...]]:
    """The published slides: our score, the article's verdict, ours."""
    rows: list[tuple[str, ...]] = []
    with np.load(path) as slides:
        for start, title, banded in VERDICTS:
            (name,) = (name for name in slides.files if name.startswith(start))
            found = score_slides(slides[name])
            rows.append(
                (
                    title,
                    str(found.units),
                    f"{found.score:+.3f}",
                    f"{found.null_std:.3f}",
                    "banded" if banded else "not banded",
                    "banded" if found.banded else "not banded",
                )
            )
    return rows


def main() -> int:
    """Survey, count, print; exit 1 if a verdict on the published slides is not the article's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder of reference weights")
    folder = parser.parse_args().folder
    surveys = {name: survey(str(folder / path)) for name, path in NETWORKS}
    marks = tuple(f"at {cut:.2f}" for cut in CUTS)
    print(f"Layers banded, q < {SIGNIFICANT:g} and |B| at least the cut:\n")
    head = ("network", "layers", *marks, f"refused by q from {CUTS[0]:.2f} on", "largest B refused by q")
    print(markdown(head, [count_row(name, found) for name, found in surveys.items()]))
    print(f"\nWhich (a direction is named from |B| = {SMALLEST:g} on):\n")
    layers = [row for name, found in surveys.items() for row in network_rows(name, found)]
    print(markdown(("network", "layer", "B", "direction", "slides B", *marks), layers))
    print(f"\nPublished slides, cut {BANDED_SLIDES:g}:\n")
    published = slide_rows(folder / PUBLISHED)
    print(markdown(("layer", "units", "B", "null s.d.", "the article", "here"), published))
    return int(any(row[-1] != row[-2] for row in published))


if __name__ == "__main__":
    sys.exit(main())
