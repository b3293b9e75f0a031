from __future__ import annotations

import math

import pytest
import torch

from tests.nn.maps import random_maps, working_head
from weightatlas.nn import FullMask, PositionAttention, SpatialMasks, build_head


def test_each_mask_weighs_every_channel_alike() -> None:
    head = working_head("masks-3", 2, 3, 4)
    maps = random_maps(2, 2, 3, 4)
    answer = head(maps).detach().view(2, 2, 3)
    logits = head.state_dict()["logits"]
    for image in range(2):
        for channel in range(2):
            for mask in range(3):
                above = below = 0.0
                for row in range(3):
                    for column in range(4):
                        weight = 1 / (1 + math.exp(-float(logits[mask, row, column])))
                        above += weight * float(maps[image, channel, row, column])
                        below += weight
                assert float(answer[image, channel, mask]) == pytest.approx(above / below)


def test_a_constant_map_comes_through_masks_and_attention_unchanged() -> None:
    maps = torch.full((1, 4, 6, 6), 2.5, dtype=torch.float64)
    for head in (working_head("masks-16", 4, 6, 6), working_head("attention", 4, 6, 6)):
        torch.testing.assert_close(head(maps), torch.full((1, head.out_features), 2.5, dtype=torch.float64))


def test_masks_differ_from_each_other_at_the_start() -> None:
    logits = build_head("masks-16", 4, 6, 6).state_dict()["logits"]
    assert bool(torch.pdist(logits.flatten(1)).min() > 1)


def test_the_full_mask_weighs_each_entry() -> None:
    head = working_head("full-mask", 3, 4, 5)
    assert isinstance(head, FullMask)
    maps = random_maps(2, 3, 4, 5)
    expected = torch.einsum("bcyx,cyx->bc", maps, head.factors.detach()) / 20
    torch.testing.assert_close(head(maps).detach(), expected)


def test_attention_weighs_positions_by_their_score() -> None:
    head = working_head("attention", 3, 4, 5)
    assert isinstance(head, PositionAttention)
    maps = random_maps(2, 3, 4, 5)
    vector = head.score.weight.detach()[0]
    for image, answer in zip(maps, head(maps).detach(), strict=True):
        scores = [math.exp(float(vector @ image[:, row, column])) for row in range(4) for column in range(5)]
        total = sum(scores)
        places = [image[:, row, column] for row in range(4) for column in range(5)]
        expected = sum((place * (score / total) for place, score in zip(places, scores, strict=True)), torch.zeros(3))
        torch.testing.assert_close(answer, expected, check_dtype=False)


def test_attention_without_a_score_is_the_mean() -> None:
    head = PositionAttention(3, 4, 5).double()
    head.load_state_dict({"score.weight": torch.zeros(1, 3)})
    maps = random_maps(2, 3, 4, 5)
    torch.testing.assert_close(head(maps), maps.mean((2, 3)))


def test_no_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="a head needs 1 or more of everything"):
        SpatialMasks(3, 4, 5, masks=0)
