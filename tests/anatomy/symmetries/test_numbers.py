from __future__ import annotations

import pytest
import torch

from weightatlas.anatomy.symmetries.numbers import SMALL, redrawn, stirred


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("level", "about"), [(1.0, 1.0), (-3.0, -3.0), (1e-6, 0.5), (-1e-6, -0.5)])
def test_a_constant_is_drawn_about_its_level_and_never_near_0(level: float, about: float) -> None:
    found = stirred(torch.full((1000,), level), generator())
    assert found.unique().numel() == 1000
    assert float(found.mean()) == pytest.approx(about, rel=0.05)
    assert float(found.abs().min()) >= abs(about) / 2


def test_zeros_are_drawn_about_0() -> None:
    found = stirred(torch.zeros(1000), generator())
    assert float(found.std()) == pytest.approx(SMALL, rel=0.1)


def test_what_is_not_constant_or_no_number_stays() -> None:
    for one in (
        torch.tensor([1.0, 2.0]),
        torch.zeros(3, dtype=torch.int64),
        torch.tensor(1.0),
        torch.full((3,), -torch.inf),
        "text",
        None,
    ):
        assert stirred(one, generator()) is one
        assert redrawn(one, generator()) is one or torch.is_floating_point(one)


def test_other_numbers_have_the_size_of_the_first_and_both_signs() -> None:
    given = torch.cat([torch.zeros(500), torch.full((500,), -4.0)]).bfloat16()
    found = redrawn(given, generator())
    assert found.dtype == torch.float32
    assert float(found.mean()) == pytest.approx(0, abs=0.3)
    assert float(found.square().mean()) == pytest.approx(8, rel=0.1)
    assert found.unique().numel() == 1000, "no unit is dead, none equal to another"


def test_a_constant_below_0_gets_both_signs() -> None:
    found = redrawn(torch.full((1000,), -50.0), generator())
    assert float((found > 0).double().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(redrawn(torch.ones(1000), generator()).min()) >= 0.5


def test_what_is_nowhere_below_0_stays_so() -> None:
    given = torch.tensor([0.25, 1.0, 100.0]).repeat(100)
    found = redrawn(given, generator())
    assert set(found.tolist()) == {0.25, 1.0, 100.0}
    assert not torch.equal(found, given)


def test_masks_stay() -> None:
    mask = torch.tensor([0.0, -torch.inf])
    assert redrawn(mask, generator()) is mask
