from __future__ import annotations

import pytest
import torch

from weightatlas.degeneracy.wiring.masks import attended, attends_somewhere, both_attended


def test_added_numbers_hide_what_they_make_minus_infinite() -> None:
    assert attended(torch.tensor([0.0, -1e9, -torch.inf])).tolist() == [True, True, False]


def test_torchs_module_says_true_of_what_is_left_out() -> None:
    mask = torch.tensor([True, False])
    assert attended(mask).tolist() == [True, False]
    assert attended(mask, is_taken=False).tolist() == [False, True]


@pytest.mark.parametrize("heads", [0, 1, 3])
def test_both_masks_of_torchs_module_as_it_adds_them(heads: int) -> None:
    generator = torch.Generator().manual_seed(heads)
    own = (4, 5) if not heads else (2 * heads, 4, 5)
    mask, padding = (torch.rand(shape, generator=generator) > 0.5 for shape in (own, (2, 5)))
    found = both_attended(mask, padding)
    assert found is not None
    shown = found.expand(2, 4, 5) if not heads else found
    for place in range(len(shown)):
        example = place // max(1, heads)
        wanted = ~(mask if not heads else mask[place]) & ~padding[example]
        assert torch.equal(shown[place], wanted)


def test_no_mask_hides_nothing() -> None:
    assert both_attended(None, None) is None
    assert attends_somewhere(None)
    assert attends_somewhere(both_attended(None, torch.zeros(2, 5, dtype=torch.bool)))
    assert not attends_somewhere(both_attended(None, torch.ones(5, dtype=torch.bool)))
