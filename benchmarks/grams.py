"""Gram matrices of activations against plain products of square matrices, in the same type and run.

`python benchmarks/grams.py [--repeats 5] [--quick]`: the activations of linear layers and the windows of convolutions,
float32 as networks give them, are summed in float64 and in compensated float32. The rate counts 2 · positions · width²
operations, as a product of two matrices has them, though the sum leaves out what symmetry gives. Laying out windows and
changing the type are in its time. Printed beside it: what is lost by compensated sums, what a second look at small
directions takes, and what activations are along the null vectors of either. Exits 1 if a claim of the documentation
fails.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import torch
from measure import Claims, interleaved, machine

from weightatlas.degeneracy.accumulating.products import LINEAR
from weightatlas.degeneracy.accumulating.sums import GramSum, Precision, TriangleSum
from weightatlas.degeneracy.accumulating.unfolding import Form, activation_columns
from weightatlas.degeneracy.spectra import Suspects, settled

SQUARE = 1536
LEAST = 0.5
FEWEST = 1024
PRECISIONS: dict[Precision, torch.dtype] = {"float64": torch.float64, "compensated": torch.float32}
WIDTHS = (255, 511, 1023, 3071)
CHANNELS = ((16, 32), (32, 16), (64, 8), (128, 16))


def total(form: Form, inputs: torch.Tensor, precision: Precision) -> GramSum:
    """The Gram matrix of some activations and a constant."""
    width = inputs.shape[-1] if form.kind == "linear" else inputs.shape[1] * form.size
    made = GramSum(1, width + 1, precision=precision)
    for columns in activation_columns(form, inputs, constant=True, dtype=made.dtype):
        made.add(columns)
    return made


def product(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two square matrices, and where their product goes."""
    left, right, there = (torch.randn(SQUARE, SQUARE, dtype=dtype) for _ in range(3))
    return left, right, there


def compare(name: str, form: Form, inputs: torch.Tensor, repeats: int, claims: Claims) -> None:
    """Time the sums of one layer beside plain products."""
    sums: dict[Precision, GramSum] = {}
    for precision, dtype in PRECISIONS.items():
        left, right, there = product(dtype)

        def summed(precision: Precision = precision) -> None:
            sums[precision] = total(form, inputs, precision)

        found = interleaved({"sum": summed, "product": partial(torch.mm, left, right, out=there)}, repeats=repeats)
        width = sums[precision].matrix().shape[1]
        rate = 2 * sums[precision].positions * width**2 / found["sum"]
        square = 2 * SQUARE**3 / found["product"]
        claims.check(
            f"{name}, width {width}, {precision}: {rate / 1e9:.1f} of {square / 1e9:.1f} · 10⁹/s, "
            f"{rate / square:.2f}, at least {LEAST}",
            rate >= LEAST * square,
        )
    exact, other = (sums[precision].matrix() for precision in PRECISIONS)
    print(f"  compensated sums are off by {float((exact - other).abs().max() / exact.abs().max()):.1e} of the largest")


def nulls(rows: int, width: int) -> None:
    """What activations of half the rank are along the null vectors of their Gram matrix, and of the second look.

    The other half's singular values fall to 10⁻⁶ of the largest.
    """
    scales = torch.logspace(0, -6, width // 2, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(width, width // 2, dtype=torch.float64)).Q.T
    inputs = (torch.randn(rows, width // 2, dtype=torch.float64) * scales) @ basis
    found = GramSum(1, width)

    def first() -> None:
        for columns in activation_columns(LINEAR, inputs, constant=False):
            found.add(columns)

    def second() -> list[torch.Tensor | None]:
        triangle = TriangleSum(suspects)
        for columns in activation_columns(LINEAR, inputs, constant=False):
            triangle.add(columns)
        return triangle.factors

    first()
    suspects = [Suspects.of(found.matrix()[0])]
    seconds = interleaved({"first": first, "second": second}, repeats=1)
    factor = settled(suspects, second(), rows, floor=0.0)[0]
    largest = inputs.norm(dim=1).max().item()
    alone = suspects[0].leaning[:, suspects[0].count - width // 2 :]
    gram_alone = np.abs(inputs.numpy() @ alone.numpy()).max() / largest
    looked_at = np.abs(inputs.numpy() @ factor.vectors[:, -(width // 2) :]).max() / largest
    print(f"\nNull vectors of {rows:,} activations of width {width} and rank {width // 2}")
    print(f"  activations along them: {looked_at:.1e} of the longest; along those of the matrix alone {gram_alone:.1e}")
    before, after = (
        suspects[0].small[-(width // 2)] / suspects[0].large[0],
        factor.values[width // 2] / factor.values[0],
    )
    print(f"  their largest singular value: {after:.1e} of the largest of all; by the matrix alone {before:.1e}")
    print(f"  the second look takes {seconds['second'] / seconds['first']:.1f} times the first")


def main() -> None:
    """Compare at linear and convolutional widths."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round, fewer positions")
    options = parser.parse_args()
    repeats, size = (1, 0.2) if options.quick else (options.repeats, 1.0)
    torch.manual_seed(0)
    print(f"{machine()}, {torch.get_num_threads()} threads")
    claims = Claims()
    print("\nLinear layers")
    for width in WIDTHS:
        rows = max(FEWEST, int(size * 2e9 / width**2))
        compare(f"{rows:,} positions", LINEAR, torch.randn(rows, width), repeats, claims)
    print("\nConvolutions, 3 × 3")
    form = Form("convolution", 1, False, (3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)))
    for channels, side in CHANNELS:
        count = max(1, int(size * 2e9 / (9 * channels) ** 2 / side**2))
        inputs = torch.randn(count, channels, side, side)
        compare(f"{count} images, {channels} channels of {side} × {side}", form, inputs, repeats, claims)
    nulls(int(20_000 * size), 512)
    claims.settle()


if __name__ == "__main__":
    main()
