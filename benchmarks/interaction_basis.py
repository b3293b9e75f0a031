"""The interaction basis of an MLP of 3072-100-100-10 units on 10,000 images: under 60 s on two cores.

What it cannot do without is measured beside it in the same run: the Gram matrix of the pixels and its eigenvectors.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from measure import Claims, machine
from torch import nn

from weightatlas.degeneracy.interaction_basis import interaction_basis

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.degeneracy.interaction_basis import InteractionBasis, Target
    from weightatlas.degeneracy.point_basis import PointBasis

SECONDS: Final = 60
"""The most that it may take."""

CORES: Final = 2
WIDTHS: Final = (3072, 100, 100, 10)


def network(widths: tuple[int, ...]) -> nn.Sequential:
    """ReLU layers with PyTorch's random weights."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def images(count: int, width: int) -> torch.Tensor:
    """Random images with a spectrum that falls as natural ones' do: amplitudes of 1 over frequency."""
    side = round((width / 3) ** 0.5)
    frequencies = torch.fft.fftfreq(side)
    radius = (frequencies[:, None] ** 2 + frequencies[None] ** 2).sqrt().clamp(min=1 / side)
    noise = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    shown: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(noise) / radius).real
    return shown


def seconds(routine: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    routine()
    return time.perf_counter() - start


def off(basis: PointBasis) -> tuple[float, float]:
    """How far both products are from what they must be, relative to the largest importance and to 1."""
    forth, back, importances = basis.to_basis[:-1, 1:], basis.from_basis[1:, :-1], basis.importances[1:]
    uncorrelated = np.abs(forth.T @ basis.gram @ forth - np.diag(importances)).max() / importances.max()
    assert basis.jacobian_gram is not None  # noqa: S101 - only the last point has none
    orthogonal = np.abs(back @ basis.jacobian_gram @ back.T - np.eye(len(back))).max()
    return float(uncorrelated), float(orthogonal)


def compare(target: Target, work: Callable[[], InteractionBasis], least: float, claims: Claims) -> None:
    """Time one form of the basis, and check the claims."""
    found: list[InteractionBasis] = []
    taken = seconds(lambda: found.append(work()))
    points = found[0].points[:-1]
    print(
        f"\n  Jacobians to the {target}: {', '.join(f'{each.kept} of {each.width}' for each in points)} directions kept"
    )
    claims.check(
        f"{taken:.1f} s on {CORES} cores, under {SECONDS} s; {taken / least:.1f} times the least", taken < SECONDS
    )
    worst = np.max([off(point) for point in points], axis=0)
    claims.check(f"both products hold to {worst[0]:.0e} and {worst[1]:.0e}, to 1e-8", bool((worst < 1e-8).all()))


def main() -> None:
    """Time the local and the global basis."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="an eighth of the images, a quarter of the pixels")
    quick = parser.parse_args().quick
    torch.set_num_threads(CORES)
    print(machine())
    widths = (WIDTHS[0] // 4, *WIDTHS[1:]) if quick else WIDTHS
    model, inputs = network(widths), images(1250 if quick else 10_000, widths[0])
    data = [(part, torch.zeros(len(part))) for part in torch.split(inputs, 500)]
    pixels = inputs.flatten(1).double()
    least = min(seconds(lambda: torch.linalg.eigh(pixels.T @ pixels)) for _ in range(2))  # the first one warms up
    print(f"\n{'-'.join(map(str, widths))}, {len(inputs)} images; pixels' Gram and eigenvectors alone: {least:.1f} s")
    claims = Claims()
    targets: tuple[Target, ...] = ("next", "output")
    for target in targets:
        compare(
            target, partial(interaction_basis, model, data, ["1", "3", "5", "output"], target=target), least, claims
        )
    claims.settle()


if __name__ == "__main__":
    main()
