"""Learning coefficients under priors of several precisions: how far each is held, and what its own draws say of that.

`python benchmarks/localization.py [--localizations 1 10 100]`: a quadratic, powers, products of matrices (reduced-rank
regression of noise), softmax regression of 5 inputs on 3 classes, and a perceptron 64-16-16-10 after 600 steps on the
digits. The last has no known coefficient. Exits 1 if the default leaves a known one
by more than 10 %, or an estimate that is further below is not flagged.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

import torch
from measure import Claims
from torch import nn
from torch.nn import functional

from weightatlas.degeneracy.learning_coefficient import LOCALIZATION, learning_coefficient
from weightatlas.evaluation import open_data, open_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Case = tuple[str, float, nn.Module, list[tuple[torch.Tensor, torch.Tensor]], dict[str, Any]]

NEAR = 0.1
NOTHING = [(torch.zeros(3, 1), torch.zeros(3))]


class Potential(nn.Module):
    """Gives a function of its weights, whatever it is given."""

    def __init__(self, potential: Callable[..., torch.Tensor], *weights: torch.Tensor) -> None:
        super().__init__()
        self.potential = potential
        self.weights = nn.ParameterList(weights)

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        """The potential at its weights."""
        return self.potential(*self.weights)


def products(rank: int, copies: int) -> Potential:
    """Copies of |B A - T|^2 / 2, B (4, 2), A (2, 4), T with ones as its first so many singular values."""
    first = torch.zeros(2, 4, dtype=torch.float64)
    first[range(rank), range(rank)] = 1
    truth = first.T @ first
    weights = first.T.repeat(copies, 1, 1), first.repeat(copies, 1, 1)
    return Potential(lambda left, right: (left @ right - truth).square().sum() / 2, *weights)


def softmax_regression() -> tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    """At its minimum, on 600 examples of three classes that overlap."""
    torch.manual_seed(0)
    inputs = torch.randn(600, 5)
    targets = (inputs[:, :3] + 1.5 * torch.randn(600, 3)).argmax(1)
    model = nn.Linear(5, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call] # torch's own
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call] # torch's own
    return model, [(inputs, targets)]


def digits() -> tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    """A perceptron after 600 steps of Adam, and what it learnt from."""
    model = open_model("weightatlas:perceptron?inputs=64&hidden=16")
    model.requires_grad_(True)
    inputs, targets = (torch.cat(parts) for parts in zip(*open_data("digits?batch_size=64"), strict=True))
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(600):
        drawn = torch.randint(len(inputs), (64,))
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs[drawn]), targets[drawn])
        loss.backward()  # type: ignore[no-untyped-call] # torch's own
        optimizer.step()
    return model, [(inputs, targets)]


def cases() -> Iterator[Case]:
    """Name, known coefficient, network, data, options."""
    curvatures = torch.linspace(1, 4, 100, dtype=torch.float64)
    zeros = torch.zeros(200, dtype=torch.float64)
    options: dict[str, Any] = {"loss": lambda output, _: output, "chains": 2, "draws": 200, "burn_in": 600}
    bowl = Potential(lambda w: (curvatures * w.square()).sum() / 2, zeros[:100].clone())
    yield "quadratic", 50, bowl, NOTHING, options | {"nbeta": 1000.0}
    yield "fourth power", 50, Potential(lambda w: w.pow(4).sum(), zeros.clone()), NOTHING, options | {"nbeta": 1000.0}
    yield "sixth power", 100 / 3, Potential(lambda w: w.pow(6).sum(), zeros.clone()), NOTHING, options | {"nbeta": 1e3}
    for rank, known in enumerate((3.5, 5.0, 6.0)):
        yield f"products of rank {rank}", 32 * known, products(rank, 32), NOTHING, options | {"nbeta": 300.0}
    yield "softmax regression", 6, *softmax_regression(), {}
    yield "digits", math.nan, *digits(), {}


def main() -> None:
    """Print a row for each case and precision."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--localizations", type=float, nargs="+", default=[1.0, 10.0, 100.0])
    options = parser.parse_args()
    claims = Claims()
    far, silent = [], []
    print("| loss | known | localization | estimate | 95 % | sensitivity to the prior | distance² | flags |")
    print("|---|---:|---:|---:|---|---:|---:|---|")
    for name, known, model, data, given in cases():
        for localization in options.localizations:
            found = learning_coefficient(model, data, localization=localization, **given)
            sensitivity = f"{found.prior_sensitivity:.2f} ± {found.prior_sensitivity_error:.2f}"
            figures = f"{found.estimate:.3g} | {found.low:.3g} to {found.high:.3g} | {sensitivity}"
            said = "; ".join(flag.partition(",")[0].partition(":")[0] for flag in found.flags)
            distance = f"{found.distances.mean():.3g}"
            print(f"| {name} | {known:.3g} | {localization:g} | {figures} | {distance} | {said} |", flush=True)
            if localization == LOCALIZATION and abs(found.estimate / known - 1) > NEAR:
                far.append(name)
            if found.high < (1 - NEAR) * known and not any("held by the prior" in flag for flag in found.flags):
                silent.append(f"{name} at {localization:g}")
    claims.check(f"further than 10 % from the known coefficient at the default: {', '.join(far) or 'none'}", not far)
    claims.check(f"held down without a flag: {', '.join(silent) or 'none'}", not silent)
    claims.settle()


if __name__ == "__main__":
    main()
