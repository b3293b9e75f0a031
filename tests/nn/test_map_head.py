from __future__ import annotations

import pytest
import torch

from weightatlas.nn import MapHead


class Sums(MapHead):
    """The sum of each channel."""

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        return features.sum((2, 3))


class SumsOfAnySize(Sums):
    """The same, of maps of any size."""

    any_size = True


def test_it_shows_its_sizes_and_has_no_weights_of_its_own() -> None:
    head = Sums(2, 3, 4, 2)
    assert repr(head) == "Sums(2, 3, 4, out_features=2)"
    assert not head.state_dict()
    assert head(torch.ones(5, 2, 3, 4)).tolist() == [[12.0, 12.0]] * 5


@pytest.mark.parametrize("shape", [(1, 2, 4, 3), (1, 3, 3, 4), (2, 3, 4), (1, 2, 3, 4, 1)])
def test_maps_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Sums was built for maps of 2 x 3 x 4, not for"):
        Sums(2, 3, 4, 2)(torch.ones(shape))


def test_a_head_for_any_size_asks_for_its_channels_only() -> None:
    head = SumsOfAnySize(2, 3, 4, 2)
    assert head(torch.ones(1, 2, 5, 5)).tolist() == [[25.0, 25.0]]
    with pytest.raises(ValueError, match="maps of 2 channels, not for 3 x 3 x 4"):
        head(torch.ones(1, 3, 3, 4))


@pytest.mark.parametrize("sizes", [(0, 3, 3, 1), (1, 0, 3, 1), (1, 3, -1, 1), (1, 3, 3, 0)])
def test_a_size_of_nothing_is_refused(sizes: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="1 or more of everything"):
        Sums(*sizes)
