"""The claim: random weights with unequal unit norms show hidden branches in 5 % of draws at most, planted ones do.

`python benchmarks/hidden_branches.py [--quick]` prints Markdown: how often `implicit` rejects at 5 % on weights without
branches, under both of its nulls and several laws, sizes and methods, with the interval that holds its level in 95 of
100 such tables; and how often it finds planted branches. 1,000 draws a row for the level, 200 for planted branches (a
tenth with --quick). Exits 1 if the level of the default is not held.
"""

from __future__ import annotations

import argparse
import zlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from measure import Claims, machine
from scipy.stats import binom, binomtest
from sklearn.metrics import adjusted_rand_score

from weightatlas.branching.hidden.hidden_matrix import NULLS, Method
from weightatlas.branching.implicit import implicit
from weightatlas.parallel import parallel_map

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray

SHUFFLES: Final = 99
LEVEL: Final = 0.05
SIGMA: Final = 0.7


@dataclass(frozen=True)
class Law:
    """How random weights are drawn.

    Attributes:
        units: of the first layer.
        next_units: of the second.
        law: "Gaussian", "Laplace" or "uniform" weights.
        taps: of each kernel.
        sigma: of the logarithm of the units' norms, on both sides.
        spread: of the logarithm of each unit's exponent: units differ in how unequal their weights are.
        zeros: share of kernels that are pruned at random.
        planted: how much stronger connections within each of two branches are.
        method: of `implicit`.
    """

    units: int
    next_units: int
    law: str = "Gaussian"
    taps: int = 1
    sigma: float = SIGMA
    spread: float = 0.0
    zeros: float = 0.0
    planted: float = 0.0
    method: Method = "balanced"

    @property
    def name(self) -> str:
        """What sets it apart, for a row."""
        side = round(self.taps**0.5)
        parts = [f"{self.law}, {side}x{side}, norms {self.sigma:g}"]
        parts += [f"spread unequally {self.spread:g}"] * (self.spread > 0)
        parts += [f"{self.zeros:.0%} pruned"] * (self.zeros > 0)
        parts += [f"planted {self.planted:.0%}"] * (self.planted > 0)
        return ", ".join(parts)


def weights(law: Law, generator: np.random.Generator) -> Array:
    """The second layer, (next_units, units, 1, taps)."""
    shape = (law.next_units, law.units, 1, law.taps)
    drawn: Array = {
        "Gaussian": lambda: generator.standard_normal(shape),
        "Laplace": lambda: generator.laplace(size=shape),
        "uniform": lambda: generator.uniform(-1, 1, size=shape),
    }[law.law]()
    if law.spread:
        exponents = np.exp(law.spread * generator.standard_normal((law.next_units, 1, 1, 1)))
        drawn = np.abs(drawn) ** exponents
    if law.planted:
        same = (np.arange(law.next_units)[:, None] + np.arange(law.units)) % 2 == 0
        drawn *= 1 + law.planted * same[:, :, None, None]
    if law.zeros:
        drawn *= generator.random(shape[:2])[:, :, None, None] >= law.zeros
    for axis in (0, 1):
        sizes = np.exp(law.sigma * generator.standard_normal(shape[axis]))
        drawn *= np.expand_dims(sizes, tuple(other for other in range(4) if other != axis))
    return drawn


def one_draw(law: Law, nulls: Sequence[str], seed: int) -> tuple[list[float], float]:
    """Whether each null rejects (NaN where it has no test), and the adjusted Rand index of the first axis's sign."""
    generator = np.random.default_rng((zlib.crc32(repr(law).encode()), seed))
    second = weights(law, generator)
    first = np.empty((law.units, 1))
    rejected = []
    for null in NULLS:
        if null in nulls:
            found = implicit(first, second, method=law.method, null=null, axes=1, shuffles=SHUFFLES, seed=seed)
            p_value = found.p_values[0]
            rejected.append(float(p_value <= LEVEL) if np.isfinite(p_value) else np.nan)
    known = np.isfinite(found.left[:, 0])
    side = found.left[known, 0] > 0
    return rejected, float(adjusted_rand_score(np.arange(law.units)[known] % 2, side))


def rates(law: Law, draws: int, nulls: Sequence[str] = NULLS) -> tuple[list[float], float]:
    """Share of draws that each null rejects, and the mean adjusted Rand index."""
    answers = parallel_map(partial(one_draw, law, nulls), range(draws), backend="loky")
    rejected = np.mean([answer[0] for answer in answers], axis=0)
    return rejected.tolist(), float(np.mean([answer[1] for answer in answers]))


SIZES: Final = ((8, 8), (16, 16), (64, 16), (64, 64), (64, 192), (128, 128), (256, 96))

LEVELS: Final = (
    *(Law(*size) for size in SIZES),
    Law(64, 16, taps=9),
    *(Law(64, 16, law, taps) for law in ("Laplace", "uniform") for taps in (1, 9)),
    *(Law(64, 16, sigma=sigma) for sigma in (0.0, 1.2)),
    Law(64, 64, taps=9),
    *(Law(*size, spread=0.4) for size in ((16, 16), (64, 16), (64, 64))),
    Law(64, 64, zeros=0.5),
    Law(64, 64, zeros=0.9),
    *(Law(64, 16, method=method) for method in ("correspondence", "centred")),
    *(Law(64, 16, spread=0.4, method=method) for method in ("correspondence", "centred")),
)

POWERS: Final = tuple(
    Law(*size, taps=taps, planted=planted)
    for size in ((16, 16), (64, 16), (64, 64), (128, 128))
    for planted in (0.15, 0.30)
    for taps in (1, 9)
)


def print_head(*names: str) -> None:
    """Print the head of a Markdown table."""
    print(f"| {' | '.join(names)} |\n| {' | '.join(['---'] * len(names))} |", flush=True)


def interval(share: float, draws: int) -> str:
    """The exact 95 % interval of a share of so many draws."""
    if not np.isfinite(share):
        return "no test"
    found = binomtest(round(share * draws), draws).proportion_ci()
    return f"{share:.3f} ({found.low:.3f} to {found.high:.3f})"


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100 draws")
    draws, planted_draws = (100, 20) if parser.parse_args().quick else (1000, 200)
    print(machine())
    claims = Claims()
    # So many rejections a valid test exceeds in one table of a hundred, over all its rows.
    most = binom.ppf(1 - 0.01 / len(LEVELS), draws, LEVEL) / draws
    print(f"\nRejected at 5 % without branches, {draws} draws, {SHUFFLES} matrices of the null (95 % interval):\n")
    print_head("units", "method", "weights", *NULLS)
    held: list[float] = []
    for law in LEVELS:
        (signs, shuffled), _ = rates(law, draws)
        held += [signs] if np.isfinite(signs) else []
        row = (
            f"{law.units} x {law.next_units}",
            law.method,
            law.name,
            interval(signs, draws),
            interval(shuffled, draws),
        )
        print(f"| {' | '.join(row)} |", flush=True)
    print(
        f"\nPlanted branches found at 5 %, {planted_draws} draws, and adjusted Rand index of the first axis's sign:\n"
    )
    print_head("units", "weights", *NULLS, "recovered")
    for law in POWERS:
        (signs, shuffled), index = rates(law, planted_draws)
        figures = f"{signs:.3f} | {shuffled:.3f} | {index:.2f}"
        print(f"| {law.units} x {law.next_units} | {law.name} | {figures} |", flush=True)
    print()
    claims.check(f"random signs reject in at most {max(held):.3f} of draws, no more than {most:.3f}", max(held) <= most)
    claims.settle()


if __name__ == "__main__":
    main()
