"""Tuning of all units of a first layer against a loop of scipy's curve_fit over units, at the same fit or better.

`python benchmarks/tuning.py [--quick]`: 64 units of 3 x 7 x 7 and of 3 x 11 x 11, planted Gabors in grey and in colour
under noise. The loop fits the same Gabor to the same map of each unit, from as many starts as are refined here, taken
from the same coarse grid. Exits 1 if a claim of the documentation fails.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
from measure import Claims, interleaved, machine
from scipy.optimize import curve_fit

from weightatlas.branching.kernels.colour import colour_axes
from weightatlas.branching.kernels.gabor import GaborModel
from weightatlas.branching.kernels.least_squares import explained_shares
from weightatlas.branching.kernels.noise import noise_axes, noise_fits
from weightatlas.branching.tuning import tuning

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray

UNITS = 64
STARTS = 3
SECONDS = 1.0
FASTER = 5


def kernels(side: int) -> Array:
    """Gabors (64, 3, side, side) of random shape, half of them in one colour, noise of a quarter of their spread."""
    rng = np.random.default_rng(0)
    x = np.arange(side) - (side - 1) / 2
    angles, phases = rng.uniform(0, np.pi, UNITS)[:, None, None], rng.uniform(0, 2 * np.pi, UNITS)[:, None, None]
    frequency = rng.uniform(0.8 / side, 0.35, UNITS)[:, None, None]
    along = np.cos(angles) * x + np.sin(angles) * x[:, None]
    envelope = np.exp(-(x**2 + x[:, None] ** 2) / (2 * (0.2 * side) ** 2))
    maps = envelope * np.cos(2 * np.pi * frequency * along + phases)
    colours = np.where(np.arange(UNITS)[:, None] % 2, np.ones(3), rng.normal(size=(UNITS, 3)))
    clean = maps[:, None] * colours[:, :, None, None]
    noisy: Array = clean + 0.25 * clean.std(axis=(1, 2, 3), keepdims=True) * rng.normal(size=clean.shape)
    return noisy


def gabor(pixels: Array, *parameters: float) -> Array:
    """A Gabor at pixels (2, n): x, y, angle, frequency, log widths, even and odd part."""
    x, y, angle, frequency, width, length, even, odd = parameters
    right, up = pixels[0] - x, pixels[1] - y
    along, across = np.cos(angle) * right + np.sin(angle) * up, np.cos(angle) * up - np.sin(angle) * right
    envelope = np.exp(-0.5 * ((along * np.exp(-width)) ** 2 + (across * np.exp(-length)) ** 2))
    waves = 2 * np.pi * frequency * along
    value: Array = envelope * (even * np.cos(waves) + odd * np.sin(waves))
    return value


def loop(weight: Array) -> Array:
    """Share of each kernel's energy that curve_fit's Gabor explains."""
    colour = colour_axes(weight)
    side = weight.shape[2]
    model = GaborModel(side, side)
    pixels = np.stack([model.x, model.y])
    grid = model.grid()
    low = [-side / 2, -side / 2, -np.inf, model.lowest, np.log(0.4), np.log(0.4), -np.inf, -np.inf]
    high = [side / 2, side / 2, np.inf, 0.5, np.log(2 * side), np.log(2 * side), np.inf, np.inf]
    best = np.zeros(len(weight))
    for unit, target in enumerate(colour.maps.reshape(len(weight), -1)):
        target = target / np.linalg.norm(target)  # noqa: PLW2901 - the same map at unit length
        shares = [explained_shares(model.basis(atoms), target[None])[0] for atoms in grid]
        order = np.argsort([-share.max() for share in shares])[:STARTS]
        for start in (grid[place][shares[place].argmax()] for place in order):
            inside = np.linalg.lstsq(model.basis(start[None])[0].T, target, rcond=None)[0]
            try:
                found, _ = curve_fit(gabor, pixels, target, [*start, *inside], bounds=(low, high), max_nfev=100)
            except RuntimeError:  # not converged in a hundred steps
                continue
            left = target - gabor(pixels, *found)
            best[unit] = max(best[unit], (1 - left @ left) * colour.shares[unit])
    return best


def first_call(weight: Array) -> float:
    """Seconds of a call that has to draw its null first."""
    noise_fits.cache_clear()
    noise_axes.cache_clear()
    start = time.perf_counter()
    tuning(weight)
    return time.perf_counter() - start


def compare(side: int, repeats: int, claims: Claims) -> None:
    """Time both on one layer and check the claims."""
    weight = kernels(side)
    print(f"\n{UNITS} units of 3 x {side} x {side}, median of {repeats} interleaved rounds")
    first = first_call(weight)
    routines: dict[str, Callable[[], object]] = {"tuning": lambda: tuning(weight), "loop": lambda: loop(weight)}
    seconds = interleaved(routines, repeats=repeats)
    ours, theirs = seconds["tuning"], seconds["loop"]
    explained, expected = tuning(weight).gabor, loop(weight)
    print(f"  curve_fit for Gabors alone {theirs:.2f} s; tuning, all of it, {ours:.3f} s; its first call {first:.3f} s")
    claims.check(f"all units in {ours:.3f} s, under {SECONDS:g} s", ours < SECONDS)
    claims.check(f"the first call, null included, in {first:.3f} s, under {SECONDS:g} s", first < SECONDS)
    claims.check(f"{theirs / ours:.1f} times faster, at least {FASTER}", theirs >= FASTER * ours)
    mean, worst = float((explained - expected).mean()), float((explained - expected).min())
    claims.check(f"mean R2 {explained.mean():.4f} against {expected.mean():.4f}, no worse by .001", mean >= -1e-3)
    claims.check(f"worst unit's R2 differs by {worst:+.4f}, no worse by .01", worst >= -0.01)


def main() -> None:
    """Run both sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one round")
    repeats = 1 if parser.parse_args().quick else 3
    print(machine())
    claims = Claims()
    for side in (7, 11):
        compare(side, repeats, claims)
    claims.settle()


if __name__ == "__main__":
    main()
