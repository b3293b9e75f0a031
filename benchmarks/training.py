"""The claim: the lab trains the simplified network at .9 or more of the speed of a bare loop on the same tensors.

Both see the same images in the same order, on one thread, with AdamW under one cycle; rounds are interleaved. The
lab's loop also augments nothing, checks every loss, seeds every step, writes its metrics and saves twenty checkpoints
with the optimiser's state. Beside it: how long the feed takes for a batch with flips and shifts, as a share of a step.

    python benchmarks/training.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from measure import Claims, interleaved, machine
from torch.nn import functional

from weightatlas.data import Augmentation, Examples, Feed, ResidentFeed
from weightatlas.data.examples import held_in_memory
from weightatlas.lab import Configuration, Devices, Recipe, RunFolder, train
from weightatlas.lab.plan import make_plan, saved_steps
from weightatlas.nn import ARTICLE, SMALL, SimplifiedNetwork

SETTINGS = {
    "small, 24 x 24, batch 64": (SMALL, 1.0, 24, 64, 200),
    "article at a quarter of its width, 32 x 32, batch 32": (ARTICLE, 0.25, 32, 32, 24),
}
ROUNDS = 5
FLOOR = 0.9


def images(size: int, count: int) -> Examples:
    """Random bytes with random labels."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    return held_in_memory("random", pixels, torch.randint(0, 10, (count,), generator=generator))


def bare(model: torch.nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Train as everybody writes it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=len(batches), pct_start=0.15)
    model.train()
    for inputs, targets in batches:
        loss = functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def feed_seconds(feed: Feed, batch: int, steps: int) -> float:
    """Seconds a batch."""
    feed.batch(0, batch)
    start = time.perf_counter()
    for step in range(steps):
        feed.batch(step * batch, batch)
    return (time.perf_counter() - start) / steps


def main() -> None:
    """Measure, print and settle."""
    torch.set_num_threads(1)
    print(machine())
    claims = Claims()
    for name, (groups, width, size, batch, steps) in SETTINGS.items():
        examples = images(size, 4096)
        feed = ResidentFeed(examples, seed=0)
        batches = [feed.batch(step * batch, batch) for step in range(steps)]
        recipe = Recipe(steps=steps, batch_size=batch)
        saves = saved_steps(make_plan(recipe, len(examples)), Configuration(model="-", data="-", recipe=recipe))

        def network() -> SimplifiedNetwork:
            return SimplifiedNetwork(groups, width=width, input_size=size, classes=10)  # noqa: B023 - called at once

        def ours() -> None:
            with tempfile.TemporaryDirectory() as place:
                folder = RunFolder(Path(place) / "run")
                with folder.held():
                    train(network(), feed, recipe, folder=folder, saves=saves, devices=Devices(accelerator="cpu"))  # noqa: B023

        seconds = interleaved({"bare": lambda: bare(network(), batches), "ours": ours}, repeats=ROUNDS)  # noqa: B023
        ratio = seconds["bare"] / seconds["ours"]
        augmented = ResidentFeed(examples, augmentation=Augmentation(flip=True, shift=2), seed=0)
        share = feed_seconds(augmented, batch, steps) / (seconds["bare"] / steps)
        each = {who: time_taken / steps * 1e3 for who, time_taken in seconds.items()}
        print(f"{name}, {steps} steps: bare {each['bare']:.1f} ms a step, the lab {each['ours']:.1f}")
        print(f"  a batch with flips and shifts takes {share:.1%} of a step")
        claims.check(f"{ratio:.3f} of the bare loop's speed, {FLOOR} or more", ratio >= FLOOR)
    claims.settle()


if __name__ == "__main__":
    main()
