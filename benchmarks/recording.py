"""The claim: recording every step costs less than 3 % of a training step of ResNet-50 at batch 128 on a GPU.

Where there is no GPU, the share of a step on the CPU is reported, at a batch that fits the machine. A step is the
forward and the backward pass in bfloat16 autocast (float32 on the CPU), and SGD with momentum; a record has all figures
of all weights with more than one dimension, and is written to a file. Rounds with and without a recorder are
interleaved.

    python benchmarks/recording.py [--batch 128] [--steps 20]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from measure import Claims, interleaved, machine
from torch.nn import functional

from weightatlas.change.recorder import Recorder
from weightatlas.evaluation import open_model

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 0.03
ROUNDS = 5
SIZE = 224
ON_GPU, ON_CPU = (128, 20), (4, 1)
"""Batch and steps of a round."""

FIGURES: Mapping[str, dict[str, Any]] = {
    "default figures": {},
    "with_start, with_previous": {"with_start": True, "with_previous": True},
}


class Training:
    """A network, its optimizer, and one batch of noise."""

    def __init__(self, device: torch.device, batch: int) -> None:
        self.device = device
        self.model = open_model("torchvision:resnet50?pretrained=false").train().to(device)
        self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(batch, 3, SIZE, SIZE, generator=generator)
        self.inputs = inputs.to(device).contiguous(memory_format=torch.channels_last)
        self.targets = torch.randint(0, 1000, (batch,), generator=generator).to(device)
        self.step = 0

    def run(self, steps: int, recorder: Recorder | None = None) -> None:
        """Train for some steps, and let the device come to its end."""
        for _ in range(steps):
            half = torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext()
            with half:
                loss = functional.cross_entropy(self.model(self.inputs), self.targets)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.step += 1
            if recorder is not None:
                recorder.step(self.step)
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def alone(recorder: Recorder, training: Training, repeats: int) -> float:
    """Median seconds of a record by itself, the device waited for."""
    seconds = []
    for _ in range(repeats):
        training.step += 1
        start = time.perf_counter()
        recorder.step(training.step)
        if training.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[repeats // 2]


def main() -> None:
    """Measure, print and settle."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch, steps = ON_GPU if device.type == "cuda" else ON_CPU
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--steps", type=int, default=steps)
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{machine()}; {name}")
    claims = Claims()
    training = Training(device, options.batch)
    for what, figures in FIGURES.items():
        with tempfile.TemporaryDirectory() as place:
            recorder = Recorder(training.model, Path(place) / "change.jsonl", at=training.step, **figures)
            seconds = interleaved(
                {
                    "without": lambda: training.run(options.steps),
                    "with": lambda: training.run(options.steps, recorder),  # noqa: B023 - called at once
                },
                repeats=ROUNDS,
            )
            record = alone(recorder, training, 2 * ROUNDS)
            recorder.close()
        each = {who: taken / options.steps for who, taken in seconds.items()}
        share = each["with"] / each["without"] - 1
        print(f"ResNet-50, batch {options.batch}, {device.type}, {what}:")
        print(f"  a step {each['without'] * 1e3:.2f} ms, with a record {each['with'] * 1e3:.2f} ms")
        print(f"  a record by itself {record * 1e3:.2f} ms, {record / each['without']:.2%} of a step")
        if device.type == "cuda":
            claims.check(f"a recorded step takes {share:.2%} longer, less than {MOST:.0%}", share < MOST)
        else:
            print(
                f"  reported, not claimed: a recorded step takes {share:.2%} longer (rounds differ by more than that)"
            )
    claims.settle()


if __name__ == "__main__":
    main()
