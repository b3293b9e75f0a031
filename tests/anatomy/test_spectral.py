"""Spectral norms against a full decomposition, and the null of the stable rank against simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.anatomy.spectral import TOLERANCE, random_rank_spread, random_stable_rank, spectral_norm


@pytest.mark.parametrize("shape", [(5, 7), (200, 900), (900, 200), (300, 600), (700, 500)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_largest_singular_value_is_that_of_a_full_decomposition(shape: tuple[int, int], dtype: torch.dtype) -> None:
    # Independent entries are the hardest case: the largest singular values stand close together.
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(8)).to(dtype)
    expected = np.linalg.norm(matrix.double().numpy(), 2)
    found = spectral_norm(matrix, largest=float(matrix.abs().max().float()))
    assert found == pytest.approx(expected, rel=TOLERANCE)


def test_one_direction_is_found_in_noise() -> None:
    generator = torch.Generator().manual_seed(9)
    left, right = torch.randn(400, 1, generator=generator), torch.randn(1, 500, generator=generator)
    matrix = left / left.norm() @ right / right.norm() * 50 + torch.randn(400, 500, generator=generator) * 1e-3
    assert spectral_norm(matrix, largest=float(matrix.abs().max())) == pytest.approx(50, rel=1e-3)


def test_nothing_has_no_norm() -> None:
    assert spectral_norm(torch.zeros(4, 4), largest=0.0) == 0.0
    assert spectral_norm(torch.zeros(0, 4), largest=1.0) == 0.0


def simulated(rows: int, columns: int, *, tries: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    generator = np.random.default_rng(10)
    matrices = generator.standard_normal((tries, rows, columns))
    largest = np.linalg.eigvalsh(matrices @ matrices.transpose(0, 2, 1))[:, -1]
    return np.asarray((matrices**2).sum(axis=(1, 2)) / largest)


@pytest.mark.parametrize(
    ("shape", "tries"),
    [
        ((2, 2), 4000),
        ((3, 3), 4000),
        ((3, 200), 1000),
        ((8, 8), 2000),
        ((9, 9), 2000),
        ((9, 512), 300),
        ((32, 9), 1000),
        ((16, 64), 500),
        ((64, 64), 200),
        ((64, 576), 60),
        ((200, 150), 40),
    ],
)
def test_the_null_of_the_stable_rank_is_that_of_simulated_matrices(shape: tuple[int, int], tries: int) -> None:
    draws = simulated(*shape, tries=tries)
    assert random_stable_rank(*shape) == pytest.approx(draws.mean(), rel=0.02)
    assert random_rank_spread(*shape) == pytest.approx(draws.std() / draws.mean(), rel=0.4)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 500), (500, 1), (2, 3), (4096, 11008)])
def test_the_null_stays_between_one_and_the_rank(rows: int, columns: int) -> None:
    assert 1 <= random_stable_rank(rows, columns) <= min(rows, columns)
    assert random_stable_rank(rows, columns) == random_stable_rank(columns, rows)
    assert 0 <= random_rank_spread(rows, columns) < 1
