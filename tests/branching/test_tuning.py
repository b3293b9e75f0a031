from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.reference import unit_tuning as slow
from weightatlas.branching.kernels.image_kernels import CONSTANT, NOT_FINITE, ZERO
from weightatlas.branching.tuning import COLOUR, Tuning, tuning

if TYPE_CHECKING:
    from pathlib import Path

FIGURES = ("chroma", "selectivity", "frequency", "peak_frequency", "dc_share", "gabor", "centre_surround")


def slim(reference: Path) -> np.ndarray:
    """The decoded filters (units, channels, h, w), grey at 0."""
    filters: np.ndarray = np.load(reference / "distill" / "distill_slim_inceptionv1_conv1_64x7x7x3.npy")
    kernels: np.ndarray = filters.astype(np.float64).transpose(0, 3, 1, 2) - np.median(filters)
    return kernels


def squeezenet(reference: Path) -> np.ndarray:
    with np.load(reference / "squeezenet" / "squeezenet_v1.1_notop.npz") as weights:
        first: np.ndarray = weights["conv1.weight"]
    return first


def some_kernels(side: int = 7) -> np.ndarray:
    """Gabors in grey and in colour, a spot, a colour blob, noise: (12, 3, side, side)."""
    generator = np.random.default_rng(0)
    gabors = [
        slow.gabor_kernel(side, angle=angle, frequency=0.22, width=side / 5, phase=50) for angle in (10, 75, 120, 160)
    ]
    spot = slow.spot_kernel(side, width=0.9, ratio=2.0, surround=0.25)
    blob = slow.gabor_kernel(side, angle=0, frequency=0.01, width=side / 4, phase=0)
    grey, colour = np.ones((3, 1, 1)), np.array([1.0, -0.8, -0.2])[:, None, None]
    kernels = [*(grey * one for one in gabors), *(colour * one for one in gabors), grey * spot, colour * blob]
    return np.stack([*kernels, *generator.normal(size=(2, 3, side, side))]) + 0.01 * generator.normal(
        size=(12, 3, side, side)
    )


def same(first: Tuning, second: Tuning) -> None:
    assert first.classes == second.classes
    for name in FIGURES:
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.reference
def test_the_decoded_filters_split_without_error(reference: Path) -> None:
    found = tuning(slim(reference))
    assert found.colour.tolist() == [False] * 35 + [True] * 29
    assert found.classes == ("Gabor",) * 35 + ("colour contrast",) * 29
    assert found.gabor[:35].min() > 0.9
    assert (found.colour_gap.below, found.colour_gap.above) == pytest.approx((0.119, 0.210), abs=0.005)
    assert found.colour_gap.p_value < 0.05


@pytest.mark.reference
def test_squeezenets_first_layer_is_a_continuum(reference: Path) -> None:
    found = tuning(squeezenet(reference))
    assert found.colour.sum() == 33
    assert found.colour_gap.above - found.colour_gap.below < 0.03
    assert found.colour_gap.p_value > 0.2
    assert np.isnan(found.gabor).all()
    assert "9 pixels" in found.notes[0]


@pytest.mark.reference
def test_trained_gabors_are_fitted_as_well_as_by_scipy(reference: Path) -> None:
    kernels = slim(reference)[[0, 12, 40]]
    expected = [slow.best_gabor(pattern) * share for pattern, share in map(slow.leading_map, kernels)]
    assert (tuning(kernels).gabor >= np.array(expected) - 1e-3).all()


def test_planted_units_get_their_class() -> None:
    found = tuning(some_kernels())
    expected = ["Gabor"] * 4 + ["colour contrast"] * 4 + ["centre-surround", "colour contrast"]
    assert list(found.classes[:10]) == expected
    # A coloured Gabor is named by its colour; that it is a Gabor is told beside.
    assert (found.gabor[4:8] > 0.95).all()
    assert found.dc_share[9] > 0.5 > found.dc_share[:8].max()
    assert found.class_score[:10].min() > 0.8


@pytest.mark.parametrize("shape", [(300, 1, 7, 7), (300, 1, 11, 11), (300, 1, 5, 5), (300, 3, 7, 7)])
def test_of_white_noise_one_kernel_in_twenty_gets_a_name(shape: tuple[int, ...]) -> None:
    found = tuning(np.random.default_rng(5).normal(size=shape))
    assert np.mean(np.array(found.classes) != "other") < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 300)
    assert found.classes.count("Gabor") <= 0.05 * 300
    assert np.mean(found.gabor > found.gabor_null) < 0.12


def test_scale_and_sign_change_norm_and_phase_alone() -> None:
    kernels = some_kernels()
    found, other = tuning(kernels), tuning(-250.0 * kernels)
    same(found, other)
    np.testing.assert_allclose(other.norm, 250 * found.norm)
    np.testing.assert_allclose(other.orientation, found.orientation, atol=1e-6)
    np.testing.assert_allclose((other.phase - found.phase) % 360, 180, atol=1e-6)
    np.testing.assert_allclose(other.fits.amplitude[:10], 250 * found.fits.amplitude[:10], rtol=1e-2)


def test_a_quarter_turn_turns_orientation_and_nothing_else() -> None:
    kernels = some_kernels()[:10]
    found, turned = tuning(kernels), tuning(np.rot90(kernels, axes=(2, 3)))
    same(found, turned)
    apart = (turned.orientation - found.orientation) % 180
    np.testing.assert_allclose(apart, 90, atol=1e-6)


