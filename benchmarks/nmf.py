"""Batched one-sided NMF against a plain loop over scikit-learn's NMF(3), at the same number of threads.

`python benchmarks/nmf.py [--quick]`: 512 units of 256 x 5 x 5 (64 with --quick), random and with planted bands. Exits 1
if a claim of the documentation fails. Each side may use one thread, then all: the loop for its linear algebra. A loop
that shares units among threads is printed too, and nothing is claimed of it.
"""

from __future__ import annotations

import argparse
import warnings
from typing import TYPE_CHECKING

import joblib
import numpy as np
from measure import Claims, interleaved, machine
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from weightatlas.banding.nmf import one_sided_nmf
from weightatlas.banding.score import score_slides

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray

CHANNELS, SIDE = 256, 5
FASTER = 15


def kernels(kind: str, units: int) -> Array:
    """Kernels (units, channels, taps): Gaussian, or constant along x with a random quadratic profile along y."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((units, CHANNELS, SIDE, SIDE), dtype=np.float32)
    if kind == "planted":
        y = np.linspace(-1, 1, SIDE)
        profiles = rng.standard_normal((units, CHANNELS, 3)) @ np.stack([np.ones(SIDE), y, y**2 - 0.5])
        noise = (profiles[..., None] + 0.6 * noise).astype(np.float32)
    return noise.reshape(units, CHANNELS, SIDE * SIDE)


def one_sided(weights: Array) -> Array:
    """[relu(w), relu(-w)], (units, taps, 2 channels)."""
    taps_first = np.swapaxes(weights, 1, 2)
    return np.concatenate([np.maximum(taps_first, 0), np.maximum(-taps_first, 0)], axis=2)


def factorize(matrix: Array) -> tuple[Array, float]:
    """One unit by scikit-learn: its spatial factors and its error."""
    model = NMF(3, random_state=0)
    return model.fit_transform(matrix), model.reconstruction_err_


def plain_loop(matrices: Array, threads: int) -> Callable[[], list[tuple[Array, float]]]:
    """Unit after unit; linear algebra may use the threads."""

    def loop() -> list[tuple[Array, float]]:
        with threadpool_limits(threads):
            return [factorize(matrix) for matrix in matrices]

    return loop


def threaded_loop(matrices: Array, threads: int) -> Callable[[], list[tuple[Array, float]]]:
    """Units shared among threads, linear algebra with one each."""

    def loop() -> list[tuple[Array, float]]:
        with threadpool_limits(1):
            answers: list[tuple[Array, float]] = joblib.Parallel(threads, backend="threading")(
                joblib.delayed(factorize)(matrix) for matrix in matrices
            )
        return answers

    return loop


def banding(spatial: Array) -> float:
    """B of slides from spatial factors (units, taps, 3)."""
    return score_slides(spatial.reshape(len(spatial), SIDE, SIDE, 3), flips=9).score


def compare(kind: str, units: int, repeats: int, claims: Claims) -> None:
    """Time both on one set of kernels and check the claims."""
    weights = kernels(kind, units)
    matrices = one_sided(weights)
    cores = joblib.cpu_count()
    print(f"\n{kind}: {units} units of {CHANNELS} x {SIDE} x {SIDE}, median of {repeats} interleaved rounds")
    for threads in sorted({1, cores}):
        routines: dict[str, Callable[[], object]] = {
            "plain loop": plain_loop(matrices, threads),
            "weightatlas": lambda threads=threads: one_sided_nmf(weights, jobs=threads),  # type: ignore[misc]
        }
        if threads > 1:
            routines["loop in threads"] = threaded_loop(matrices, threads)
        seconds = interleaved(routines, repeats=repeats)
        ours, plain = seconds["weightatlas"], seconds["plain loop"]
        print(f"  {threads} thread(s): scikit-learn {plain:.3f} s, weightatlas {ours:.3f} s")
        if threads > 1:
            shared = seconds["loop in threads"]
            print(f"  scikit-learn with units shared among threads: {shared:.3f} s, {shared / ours:.1f} times ours")
        claims.check(
            f"{plain / ours:.1f} times faster on {threads} thread(s), at least {FASTER}", plain >= FASTER * ours
        )
    answers = plain_loop(matrices, 1)()
    spatial, errors = np.array([answer[0] for answer in answers]), np.array([answer[1] for answer in answers])
    found = one_sided_nmf(weights)
    mean, worst = found.error.mean() / errors.mean() - 1, (found.error / errors).max() - 1
    difference = banding(found.spatial) - banding(spatial)
    claims.check(f"mean error {mean:+.4%} of scikit-learn's, within .1 %", abs(mean) <= 1e-3)
    claims.check(f"worst unit's error {worst:+.3%}, no more than 1 % above", worst <= 0.01)
    claims.check(f"B of the slides differs by {difference:+.4f}, within .01", abs(difference) <= 0.01)


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="64 units")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(machine())
    claims = Claims()
    for kind in ("random", "planted"):
        compare(kind, units=64 if quick else 512, repeats=5, claims=claims)
    claims.settle()


if __name__ == "__main__":
    main()
