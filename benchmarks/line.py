"""A line of eleven points against eleven plain evaluations, on CIFAR-10's test images.

`python benchmarks/line.py --weights resnet20-12fca82f.th --data cifar10 [--examples 10000] [--repeats 3] [--quick]`: a
trained ResNet-20 and a copy whose every tensor is moved by a fifth of its length; `barrier` with recalibration off, and
eleven times `evaluate` of the same network, on the data as they are opened and on batches that are held already. Both
read the same batches, alternate, and run on the same threads. What recalibration adds is printed beside it. Exits 1 if
a claim of the documentation fails.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import torch
from measure import Claims, interleaved, machine

from weightatlas.connectivity.barrier import Barrier, barrier
from weightatlas.evaluation import evaluate, open_data, open_model

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

POINTS = 11
MOVED = 0.2
MOST = 1.2


def moved(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's state with noise a fifth as long as each parameter."""
    generator = torch.Generator().manual_seed(0)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        state[name] += noise * (MOVED * float(parameter.detach().norm()) / float(noise.norm()))
    return state


def evaluations(model: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    """Accuracy, as often as a line has points."""
    return [evaluate(model, batches).accuracy for _ in range(POINTS)]


def compare(weights: str, data: str, examples: int, repeats: int, claims: Claims) -> None:
    """Time both and check the claims."""
    model = open_model("weightatlas:resnet20-cifar?shortcut=zeros", checkpoint=weights)
    images = open_data(f"{data}?split=test&normalize=imagenet&limit={examples}")
    held = list(images)
    a, b = dict(model.state_dict()), moved(model)

    def line() -> Barrier:
        return barrier(model, a, b, images, points=POINTS, recalibrate=None)

    print(f"\nResNet-20, {examples} images, {POINTS} points, median of {repeats} interleaved rounds")
    seconds = interleaved(
        {
            "line": line,
            "evaluate on data": lambda: evaluations(model, images),
            "evaluate on held batches": lambda: evaluations(model, held),
        },
        repeats=repeats,
    )
    found, accuracy = line(), evaluate(model, held).accuracy
    ours = seconds.pop("line")
    print(f"  line {ours:.1f} s, of which {found.seconds_evaluating:.1f} s in the networks")
    for name, theirs in seconds.items():
        claims.check(
            f"{ours / theirs:.2f} times {POINTS} x {name} ({theirs:.1f} s), at most {MOST}", ours <= MOST * theirs
        )
    claims.check(
        f"accuracy at the first end {1 - found.errors[0]:.4f}, as evaluate gives",
        abs(1 - found.errors[0] - accuracy) < 1e-9,
    )
    again = barrier(model, a, b, images, points=POINTS)
    print(
        f"  recalibration on {again.recalibration_batches} batches ({again.recalibration_examples} images) at every "
        f"point adds {again.seconds_recalibrating:.1f} s"
    )


def main() -> None:
    """Compare on one network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--weights", required=True, help="resnet20-12fca82f.th")
    parser.add_argument("--data", required=True, help="folder of CIFAR-10")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round on a thousand images")
    options = parser.parse_args()
    examples, repeats = (1000, 1) if options.quick else (options.examples, options.repeats)
    print(machine())
    claims = Claims()
    compare(options.weights, f"cifar10:{options.data}", examples, repeats, claims)
    claims.settle()


if __name__ == "__main__":
    main()
