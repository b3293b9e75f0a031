"""Directions followed by a factor of the Jacobian, beside all of them as one dense matrix."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from weightatlas.degeneracy.ranking import following
from weightatlas.degeneracy.ranking.following import follow_all

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBERS, RANK = 120, 70


class Pieces:
    """Directions in pieces, as `FreeDirections` gives them."""

    def __init__(self, *pieces: torch.Tensor) -> None:
        self.pieces = pieces

    def rows(self, _: object) -> Iterator[torch.Tensor]:
        return iter(self.pieces)


def followed(factor: torch.Tensor, *pieces: torch.Tensor) -> following.Followed:
    network: Any = SimpleNamespace(size=factor.shape[1])
    found: Any = Pieces(*pieces)
    largest = float(torch.linalg.matrix_norm(factor, 2))
    return follow_all(network, found, factor, largest=largest, tolerance=1e-9)


def jacobian_with_dead_columns(dead: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(RANK, NUMBERS, generator=generator, dtype=torch.float64)
    matrix[:, dead] = 0
    return matrix


def units(columns: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Directions of a few numbers, 0 elsewhere."""
    rows = torch.zeros(count, NUMBERS, dtype=torch.float64)
    rows[:, columns] = torch.randn(count, len(columns), generator=generator, dtype=torch.float64)
    return rows


@pytest.mark.parametrize("at_once", [1, 512])
@pytest.mark.parametrize("is_dense", [False, True])
def test_the_union_is_the_free_part_of_the_span(
    at_once: int, monkeypatch: pytest.MonkeyPatch, *, is_dense: bool
) -> None:
    """Of pieces that overlap, of directions with few numbers and with many, and of more than there are numbers."""
    monkeypatch.setattr(following, "BLOCK", at_once)
    generator = torch.Generator().manual_seed(1)
    dead = torch.arange(0, 30)
    factor = jacobian_with_dead_columns(dead)
    pieces = [units(dead[start : start + 5], 9, generator) for start in range(0, 20, 2)]
    if is_dense:
        pieces += [units(dead, 150, generator)]
    every = torch.cat(pieces)
    found = followed(factor, *pieces)
    assert found.count == len(every)
    assert found.union == int(torch.linalg.matrix_rank(every)) == (30 if is_dense else 23)
    assert found.largest < 1e-14


def test_what_moves_the_outputs_is_no_part_of_it() -> None:
    generator = torch.Generator().manual_seed(1)
    factor = jacobian_with_dead_columns(torch.arange(0, 30))
    free, other = units(torch.arange(0, 8), 6, generator), units(torch.arange(28, 33), 4, generator)
    found = followed(factor, free, other)
    assert found.union == 6 + 1
    moved = (factor @ (other / other.norm(dim=1, keepdim=True)).mT).norm(dim=0).max()
    assert found.largest == pytest.approx(float(moved / torch.linalg.matrix_norm(factor, 2)))


def test_nothing_to_follow_is_nothing() -> None:
    found = followed(jacobian_with_dead_columns(torch.arange(3)))
    assert (found.count, found.largest, found.union) == (0, 0.0, 0)
