from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from weightatlas.lab.published import PUBLISHED, Classification, PublishedRecipe


def linear(_side: int | None) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 2))


@pytest.fixture
def recipe() -> PublishedRecipe:
    return PublishedRecipe(
        name="line",
        method="bn",
        task=Classification(classes=2, size=2),
        model="a line",
        network=linear,
        conversion="bn",
        batch_size=4,
        images_per_device=1,
        learning_rate=0.5,
        epochs=4,
        milestones=(1, 3),
        input_size=(3, 2, 2),
        settings="here",
    )


def test_a_step_is_one_of_plain_momentum(recipe: PublishedRecipe) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    model = recipe.build(seed=3).double()
    assert torch.equal(torch.random.get_rng_state(), before)
    inputs, targets = recipe.task.example(4)
    batch = inputs.double(), targets
    weights = [p.detach().clone() for p in model.parameters()]
    velocity = [torch.zeros_like(weight) for weight in weights]
    optimizer = recipe.make_optimizer(model)
    for _ in range(3):
        twin = recipe.build(seed=3).double()
        with torch.no_grad():
            for parameter, value in zip(twin.parameters(), weights, strict=True):
                parameter.copy_(value)
        slow = recipe.task.loss(twin, batch)
        gradients = torch.autograd.grad(slow, list(twin.parameters()))
        velocity = [0.9 * old + grad + 1e-4 * w for old, grad, w in zip(velocity, gradients, weights, strict=True)]
        weights = [w - 0.5 * v for w, v in zip(weights, velocity, strict=True)]
        assert recipe.step(model, optimizer, batch) == pytest.approx(slow.item(), rel=1e-12)
    for parameter, value in zip(model.parameters(), weights, strict=True):
        torch.testing.assert_close(parameter.detach(), value)
    assert model.training


def test_a_gradient_is_clipped_to_its_norm(recipe: PublishedRecipe) -> None:
    clipped = replace(recipe, clip=0.01, weight_decay=0.0, momentum=0.0)
    model = clipped.build()
    before = [p.detach().clone() for p in model.parameters()]
    inputs, targets = clipped.task.example(4)
    clipped.step(model, clipped.make_optimizer(model), (100 * inputs, targets))
    moved = torch.cat([(p.detach() - old).flatten() for p, old in zip(model.parameters(), before, strict=True)])
    assert float(moved.norm()) == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_a_loss_that_is_no_number_changes_nothing(recipe: PublishedRecipe) -> None:
    model = recipe.build()
    before = [p.detach().clone() for p in model.parameters()]
    inputs, targets = recipe.task.example(4)
    inputs[0] = torch.nan
    with pytest.raises(ValueError, match="the loss of line is nan"):
        recipe.step(model, recipe.make_optimizer(model), (inputs, targets))
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


def test_rates_fall_at_the_milestones_or_as_a_polynomial(recipe: PublishedRecipe) -> None:
    assert [recipe.rate(epoch / 4) for epoch in range(4)] == pytest.approx([0.5, 0.05, 0.05, 0.005])
    poly = replace(recipe, schedule="poly", milestones=())
    assert [poly.rate(share) for share in (0, 0.5, 1)] == pytest.approx([0.5, 0.5 * 0.5**0.9, 0])
    constant = replace(recipe, epochs=None, milestones=())
    assert constant.rate(0.7) == 0.5
    with pytest.raises(ValueError, match="progress is a share"):
        recipe.rate(1.1)
    with pytest.raises(ValueError, match="how long line was trained is not known"):
        replace(recipe, epochs=None).rate(0.5)


def test_the_settings_are_those_of_the_sources() -> None:
    small, large = PUBLISHED["imagenet-resnet50-bcn-ws"], PUBLISHED["imagenet-resnext101-gn-ws"]
    assert (small.batch_size, small.epochs, small.milestones) == (256, 90, (30, 60))
    assert (large.batch_size, large.epochs, large.milestones) == (128, 100, (30, 60, 90))
    assert {(r.learning_rate, r.momentum, r.weight_decay) for r in (small, large)} == {(0.1, 0.9, 1e-4)}
    assert (small.standardization, large.standardization) == ("bcn2019", "qiao2019")
    voc = PUBLISHED["voc-deeplabv3-resnet101-bcn-ws"]
    assert (voc.batch_size, voc.learning_rate, voc.schedule, voc.epochs) == (16, 0.007, "poly", 50)
