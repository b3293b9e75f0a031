from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.branching.responses.probing import Place
from weightatlas.branching.responses.stimuli import Stimuli
from weightatlas.branching.responses.unit_answers import Middle, answers

CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_size": 5},
    "padded": {"kernel_size": 5, "padding": 2},
    "strided": {"kernel_size": 3, "stride": 2, "padding": 1},
    "dilated": {"kernel_size": 3, "dilation": 3, "padding": 3},
    "grouped": {"kernel_size": 3, "groups": 2, "padding": 1},
    "depthwise": {"kernel_size": 3, "groups": 6, "padding": 1},
    "same": {"kernel_size": 4, "padding": "same"},
    "valid": {"kernel_size": 4, "padding": "valid"},
    "one": {"kernel_size": 1},
    "long": {"kernel_size": (1, 7), "padding": (0, 3), "stride": (1, 2)},
}


def network(kind: str) -> tuple[nn.Sequential, nn.Conv2d]:
    torch.manual_seed(0)
    asked = nn.Conv2d(6, 12, **CONVOLUTIONS[kind])
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), asked, nn.ReLU()).eval(), asked


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("reach", [0, 2])
def test_the_middle_answers_as_in_the_whole_map(kind: str, reach: int) -> None:
    model, asked = network(kind)
    blank, images = torch.full((1, 3, 24, 20), 0.3), torch.randn(5, 3, 24, 20)
    middle = Middle(model, asked, blank, Place(4.0 * reach, 1.0), shuffles=0, seed=0)
    with torch.no_grad():
        maps, still = model[:3](images), model[:3](blank)
    rows, columns = maps.shape[2] // 2, maps.shape[3] // 2
    around = (maps - still)[:, :, rows - reach : rows + reach + 1, columns - reach : columns + reach + 1]
    torch.testing.assert_close(middle(images)[:, 0].float(), around.flatten(2).max(dim=2).values)


def test_answers_do_not_depend_on_the_batch() -> None:
    model, asked = network("padded")
    stimuli = Stimuli(torch.randn(7, 3, 16, 16), {})
    middle = Middle(model, asked, torch.zeros(1, 3, 16, 16), Place(4.0, 1.0), shuffles=2, seed=0)
    one, all_at_once = (answers(middle, stimuli, feed=lambda images: images, batch=batch) for batch in (1, 64))
    assert one.own.shape == (12, 7)
    assert one.shuffled.shape == (24, 7)
    np.testing.assert_allclose(one.own, all_at_once.own, atol=1e-6)
    np.testing.assert_allclose(one.shuffled, all_at_once.shuffled, atol=1e-6)


def test_shuffled_units_have_the_same_numbers_in_another_order() -> None:
    model, asked = network("padded")
    middle = Middle(model, asked, torch.zeros(1, 3, 16, 16), Place(4.0, 1.0), shuffles=2, seed=0)
    own, *shuffled = [weight.reshape(12, -1) for weight in middle.weights]
    for weight in shuffled:
        torch.testing.assert_close(weight.sort(dim=1).values, own.sort(dim=1).values)
        assert (weight != own).float().mean() > 0.9
    assert not torch.equal(*shuffled)
