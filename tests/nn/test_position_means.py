from __future__ import annotations

import numpy as np
import torch

from tests.nn.maps import random_maps
from weightatlas.nn import AllPositions, ColumnMeans, RowAndColumnMeans, RowMeans


def test_the_classifier_s_weight_reshapes_to_channels_and_positions() -> None:
    maps = random_maps(2, 3, 4, 5)
    weight = random_maps(7, 3, 4, 5, seed=1)
    for head, kept in (
        (AllPositions(3, 4, 5), weight),
        (RowMeans(3, 4, 5), weight[..., :1]),
        (ColumnMeans(3, 4, 5), weight[:, :, :1]),
    ):
        spread = kept.expand(7, 3, 4, 5)
        share = {"AllPositions": 1, "RowMeans": 5, "ColumnMeans": 4}[type(head).__name__]
        expected = np.einsum("bcyx,kcyx->bk", maps.numpy(), spread.numpy()) / share
        np.testing.assert_allclose((head(maps) @ kept.flatten(1).T).numpy(), expected, rtol=1e-12)


def test_rows_come_before_columns_within_each_channel() -> None:
    maps = random_maps(2, 3, 4, 5)
    answer = RowAndColumnMeans(3, 4, 5)(maps).view(2, 3, 9)
    np.testing.assert_allclose(answer[:, :, :4].numpy(), maps.numpy().mean(3), rtol=1e-12)
    np.testing.assert_allclose(answer[:, :, 4:].numpy(), maps.numpy().mean(2), rtol=1e-12)


def test_turning_the_map_exchanges_rows_and_columns() -> None:
    maps = random_maps(2, 3, 6, 6)
    turned = maps.transpose(2, 3)
    assert torch.equal(RowMeans(3, 6, 6)(turned), ColumnMeans(3, 6, 6)(maps))
