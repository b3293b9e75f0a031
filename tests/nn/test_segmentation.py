from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightatlas.evaluation import open_model
from weightatlas.nn.segmentation import Segmenter


def test_it_answers_at_every_pixel_of_images_of_any_size() -> None:
    network = Segmenter(width=0.25, classes=3)
    for size in ((24, 24), (12, 20), (13, 7)):
        assert network(torch.zeros(2, 3, *size)).shape == (2, 3, *size)


def test_every_convolution_but_the_classifier_has_a_batch_norm_of_its_units_behind_it() -> None:
    network = Segmenter(width=0.5, blocks=2)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [one.out_channels for one in convolutions[:-1]] == [one.num_features for one in norms]
    assert [one.bias is None for one in convolutions] == [True] * (len(convolutions) - 1) + [False]


@pytest.mark.parametrize("recipe", ["gn", "ws+gn", "bcn", "ws+micro-bcn"])
def test_it_can_be_converted_by_name(recipe: str) -> None:
    network = open_model(f"weightatlas:segmenter?width=0.25&convert={recipe}", seed=3)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    plain = open_model("weightatlas:segmenter?width=0.25", seed=3)
    assert torch.equal(network.get_parameter("conv1.weight"), plain.get_parameter("conv1.weight"))
    assert network(torch.zeros(1, 3, 24, 24)).shape == (1, 5, 24, 24)


def test_blocks_and_width_count() -> None:
    def size(**options: float) -> int:
        return sum(parameter.numel() for parameter in Segmenter(**options).parameters())  # type: ignore[arg-type,misc]

    assert size(width=0.5) < size(width=1) < size(width=1, blocks=2)


def test_a_pixel_is_told_from_what_lies_around_it_and_not_from_far_away() -> None:
    network = Segmenter(width=0.25, seed=1).eval()
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    changed = images.clone()
    changed[:, :, :2, :2] += 5
    with torch.no_grad():
        difference = (network(images) - network(changed)).abs().sum(dim=1)[0]
    assert float(difference[:4, :4].max()) > 0
    assert float(difference[70:, 70:].max()) == 0


def test_seeds_fix_its_weights_and_leave_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (Segmenter(width=0.25, seed=seed).get_parameter("conv1.weight") for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_it_learns_a_mask_that_is_plain_to_see() -> None:
    network = Segmenter(width=0.25, classes=2, in_channels=1, seed=0)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    for _ in range(25):
        images = torch.randn(8, 1, 12, 12, generator=generator)
        loss = functional.cross_entropy(network(images), (images[:, 0] > 0).long())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(loss.detach()) < 0.25


@pytest.mark.parametrize("options", [{"width": 0}, {"width": -1.0}, {"blocks": 0}])
def test_options_without_meaning_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="width must be above 0 and blocks 1 or more"):
        Segmenter(**options)  # type: ignore[arg-type]
