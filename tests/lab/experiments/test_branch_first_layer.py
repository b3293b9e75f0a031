from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import f_oneway

from weightatlas.checkpoints import open_checkpoint
from weightatlas.lab.experiments.branch_first_layer import (
    FirstLayer,
    branch_figures,
    first_layer,
    hidden_branches,
    separation,
    signed_figures,
    unit_chroma,
)


def kernels(units: int, side: int, *, colour: bool, seed: int = 0) -> torch.Tensor:
    """Kernels without luminance, or without colour."""
    noise = torch.randn(units, 3, side, side, generator=torch.Generator().manual_seed(seed))
    grey = noise.mean(dim=1, keepdim=True)
    return noise - grey if colour else grey.expand(-1, 3, -1, -1).contiguous()


@given(
    values=st.lists(st.floats(-10, 10, allow_nan=False), min_size=8, max_size=8).filter(lambda v: np.ptp(v) > 1e-3),
    scale=st.floats(0.1, 10),
)
def test_separation_is_that_of_the_analysis_of_variance(values: list[float], scale: float) -> None:
    labels = np.array([0, 0, 1, 1, 1, 2, 2, 2])
    array = np.array(values)
    found = separation(array, labels)
    within = sum(((array[labels == each] - array[labels == each].mean()) ** 2).sum() for each in range(3))
    if within > 1e-9:
        ratio = f_oneway(*(array[labels == each] for each in range(3))).statistic
        assert found == pytest.approx(2 * (ratio - 1) / (2 * ratio + 5), abs=1e-6)
    assert separation(scale * array + 3, labels) == pytest.approx(found, abs=1e-6)


def test_separation_is_nothing_on_average_whatever_the_sizes_of_branches() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=32) ** 3
    for sizes in ((16, 16), (8, 24), (8, 8, 8, 8), (2, 30)):
        labels = np.repeat(np.arange(len(sizes)), sizes)
        drawn = [separation(values, generator.permutation(labels)) for _ in range(4000)]
        assert abs(np.mean(drawn)) < 5 * np.std(drawn) / np.sqrt(len(drawn))


def test_separation_leaves_out_what_is_not_known_and_says_when_there_is_nothing() -> None:
    values, labels = np.array([0.0, np.nan, 0.0, 1.0, 1.0]), np.array([0, 0, 0, 1, 1])
    assert separation(values, labels) == 1
    assert np.isnan(separation(np.ones(5), labels))
    assert np.isnan(separation(np.array([0.0, 1.0]), np.array([0, 1])))


def test_runs_of_one_weight_are_branches() -> None:
    weight = torch.cat([kernels(4, 5, colour=True), kernels(4, 5, colour=False)])
    found = first_layer(open_checkpoint({"conv1.weight": weight}), 2)
    assert found.labels.tolist() == [0] * 4 + [1] * 4
    assert [len(part) for part in found.kernels] == [4, 4]
    np.testing.assert_allclose(found.chroma, [1] * 4 + [0] * 4, atol=1e-6)
    figures = branch_figures(found)
    assert figures["separation"] == pytest.approx(1)
    assert figures["information"] == pytest.approx(1)
    assert (figures["purity"], figures["colour_share"]) == (1, 0.5)


def test_weights_side_by_side_are_branches_and_frequency_is_that_of_their_common_middle() -> None:
    small = kernels(6, 3, colour=False, seed=1)
    large = torch.nn.functional.pad(small, (2, 2, 2, 2))
    found = first_layer(open_checkpoint({"first.conv1.weight": large, "second.conv1.weight": small}), None)
    assert [tuple(part.shape[2:]) for part in found.kernels] == [(7, 7), (3, 3)]
    np.testing.assert_allclose(found.frequency[:6], found.frequency[6:])
    large[:, 0, 0] += 5
    rimmed = first_layer(open_checkpoint({"first.conv1.weight": large, "second.conv1.weight": small}), None)
    assert (rimmed.chroma[:6] > 0.1).all()
    np.testing.assert_allclose(rimmed.middle, 0, atol=1e-9)


def test_a_unit_without_weights_has_no_chroma() -> None:
    weight = kernels(3, 5, colour=True)
    weight[1] = 0
    assert np.isnan(unit_chroma([weight])).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("units", "sides", "keys", "sign"),
    [
        ((2, 6), (7, 3), {"narrow", "large"}, 1),
        ((2, 6), (3, 7), {"narrow", "large"}, -1),
        ((2, 6), (5, 5), {"narrow"}, 0),
        ((4, 4), (7, 3), {"large"}, 1),
        ((4, 4), (5, 5), {"narrow", "large"}, 1),
    ],
)
def test_which_of_two_branches_took_colour_is_signed_by_width_and_by_kernels(
    units: tuple[int, int], sides: tuple[int, int], keys: set[str], sign: int
) -> None:
    labels = np.repeat([0, 1], units)
    parts = tuple(torch.ones(count, 3, side, side) for count, side in zip(units, sides, strict=True))
    chroma, middle = np.where(labels == 0, 0.8, 0.3), np.where(labels == 0, 0.6, 0.3)
    found = signed_figures(FirstLayer(("first", "second"), labels, parts, chroma, np.zeros(8), middle))
    cut = found.pop("chroma_middle", None)
    assert cut == (pytest.approx(0.3 * sign) if sides[0] != sides[1] else None)
    assert {key.partition("_")[2] for key in found} == keys
    if "narrow" in keys:
        assert found["chroma_narrow"] == pytest.approx(0.5)
    if "large" in keys:
        assert found["chroma_large"] == pytest.approx(0.5 * sign)


def test_halves_of_a_planted_hidden_axis_stand_for_branches() -> None:
    first = torch.cat([kernels(8, 5, colour=True), kernels(8, 5, colour=False)])
    second = torch.randn(24, 16, 3, 3, generator=torch.Generator().manual_seed(2))
    second[:12, :8] *= 4
    second[12:, 8:] *= 4
    layer = first_layer(open_checkpoint({"conv1.weight": first}), 1)
    halves, figures, axes = hidden_branches(first, second, layer)
    assert halves.hidden
    assert len(set(halves.labels[:8].tolist())) == len(set(halves.labels[8:].tolist())) == 1
    assert axes.shape == (16, 2)
    assert figures["hidden_p"] == 0.001
    assert isinstance(figures["hidden_chroma"], float)
    assert figures["hidden_chroma"] > 0.7, "ranks within the halves are rounding"
    assert branch_figures(halves)["separation"] == pytest.approx(1)
    plain = torch.randn(24, 16, 3, 3, generator=torch.Generator().manual_seed(3))
    p_value = hidden_branches(first, plain, layer)[1]["hidden_p"]
    assert isinstance(p_value, float)
    assert p_value > 0.05