def test_permuting_units_permutes_what_is_found() -> None:
    kernels = some_kernels()
    order = np.random.default_rng(1).permutation(12)
    found, permuted = tuning(kernels), tuning(kernels[order])
    assert permuted.classes == tuple(found.classes[unit] for unit in order)
    for name in (*FIGURES, "orientation", "phase"):
        np.testing.assert_allclose(getattr(permuted, name), getattr(found, name)[order], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_agree_within_their_precision(dtype: torch.dtype) -> None:
    kernels = some_kernels()[:10]
    found, typed = tuning(kernels), tuning(torch.from_numpy(kernels).to(dtype))
    assert typed.classes == found.classes
    np.testing.assert_allclose(typed.chroma, found.chroma, atol=0.02)
    np.testing.assert_allclose(typed.gabor, found.gabor, atol=0.02)
    assert typed.chroma.dtype == np.float64


def test_units_that_cannot_be_measured_leave_the_others_as_they_are() -> None:
    kernels = some_kernels()
    broken = np.concatenate([kernels[:3], np.zeros((1, 3, 7, 7)), np.full((1, 3, 7, 7), 2.0), kernels[3:]])
    broken[3, 0, 0, 0] = 0.0
    broken = np.concatenate([broken, np.full((1, 3, 7, 7), np.nan)])
    found = tuning(broken)
    assert found.skipped == {3: ZERO, 4: CONSTANT, 14: NOT_FINITE}
    kept = [0, 1, 2, *range(5, 14)]
    expected = tuning(kernels)
    np.testing.assert_allclose(found.chroma[kept], expected.chroma)
    for unit in found.skipped:
        assert found.classes[unit] == "other"
        for name in (*FIGURES, "orientation", "phase", "norm", "class_score"):
            assert np.isnan(getattr(found, name)[unit]), name
    rows = found.rows()
    assert rows[3]["skipped"] == ZERO
    assert rows[3]["chroma"] is None
    assert rows[0]["skipped"] is None


def test_a_layer_of_nothing_but_zeros_has_no_tuning() -> None:
    found = tuning(np.zeros((4, 3, 7, 7)))
    assert found.classes == ("other",) * 4
    assert set(found.skipped.values()) == {ZERO}
    assert np.isnan(found.chroma).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 7)])
def test_kernels_without_two_dimensions_have_colour_alone(size: tuple[int, int]) -> None:
    colour = np.array([1.0, -1.0, 0.0]).reshape(1, 3, 1, 1)
    weight = np.concatenate([colour, np.ones((1, 3, 1, 1))]) * np.linspace(1, 2, size[1])
    found = tuning(weight)
    np.testing.assert_allclose(found.chroma, [1, 0], atol=1e-12)
    assert found.colour.tolist() == [True, False]
    assert found.classes[1] == "other"
    for name in ("orientation", "selectivity", "frequency", "phase", "gabor", "dc_share"):
        assert np.isnan(getattr(found, name)).all()
    assert "no two dimensions" in found.notes[0]


def test_one_pixel_of_colour_is_colour_contrast() -> None:
    assert tuning(np.array([1.0, -1.0, 0.0]).reshape(1, 3, 1, 1)).classes == ("colour contrast",)


def test_three_by_three_has_a_spectrum_and_no_gabor() -> None:
    found = tuning(np.random.default_rng(0).normal(size=(8, 3, 3, 3)))
    assert np.isfinite(found.orientation).all()
    assert np.isnan(found.gabor).all()
    assert np.isnan(found.gabor_null)
    assert not {"Gabor", "centre-surround"} & set(found.classes)


def test_grey_kernels_are_never_coloured() -> None:
    found = tuning(np.random.default_rng(0).normal(size=(20, 1, 5, 5)))
    assert (found.chroma <= COLOUR).all()
    assert found.colour_axis.tolist() == [[1.0]] * 20


@pytest.mark.parametrize("side", [5, 9])
def test_long_kernels_say_that_they_lean(side: int) -> None:
    found = tuning(np.random.default_rng(0).normal(size=(4, 3, side, side + 2)))
    assert "better than the other" in found.notes[0]
    assert np.isfinite(found.gabor).all()


def test_a_layer_of_one_unit_is_measured_and_saved(tmp_path: Path) -> None:
    found = tuning(some_kernels()[:1])
    assert found.classes == ("Gabor",)
    assert np.isnan(found.colour_gap.p_value)
    found.save(tmp_path / "tuning.csv")
    found.save(tmp_path / "tuning.npz")
    assert (tmp_path / "tuning.csv").read_text(encoding="utf-8").count("\n") == 2
    with np.load(tmp_path / "tuning.npz") as saved:
        assert saved["gabor_frequency"] == pytest.approx(0.22, abs=0.01)
        assert saved["classes"].tolist() == ["Gabor"]


def test_the_weight_is_left_as_it_was() -> None:
    kernels = some_kernels()
    before = kernels.copy()
    state = str(np.random.get_state())  # noqa: NPY002 - the global generator is what must not move
    tuning(kernels)
    np.testing.assert_array_equal(kernels, before)
    assert str(np.random.get_state()) == state  # noqa: NPY002


def test_units_of_other_layers_are_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="expanded weights"):
        tuning(np.ones((4, 64, 3, 3)))
