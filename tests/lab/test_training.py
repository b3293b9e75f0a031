from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.lab import DivergedError, Recipe, accuracy, train

Batch = tuple[torch.Tensor, torch.Tensor]


def separable(count: int, *, seed: int = 0) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(count):
        targets = torch.randint(3, (32,), generator=generator)
        inputs = torch.eye(3)[targets] * 3 + torch.randn(32, 3, generator=generator) * 0.3
        batches.append((inputs, targets))
    return batches


def linear(*, seed: int = 0) -> nn.Linear:
    model = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)))
    return model


def cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def one_cycle_by_hand(weight: np.ndarray, batches: list[Batch], *, steps: int, peak: float, decay: float) -> np.ndarray:
    """AdamW on softmax regression, every formula written out; warm-up over 15 % of the steps."""
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    warm = 0.15 * steps - 1
    first_power = 1.0
    for step in range(steps):
        if step <= warm:
            rate, beta = cosine(peak / 25, peak, step / warm), cosine(0.95, 0.85, step / warm)
        else:
            share = (step - warm) / (steps - 1 - warm)
            rate, beta = cosine(peak, peak / 25e4, share), cosine(0.85, 0.95, share)
        inputs, targets = (array.numpy() for array in batches[step % len(batches)])
        logits = inputs.astype(float) @ weight.T
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        gradient = (shares - np.eye(3)[targets]).T @ inputs / len(inputs)
        mean = beta * mean + (1 - beta) * gradient
        square = 0.999 * square + 0.001 * gradient**2
        first_power = beta ** (step + 1)
        corrected = np.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8
        weight = weight * (1 - rate * decay) - rate * mean / (1 - first_power) / corrected
    return weight


def test_it_takes_the_steps_of_adamw_under_one_cycle() -> None:
    model, batches = linear(), separable(4)
    start = model.weight.detach().double().numpy().copy()
    train(model, batches, steps=20, learning_rate=0.05, weight_decay=0.1)
    expected = one_cycle_by_hand(start, batches, steps=20, peak=0.05, decay=0.1)
    np.testing.assert_allclose(model.weight.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_it_learns_what_can_be_learnt_and_says_how_well() -> None:
    run = train(linear(), separable(10), steps=60, learning_rate=0.1, evaluate=separable(4, seed=1))
    assert run.accuracy == 1.0
    assert run.losses.shape == (60,)
    assert run.losses[-10:].mean() < 0.1 < run.losses[0]
    assert run.recipe == Recipe(60, learning_rate=0.1)
    assert run.seconds is not None
    assert run.seconds > 0


def test_the_first_loss_is_that_of_the_untrained_model() -> None:
    model = nn.Linear(3, 4)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    run = train(model, separable(1), steps=2)
    assert run.losses[0] == pytest.approx(math.log(4))


def test_the_seed_fixes_dropout_and_leaves_the_global_generator_alone() -> None:
    models = [nn.Sequential(nn.Dropout(), linear()) for _ in range(3)]
    before = torch.random.get_rng_state()
    for model, seed in zip(models, (1, 1, 2), strict=True):
        train(model, separable(3), steps=6, seed=seed)
    assert torch.equal(torch.random.get_rng_state(), before)
    first, again, other = (model.get_parameter("1.weight") for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_batches_are_gone_through_again_when_they_end() -> None:
    short, long = linear(), linear()
    train(short, separable(2), steps=6)
    train(long, separable(2) * 3, steps=6)
    assert torch.equal(short.weight, long.weight)


def test_progress_hears_of_every_step_and_the_model_ends_in_evaluation_mode() -> None:
    heard: list[tuple[int, int]] = []
    model = linear()
    train(model, separable(1), steps=3, progress=lambda done, total, _label: heard.append((done, total)))
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert not model.training


def test_a_loss_that_is_no_number_stops_the_run_and_says_where() -> None:
    batches = separable(3)
    batches[1][0][0, 0] = float("nan")
    model = linear()
    with pytest.raises(DivergedError, match=r"the loss is nan at step 2 of 9; .*lower the learning rate \(0.003\)"):
        train(model, batches, steps=9)
    assert bool(model.weight.isfinite().all()), "the update that would have spoilt the weights was not made"


def test_batches_that_run_out_are_an_error_not_a_shorter_run() -> None:
    with pytest.raises(ValueError, match="not a one-shot iterator"):
        train(linear(), iter(separable(3)), steps=6)
    with pytest.raises(ValueError, match="are empty"):
        train(linear(), [], steps=6)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.15), (5, 0.0), (5, 1.0)])
def test_bad_options_are_refused(steps: int, warmup: float) -> None:
    with pytest.raises(ValueError, match="steps >= 2 and warmup between 0 and 1"):
        train(linear(), separable(1), steps=steps, warmup=warmup)


@pytest.mark.parametrize("steps", range(2, 9))
def test_short_runs_have_a_schedule_too(steps: int) -> None:
    assert np.isfinite(train(linear(), separable(2), steps=steps).losses).all()


def test_accuracy_counts_images_not_batches_and_puts_the_mode_back() -> None:
    model = nn.Sequential(nn.Dropout(0.99), nn.Identity()).train()
    right = (torch.eye(3), torch.tensor([0, 1, 2]))
    wrong = (torch.eye(3)[:1], torch.tensor([2]))
    assert accuracy(model, [right, wrong]) == 0.75
    assert model.training
    with pytest.raises(ValueError, match="no batch"):
        accuracy(model, [])
