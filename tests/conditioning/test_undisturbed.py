from __future__ import annotations

import pytest
import torch
from torch import nn

from weightatlas.conditioning.undisturbed import undisturbed


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_modes_buffers_and_random_numbers_are_as_they_were(*, training: bool, fails: bool) -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(), nn.BatchNorm1d(3))
    model[2].eval()  # a frozen norm
    state = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    outputs = []
    for _ in range(2):
        try:
            with undisturbed(model, training=training, seed=3):
                assert all(module.training is training for module in model.modules())
                outputs.append(model(torch.arange(12.0).reshape(4, 3)).detach())
                model(torch.zeros(4, 2 if fails else 3))
        except RuntimeError:
            assert fails
    assert [module.training for module in model] == [True, True, False]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.equal(*outputs), "the same seed drops the same"
