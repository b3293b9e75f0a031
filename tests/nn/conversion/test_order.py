from __future__ import annotations

from torch import nn

from weightatlas.nn.conversion.order import pairs_by_order


def test_runs_of_equal_length_go_together_one_by_one() -> None:
    block = nn.Module()
    block.conv1, block.conv2 = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 1)
    block.bn1, block.bn2 = nn.BatchNorm2d(8), nn.BatchNorm2d(16)
    assert pairs_by_order(block, {"conv1", "conv2"}, {"bn1", "bn2"}) == {"conv1": "bn1", "conv2": "bn2"}


def test_runs_of_other_lengths_meet_at_one_place() -> None:
    block = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Identity(), nn.Dropout(), nn.BatchNorm2d(8))
    assert pairs_by_order(block, {"0", "1"}, {"4"}) == {"1": "4"}


def test_channels_must_agree_and_an_activation_parts() -> None:
    block = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
    assert pairs_by_order(block, {"0", "2"}, {"1", "4"}) == {}


def test_paths_of_children_are_whole() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)))
    assert pairs_by_order(model, {"0.0"}, {"0.1"}) == {"0.0": "0.1"}
