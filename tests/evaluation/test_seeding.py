from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weightatlas.conditioning.undisturbed import undisturbed
from weightatlas.evaluation.mean_loss import MeanLoss
from weightatlas.evaluation.seeding import seed_generators

if TYPE_CHECKING:
    import pytest

CPU = [torch.device("cpu")]


def test_the_same_seed_draws_the_same_as_torch_does() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = torch.rand(3)
        seed_generators(5, CPU)
        assert torch.equal(torch.rand(3), expected)
        seed_generators(6, CPU)
        assert not torch.equal(torch.rand(3), expected)


def test_of_a_gpu_only_the_networks_own_generator_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)]
    monkeypatch.setattr(torch.cuda, "default_generators", gpus)
    with torch.random.fork_rng(devices=[]):
        seed_generators(7, [*CPU, torch.device("cuda", 1)])
    assert [generator.initial_seed() for generator in gpus] == [1, 7]


def test_networks_on_the_processor_touch_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.manual_seed` would seed GPUs that nothing puts back."""

    def touched(_: int) -> None:
        raise AssertionError

    monkeypatch.setattr(torch.cuda, "manual_seed_all", touched)
    model = torch.nn.Linear(2, 2)
    with undisturbed(model, training=True, seed=0):
        model(torch.zeros(1, 2))
    MeanLoss(model, [(torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64))]).gradient()
