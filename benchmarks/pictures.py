"""The claims: pictures of 64 units at once cost less than 1.25 passes of the trunk, and no more a unit than one alone.

The trunk is GoogLeNet up to `inception4a`, random weights, images of 64 x 64. A pass is forward and backward, with
respect to the input, of the same trunk on a batch of the same form (channels last, which is faster for both). The
overhead is that of a whole call at its default of 128 steps: parametrisation, moves, Adam, and the noise images that
pictures are compared with. One thread is timed by its processor time; two threads, and a GPU, by the clock on the wall.
Of interleaved rounds the best counts.

    python benchmarks/pictures.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from measure import Claims, machine

from weightatlas.branching.pictures.ascent import Ascent
from weightatlas.branching.pictures.normalising import Normalizing
from weightatlas.branching.pictures.objectives import aims_at
from weightatlas.branching.pictures.parametrisation import FourierImages
from weightatlas.branching.pictures.tap import trunk
from weightatlas.branching.pictures.visualization import STANDARD, visualize
from weightatlas.evaluation import open_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from weightatlas.branching.pictures.tap import Trunk

MODEL, LAYER, SIZE = "torchvision:googlenet?pretrained=false", "inception4a", 64
UNITS = 64
STEPS = 128
MOST = 1.25


@dataclass(frozen=True)
class Timed:
    """What is measured: seconds of one run, how many of them, and steps in each."""

    run: Callable[[], object]
    steps: int = 1


def best(routines: Mapping[str, Timed], *, rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Least seconds a step of each, all of them in every round, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in routines}
    for number in range(rounds + 1):
        for name, timed in routines.items():
            start = clock()
            timed.run()
            if number:
                seconds[name].append((clock() - start) / timed.steps)
    return {name: min(taken) for name, taken in seconds.items()}


def ascent_of(run: Trunk, count: int, device: torch.device) -> Ascent:
    """So many units of the layer, ready to be drawn."""
    images = FourierImages(SIZE, device=device)
    normalizing = Normalizing.of(run.module, "imagenet", channels=3, device=device, dtype=torch.float32)
    aims = aims_at(range(count), objective="channel", available=512, layer=LAYER)
    return Ascent(run, images, normalizing, aims, 0)


def climbing(ascent: Ascent, steps: int) -> Callable[[], object]:
    """Some steps of ascent."""
    return lambda: ascent.climb(
        ascent.start(), steps=steps, learning_rate=0.05, transforms=STANDARD, after=lambda: None
    )


def passing(ascent: Ascent) -> Callable[[], object]:
    """Forward and backward of the trunk alone, on a batch of the same form."""
    pixels = torch.rand(len(ascent.aims), 3, SIZE, SIZE, device=ascent.start().device)
    inputs = ascent.normalizing(pixels).requires_grad_()

    def run() -> object:
        return torch.autograd.grad(ascent.aims.activations(ascent.aims.responses(ascent.trunk(inputs))).sum(), [inputs])

    return run


def measured(
    model: torch.nn.Module, device: torch.device, *, rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Seconds a step: the trunk alone, 64 units at once, one alone; and of a call of one step."""
    with ExitStack() as stack:
        run = stack.enter_context(trunk(model, LAYER))
        many, one = ascent_of(run, UNITS, device), ascent_of(run, 1, device)
        routines = {
            "trunk": Timed(passing(many)),
            "many": Timed(climbing(many, 4), 4),
            "one": Timed(climbing(one, 8), 8),
        }
        return best(routines, rounds=rounds, clock=clock)


def whole(model: torch.nn.Module, seconds: Mapping[str, float], *, clock: Callable[[], float]) -> float:
    """A whole call over as many passes of the trunk; what a call of one step takes beyond that step is paid once."""
    call = Timed(lambda: visualize(model, LAYER, range(UNITS), size=SIZE, steps=1, normalize="imagenet"))
    once = best({"call": call}, rounds=3, clock=clock)["call"] - seconds["many"]
    return (STEPS * seconds["many"] + once) / (STEPS * seconds["trunk"])


def told(where: str, seconds: Mapping[str, float]) -> None:
    """Print what was measured."""
    print(
        f"{where}: a step of {UNITS} units {seconds['many'] * 1e3:.0f} ms, the trunk alone {seconds['trunk'] * 1e3:.0f}"
    )
    each = seconds["many"] / UNITS * 1e3
    print(f"  a unit and step {each:.2f} ms among {UNITS}, {seconds['one'] * 1e3:.2f} alone")


def waited() -> float:
    """The time when the GPU has done all it was asked."""
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Measure, print and settle."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(machine())
    claims = Claims()
    model = open_model(MODEL)
    cpu = torch.device("cpu")
    torch.set_num_threads(1)
    found = [measured(model, cpu, rounds=rounds, clock=time.process_time)]
    told("one thread", found[0])
    cost = whole(model, found[0], clock=time.process_time)
    claims.check(f"a call takes {cost:.3f} of the trunk's own time, less than {MOST}", cost < MOST)
    torch.set_num_threads(2)
    found.append(measured(model, cpu, rounds=min(rounds, 3), clock=time.perf_counter))
    told("two threads", found[1])
    among = min(seconds["many"] for seconds in found) / UNITS
    alone = min(seconds["one"] for seconds in found)
    claims.check(f"a unit takes {among / alone:.3f} of its time alone, 1 or less", among <= alone)
    if torch.cuda.is_available():
        device = torch.device("cuda")
        seconds = measured(model.to(device), device, rounds=rounds, clock=waited)
        told(torch.cuda.get_device_name(), seconds)
        cost = whole(model, seconds, clock=waited)
        claims.check(f"on the GPU a call takes {cost:.3f} of the trunk's own time, less than {MOST}", cost < MOST)
    else:
        print("no GPU here")
    claims.settle()


if __name__ == "__main__":
    main()
