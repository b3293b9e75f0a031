"""The claim: a trained network whose task knows no position is never called banded, and one whose task does, is.

Trains the demo's three networks for several seeds and prints every layer's B, p and q as Markdown. Networks that an
earlier run left in the folder are read back, so it can be stopped and started again.

    python benchmarks/controls.py --folder FOLDER --seeds 6
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import torch

from weightatlas.banding import survey
from weightatlas.lab import DemoNetwork, demo


def rows_of(network: DemoNetwork, seed: int) -> list[dict[str, object]]:
    """One mapping a scored layer of one network."""
    return [
        {
            "network": network.name,
            "seed": seed,
            "accuracy": f"{network.run.test_accuracy:.3f}",
            "layer": layer.layer,
            "B": f"{layer.score.score:+.3f}",
            "p, units": f"{layer.score.p_units:.5f}",
            "p, inputs": f"{layer.score.p_inputs:.5f}",
            "q": f"{layer.q_value:.5f}",
            "direction": layer.direction,
        }
        for layer in survey(str(network.path), with_slides=False).scored
        if layer.score is not None
    ]


def markdown(rows: list[dict[str, object]]) -> str:
    """The rows as a Markdown table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[key]) for key in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Train, measure, print; exit 1 if a verdict is not the claim's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the networks are kept")
    parser.add_argument("--seeds", type=int, default=6, help="seeds 1 to this")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=None, help="networks trained at once; one a core by default")
    options = parser.parse_args()
    rows = []
    for seed in range(1, options.seeds + 1):
        networks = demo(options.folder / f"seed-{seed}", seed=seed, steps=options.steps, jobs=options.jobs).networks
        rows += [row for network in networks for row in rows_of(network, seed)]
    rows.sort(key=lambda row: ["upright", "turned", "control"].index(str(row["network"])))
    print(
        f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores, {platform.machine()}; "
        f"Python {platform.python_version()}, torch {torch.__version__}; "
        f"seeds 1 to {options.seeds}, {options.steps} steps\n"
    )
    print(markdown(rows))
    counts = Counter((str(row["network"]), str(row["layer"]), str(row["direction"])) for row in rows)
    print("\n" + markdown([{"network": n, "layer": k, "direction": d, "seeds": c} for (n, k, d), c in counts.items()]))
    expected = {"upright": "horizontal", "turned": "vertical"}
    held = all(
        row["direction"] == expected.get(str(row["network"]), "none")
        for row in rows
        if row["network"] == "control" or row["layer"] in ("conv5a", "conv5b")
    )
    print(f"\nThe claim {'holds' if held else 'FAILS'}: conv5a and conv5b as asked, no layer of a control.")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
