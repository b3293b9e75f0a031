from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from weightatlas.degeneracy.accumulating import unfolding
from weightatlas.degeneracy.accumulating.unfolding import Form, activation_columns, gradient_columns

FORM = Form("convolution", 2, False, (3, 2), (2, 1), (1, 2), ((1, 1), (0, 0)))


@pytest.mark.parametrize("size", [1, 600, 2**22])
def test_windows_times_weights_are_the_convolution(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfolding, "CHUNK_BYTES", size)
    monkeypatch.setattr(unfolding, "FEWEST_ROWS", 1)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 4, 7, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 2, 3, 2, generator=generator, dtype=torch.float64)
    wanted = functional.conv2d(inputs, weight, None, (2, 1), (1, 0), (1, 2), 2)
    parts = [
        torch.bmm(weight.view(2, 3, -1), columns[:, :-1]) for columns in activation_columns(FORM, inputs, constant=True)
    ]
    assert torch.allclose(torch.cat(parts, 2), wanted.view(3, 2, 3, -1).permute(1, 2, 0, 3).reshape(2, 3, -1))
    assert (len(parts) > 3) == (size < 2**22)
    assert max(part.shape[2] for part in parts) * 2 * 13 * 8 <= max(size, 2 * 13 * 8 * wanted.shape[3])


def test_the_constant_is_1_and_the_type_is_the_one_asked_for() -> None:
    for form, inputs in ((FORM, torch.randn(2, 4, 5, 5)), (Form("linear"), torch.randn(2, 3, 4))):
        for columns in activation_columns(form, inputs, constant=True, dtype=torch.float32):
            assert columns.dtype == torch.float32
            assert (columns[:, -1] == 1).all()


@pytest.mark.parametrize("size", [1, 2**22])
def test_gradients_of_maps_are_columns_by_group(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfolding, "CHUNK_BYTES", size)
    gradient = torch.randn(3, 6, 2, 2)
    found = torch.cat(list(gradient_columns(FORM, gradient)), 2)
    assert torch.equal(found.float(), gradient.view(3, 2, 3, 4).permute(1, 2, 0, 3).reshape(2, 3, 12))
