from __future__ import annotations

import numpy as np

from weightatlas.branching.responses.tuning_curves import tuning_curves

ANGLES = np.arange(0, 360, 30.0)


def shown(half: np.ndarray, whole: np.ndarray) -> dict[str, tuple[dict[str, np.ndarray], np.ndarray]]:
    """One curve for all families, (units, 6) over half a turn and (units, 12) over a whole one; each angle twice."""
    twice = np.concatenate([whole - 1.0, whole], axis=1)
    turns = np.tile(ANGLES, 2)
    return {
        "gratings": (
            {"orientation": np.tile(ANGLES[:6], 2), "frequency": np.repeat([0.1, 0.3], 6)},
            np.concatenate([half - 1.0, half], axis=1),
        ),
        "coloured": ({"hue": turns}, twice),
        "arcs": ({"orientation": turns, "curvature": np.repeat([0.02, 0.05], 12)}, twice),
        "boundaries": ({"orientation": turns}, twice),
    }


def test_the_preferred_angle_is_the_mean_direction_of_the_answers() -> None:
    half = 2 + np.cos(2 * np.radians(ANGLES[:6] - np.array([[40.0], [175.0]])))
    whole = 2 + np.cos(np.radians(ANGLES - np.array([[40.0], [355.0]])))
    found = tuning_curves(shown(half, whole), np.array([], dtype=int), colour=True)
    np.testing.assert_allclose(found.orientation, [40, 175])
    for name in ("hue", "curve_orientation", "high_low_orientation"):
        np.testing.assert_allclose(getattr(found, name), [40, 355])
    np.testing.assert_allclose(found.frequency, 0.3)
    np.testing.assert_allclose(found.curvature, 0.05)
    np.testing.assert_allclose(found.curves["curve"], whole)
    np.testing.assert_allclose(found.curves["hue"], whole - 0.5)
    np.testing.assert_allclose(found.curves["high-low"], whole - 0.5)
    np.testing.assert_allclose(found.angles["orientation"], ANGLES[:6])


def test_one_angle_alone_is_fully_selective_and_a_flat_curve_has_no_angle() -> None:
    half, whole = np.zeros((2, 6)), np.zeros((2, 12))
    half[0, 2] = whole[0, 5] = 3.0
    found = tuning_curves(shown(half, whole), np.array([], dtype=int), colour=True)
    np.testing.assert_allclose(found.orientation, [60, np.nan])
    np.testing.assert_allclose(found.hue, [150, np.nan])
    np.testing.assert_allclose(found.orientation_selectivity, [1, np.nan])


def test_silent_units_and_colour_in_a_grey_world_are_unknown() -> None:
    generator = np.random.default_rng(0)
    families = shown(generator.normal(size=(3, 6)), generator.normal(size=(3, 12)))
    found = tuning_curves(families, np.array([1]), colour=False)
    assert np.isnan(found.hue).all()
    assert np.isnan(found.orientation).tolist() == [False, True, False]
    assert np.isnan(found.curvature).tolist() == [False, True, False]
