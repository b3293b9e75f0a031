from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from tests.reference import banding as slow
from weightatlas.banding import score, score_slides
from weightatlas.banding.score import BANDED_RAW, SMALLEST, direction_of

if TYPE_CHECKING:
    from pathlib import Path

# The notes' table: |B| from .53 on is banded, and that gives the article's own verdicts.
PUBLISHED = {
    "Simplified-Base|v0/v1/5b/weights/read": (0.941, "horizontal", True),
    "Simplified-90deg|v0/v1/5b/weights/read": (-0.942, "vertical", True),
    "Simplified-fc-only|v0/v1/5b/weights/read": (0.092, "horizontal", False),
    "Simplified-x-avgpool|v0/v1/5a/weights/read": (0.844, "horizontal", True),
    "Simplified-x-avgpool|v0/v1/5b/weights/read": (0.340, "horizontal", False),
    "InceptionV1 - modelzoo|mixed5b_5x5_w": (0.918, "horizontal", True),
    "InceptionV1 - baseline|v0/v1/InceptionV1/Mixed_5c/Branch_2/Conv2d_0b_5x5/weights/read": (
        0.583,
        "horizontal",
        True,
    ),
    "InceptionV1 - 90deg|v0/v1/InceptionV1/Mixed_5c/Branch_2/Conv2d_0b_5x5/weights/read": (-0.564, "vertical", True),
    "InceptionV1 - fc-only|v0/v1/InceptionV1/Mixed_5c/Branch_2/Conv2d_0b_5x5/weights/read": (
        0.305,
        "horizontal",
        False,
    ),
}


def random_weight(seed: int = 0, shape: tuple[int, ...] = (24, 20, 3, 3)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.reference
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_slides_get_the_articles_verdicts(reference: Path, name: str) -> None:
    expected, direction, banded = PUBLISHED[name]
    with np.load(reference / "distill" / "weight_banding_slides.npz") as slides:
        found = score_slides(slides[name])
    assert found.score == pytest.approx(expected, abs=0.01)
    assert found.direction == direction
    assert found.banded is banded


@pytest.mark.reference
@pytest.mark.parametrize(("layer", "expected"), [("fire8", 0.236), ("fire9", 0.569)])
def test_squeezenet_is_banded_before_its_pool(reference: Path, layer: str, expected: float) -> None:
    with np.load(reference / "squeezenet" / "squeezenet_v1.1_notop.npz") as weights:
        found = score(weights[f"{layer}/expand3x3.weight"])
    assert found.score == pytest.approx(expected, abs=0.001)
    assert found.direction == "horizontal"
    assert found.banded


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), side=st.integers(2, 5))
def test_scores_are_the_definition(seed: int, side: int) -> None:
    weight = random_weight(seed, (4, 3, side, side))
    found = score(weight)
    np.testing.assert_allclose(found.unit_scores, slow.unit_scores(weight), atol=1e-12)
    np.testing.assert_allclose(found.input_scores, slow.unit_scores(weight.swapaxes(0, 1)), atol=1e-12)
    by_kernel = score(weight, average="kernel")
    np.testing.assert_allclose(by_kernel.unit_scores, slow.kernel_average_scores(weight), atol=1e-12)
    assert found.p_units == pytest.approx(slow.exact_p_value(found.unit_scores))
    assert found.p_inputs == pytest.approx(slow.exact_p_value(found.input_scores))
    assert found.p_value == max(found.p_units, found.p_inputs)


def test_a_quarter_turn_flips_the_sign() -> None:
    weight = random_weight()
    np.testing.assert_allclose(score(np.rot90(weight, axes=(2, 3))).unit_scores, -score(weight).unit_scores)


def test_flips_scale_and_an_offset_for_each_kernel_change_nothing() -> None:
    weight = random_weight()
    expected = score(weight).unit_scores
    offsets = random_weight(1, (24, 20, 1, 1))
    for changed in (weight[:, :, ::-1], weight[:, :, :, ::-1], 1e-4 * weight, weight + offsets):
        np.testing.assert_allclose(score(changed).unit_scores, expected, atol=1e-9)


def test_permuting_units_permutes_their_scores() -> None:
    weight = random_weight()
    order = np.random.default_rng(1).permutation(24)
    np.testing.assert_allclose(score(weight[order]).unit_scores, score(weight).unit_scores[order])


