from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from weightatlas.conditioning.share_nulls import layer_share_p, share_p

FAIR = 1e-3
"""What a test of uniformity may find by chance: seeds are fixed, so it either does or does not."""


def directions(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("elements", [2, 3, 9, 576])
@pytest.mark.parametrize("along", [1, 2])
def test_the_share_of_a_random_direction_has_uniform_p_values(elements: int, along: int) -> None:
    gradients = directions(4000, elements)
    axes = np.linalg.qr(directions(elements, elements, seed=1))[0][:along]
    shares = ((gradients @ axes.T) ** 2).sum(axis=1) / (gradients**2).sum(axis=1)
    found = share_p(shares, elements, directions=along)
    assert shares.mean() == pytest.approx(along / elements, rel=0.1)
    if along == elements:
        assert (found == 1).all()
    else:
        assert stats.kstest(found, "uniform").pvalue > FAIR


def test_the_share_along_one_of_two_directions_is_that_of_an_angle() -> None:
    angles = np.array([0.1, 0.7, 1.5])
    assert share_p(np.cos(angles) ** 2, 2) == pytest.approx(2 * angles / np.pi)


def test_a_share_of_everything_has_no_chance_and_one_of_nothing_every() -> None:
    assert share_p([0.0, 1.0], 9).tolist() == [1.0, 0.0]


def test_a_layers_p_values_are_uniform_where_nothing_is_planted() -> None:
    found = []
    for seed in range(300):
        gradients = directions(6, 9, seed=seed) * np.array([5, 1, 1, 0.1, 1, 3])[:, None]
        weights = (gradients**2).sum(axis=1)
        share = float((gradients.sum(axis=1) ** 2 / 9).sum() / weights.sum())
        found.append(layer_share_p(share, weights, 9, tries=199, seed=seed))
    assert stats.kstest(found, "uniform").pvalue > FAIR
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_a_layer_of_one_unit_has_the_closed_form() -> None:
    assert layer_share_p(0.3, np.array([7.0]), 9, tries=20_000) == pytest.approx(float(share_p(0.3, 9)), abs=0.01)


def test_a_layers_p_value_is_hits_over_tries_in_chunks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.array([1.0, 2.0, 3.0])
    whole = layer_share_p(0.2, weights, 5, tries=100, seed=3)
    assert round(whole * 101, 9).is_integer()
    monkeypatch.setattr("weightatlas.conditioning.share_nulls.CHUNK", 7)
    assert layer_share_p(0.2, weights, 5, tries=100, seed=3) == whole
    assert layer_share_p(1.1, weights, 5, tries=100) == 1 / 101


def test_both_directions_of_two_weights_are_everything() -> None:
    assert layer_share_p(1.0, np.array([1.0]), 2, directions=2) == 1.0
