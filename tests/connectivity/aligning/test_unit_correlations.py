from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.connectivity.aligning.planted import network
from weightatlas.connectivity.aligning.unit_correlations import Correlation, carriers_of, unit_correlations


def batches(*shape: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(40, *shape, generator=generator), torch.zeros(40, dtype=torch.int64)) for _ in range(3)]


def test_correlations_over_batches_are_those_of_all_at_once() -> None:
    generator = np.random.default_rng(0)
    x, y = 1000 + generator.standard_normal((90, 3)), generator.standard_normal((90, 4))
    y[:, 2] = 3 * x[:, 1] - 1
    found = Correlation()
    for start in range(0, 90, 30):
        found.add(*(torch.from_numpy(one[start : start + 30]).float() for one in (x, y)))
    expected = np.corrcoef(x.T, y.T)[:3, 3:]
    assert found.matrix().numpy() == pytest.approx(expected, abs=2e-3)
    assert float(found.matrix()[1, 2]) == pytest.approx(1, abs=1e-3)


def test_units_that_never_vary_go_with_none() -> None:
    found = Correlation()
    found.add(torch.ones(10, 2), torch.randn(10, 3, generator=torch.Generator().manual_seed(0)))
    assert float(found.matrix().abs().max()) < 1e-3


def test_a_permuted_network_has_the_same_units_elsewhere() -> None:
    model, found = network("convolutional")
    a = model.state_dict()
    b = found.permute(a, planted := found.random(2))
    model.train()
    carriers = carriers_of(model, found)
    assert [carrier.path for carrier in carriers] == ["0", "3"], "the outputs stay"
    before = {name: tensor.clone() for name, tensor in a.items()}
    matrices = unit_correlations(model, a, b, carriers, batches(2, 6, 6), seed=0)
    for group, carrier in zip(found.groups, carriers, strict=True):
        same = matrices[carrier.path][planted[group.name], torch.arange(group.size)]
        assert same.numpy() == pytest.approx(1, abs=1e-3)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_layers_that_do_not_run_are_left_out() -> None:
    model, found = network("perceptron")
    carriers = carriers_of(model, found)
    model.forward = lambda x: x
    assert unit_correlations(model, model.state_dict(), model.state_dict(), carriers, batches(5), seed=0) == {}


def test_dropout_draws_the_same_for_both_and_the_users_generator_stays() -> None:
    model, found = network("perceptron")
    noisy = nn.Sequential(*model.children(), nn.Dropout(0.5))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    matrices = unit_correlations(
        noisy, noisy.state_dict(), noisy.state_dict(), carriers_of(noisy, found), batches(5), seed=0
    )
    assert torch.rand(1) == expected
    assert matrices["0"].diagonal().numpy() == pytest.approx(1, abs=1e-3)