@pytest.mark.parametrize("side", [3, 5])
def test_random_kernels_split_their_variance_evenly(side: int) -> None:
    found = score(random_weight(shape=(200, 64, side, side)))
    assert found.row_share == pytest.approx(1 / (side + 1), abs=0.003)
    assert found.column_share == pytest.approx(1 / (side + 1), abs=0.003)
    assert abs(found.score) < 4 * found.null_std
    assert found.direction == "none"
    assert not found.banded


def test_planted_bands_are_found_and_their_share_is_the_score() -> None:
    generator = np.random.default_rng(0)
    bands = np.repeat(generator.normal(size=(64, 32, 3, 1)), 3, axis=3)
    found = score(bands + generator.normal(size=(64, 32, 3, 3)))
    # Rows carry 2 (1 + 1/3) of 8 + 2 * 3 in expectation, columns 2 of it: (8 - 2) / 14.
    assert found.score == pytest.approx(6 / 14, abs=0.02)
    assert found.direction == "horizontal"
    assert found.banded
    assert score(-bands.swapaxes(2, 3)).direction == "vertical"


def test_one_loud_input_channel_convinces_no_one() -> None:
    """All units share a banded channel: flips over units reject, flips over inputs know better."""
    weight = random_weight(shape=(64, 16, 3, 3))
    weight[:, 0] = 3 * np.repeat(random_weight(1, (64, 3, 1)), 3, axis=2)
    found = score(weight)
    assert found.p_units < 0.001
    assert found.p_inputs > 0.01
    assert found.direction == "none"


def test_units_without_variance_are_left_out() -> None:
    weight = random_weight(shape=(10, 8, 3, 3))
    weight[3] = 0.0
    weight[5] = 1.5
    found = score(weight)
    assert np.isnan(found.unit_scores[[3, 5]]).all()
    assert found.units == 10
    others = np.delete(weight, [3, 5], axis=0)
    assert found.score == pytest.approx(score(others).score)
    assert found.null_std == pytest.approx(score(others).null_std)


@pytest.mark.parametrize("weight", [np.zeros((4, 2, 3, 3)), np.ones((4, 2, 3, 3)), np.ones((4, 2, 1, 1))])
def test_a_weight_without_variance_is_refused(weight: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no unit has spatial variance"):
        score(weight)


def test_an_unknown_average_is_refused() -> None:
    with pytest.raises((ValueError, TypeCheckError), match="average"):
        score(random_weight(), average="layer")  # type: ignore[arg-type]


def test_a_fully_connected_layer_is_read_over_its_map() -> None:
    generator = np.random.default_rng(0)
    rows = np.array([4.0, 1.0, 1.0, 1.0, 1.0, 4.0])
    weight = generator.normal(size=(50, 8, 6, 6)) * rows[:, None]
    found = score(torch.from_numpy(weight.reshape(50, -1)), feature_map=(8, 6, 6))
    np.testing.assert_allclose(found.unit_scores, score(weight).unit_scores)
    assert found.row_profile[0] > 5 * found.row_profile[2]
    assert np.ptp(found.column_profile) < 0.03
    assert found.row_profile.sum() == pytest.approx(1.0)


def test_the_null_is_centred_and_its_width_is_that_of_flipped_means() -> None:
    found = score(random_weight(shape=(40, 30, 3, 3)))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(20_000, 40))
    assert found.null_mean == 0.0
    assert found.null_std == pytest.approx(np.std(signs @ found.unit_scores / 40), rel=0.03)


def test_a_direction_needs_significance_and_size() -> None:
    assert direction_of(SMALLEST, 0.0009) == "horizontal"
    assert direction_of(-SMALLEST, 0.0009) == "vertical"
    assert direction_of(SMALLEST - 1e-9, 1e-9) == "none"
    assert direction_of(0.9, 0.001) == "none"
    assert direction_of(0.9, float("nan")) == "none"


def test_banded_asks_for_more_than_a_direction() -> None:
    generator = np.random.default_rng(0)
    bands = np.repeat(generator.normal(size=(256, 64, 3, 1)), 3, axis=3)
    faint = score(0.35 * bands + generator.normal(size=(256, 64, 3, 3)))
    assert SMALLEST <= faint.score < BANDED_RAW
    assert faint.direction == "horizontal"
    assert not faint.banded
