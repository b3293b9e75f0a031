from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.connectivity.aligning.planted import network, recovered
from weightatlas.anatomy.symmetry import symmetries
from weightatlas.connectivity.matching import match
from weightatlas.errors import NotFiniteError, SourceError


def blobs(examples: int = 256) -> tuple[torch.Tensor, torch.Tensor]:
    """Four clouds of points, two classes: not separable by a line."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 4, (examples,), generator=generator)
    centres = torch.tensor([[1.0, 1], [-1, -1], [1, -1], [-1, 1]])
    return centres[corner] + 0.3 * torch.randn(examples, 2, generator=generator), corner // 2


def trained(seed: int, *norm: nn.Module) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(2, 12), *norm, nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 2))
    inputs, targets = blobs()
    adam = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        adam.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(model(inputs), targets))
        adam.step()
    return model.eval()


@pytest.mark.parametrize("norm", [False, True])
def test_the_loss_at_the_midpoint_is_no_larger_than_by_weights_alone(norm: bool) -> None:
    first, second = (trained(seed, *([nn.BatchNorm1d(12)] if norm else [])) for seed in (1, 2))
    found = symmetries(first, torch.zeros(2, 2), verify=False)
    a, b = first.state_dict(), second.state_dict()
    inputs, targets = blobs()
    data = [(inputs[:128], targets[:128]), (inputs[128:], targets[128:])]
    first.train()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    matching, again = (
        match(first, a, b, found, method="straight-through", data=data, steps=40, seed=3) for _ in range(2)
    )
    assert torch.rand(1) == expected
    assert first.training
    assert all(torch.equal(tensor, a[name]) for name, tensor in first.state_dict().items())
    assert matching.losses.shape == (40,)
    assert matching.losses.tolist() == again.losses.tolist()
    assert matching.loss <= matching.loss_before
    middle = {name: (a[name] + tensor) / 2 for name, tensor in matching.align(b).items()}
    if not norm:
        second.load_state_dict(middle)
        with torch.no_grad():
            loss = nn.functional.cross_entropy(second(inputs), targets)
        assert float(loss) == pytest.approx(matching.loss, abs=1e-5)


def test_gradients_find_what_weights_do_not() -> None:
    """Of four pairs trained apart, some are better joined by gradients."""
    inputs, targets = blobs()
    gains = []
    for seed in range(4):
        first, second = trained(2 * seed), trained(2 * seed + 1)
        found = symmetries(first, torch.zeros(2, 2), verify=False)
        matching = match(
            first, first.state_dict(), second.state_dict(), found, method="straight-through",
            data=[(inputs, targets)], steps=60, restarts=1,
        )  # fmt: skip
        gains.append(matching.loss_before - matching.loss)
    assert min(gains) >= 0
    assert max(gains) > 1e-3


def test_a_planted_permutation_stays_found() -> None:
    model, found = network("perceptron")
    a = model.state_dict()
    b = found.permute(a, found.random(1))
    data = [(torch.randn(32, 5, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 3)]
    assert recovered(a, b, match(model, a, b, found, method="straight-through", data=data, steps=3))


def test_a_loss_that_is_not_finite_and_data_without_batches() -> None:
    model, found = network("perceptron")
    a = model.state_dict()
    bad = [(torch.full((4, 5), float("nan")), torch.zeros(4, dtype=torch.int64))]
    with pytest.raises(NotFiniteError, match="half way between the networks is not finite"):
        match(model, a, a, found, method="straight-through", data=bad, steps=2)
    with pytest.raises(ValueError, match="no example"):
        match(model, a, a, found, method="straight-through", data=[], steps=2)
    with pytest.raises(SourceError, match="cannot take inputs of float32"):
        match(model, a, a, found, method="straight-through", data=[(torch.zeros(4, 6), torch.zeros(4).long())])
    assert np.isnan(match(model, a, a, found).loss)
