from __future__ import annotations

import numpy as np

from weightatlas.branching.responses.preferences import LABELS, energy_lead, leads, peak_lead, preferences

FAMILIES = ("gratings", "coloured", "grey", "arcs", "corners", "boundaries", "textures")


def test_an_energy_lead_counts_answers_above_zero() -> None:
    family, controls = np.array([[3.0, -9.0], [0.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 1.0], [0.0, -2.0], [0.0, 0.0]])
    np.testing.assert_allclose(energy_lead(family, controls), [(4.5 - 1) / (4.5 + 1), np.nan, 1.0])
    np.testing.assert_allclose(energy_lead(controls, family), -energy_lead(family, controls))


def test_a_peak_lead_is_that_of_the_best_answer() -> None:
    family, controls = np.array([[3.0, -9.0], [1.0, 0.0]]), np.array([[1.0, 2.0], [5.0, 0.0]])
    np.testing.assert_allclose(peak_lead(family, controls, np.array([0.5, 2.0])), [2.0, -2.0])
    assert np.isnan(peak_lead(family, controls, np.zeros(2))).all()


def test_leads_do_not_depend_on_the_scale_of_the_answers() -> None:
    generator = np.random.default_rng(0)
    answers = {name: generator.normal(size=(5, 9)) for name in FAMILIES}
    found = leads(answers, colour=True)
    np.testing.assert_allclose(leads({name: 30 * one for name, one in answers.items()}, colour=True), found)
    np.testing.assert_allclose(found[:, 0], -found[:, 1])
    assert np.isnan(leads(answers, colour=False)[:, :2]).all()


def test_answers_that_differ_by_rounding_are_no_answers() -> None:
    generator = np.random.default_rng(0)
    answers = {name: 1.0 + 1e-9 * generator.normal(size=(2, 9)) for name in FAMILIES}
    assert np.isnan(leads(answers, colour=True)).all()


def test_a_shape_stands_before_a_stronger_preference_for_grey() -> None:
    shuffled = np.random.default_rng(0).normal(size=(399, 4))
    own = np.array([[-5.0, 9.0, 4.0, -1.0], [-5.0, 9.0, 0.5, -1.0], [0.1, -0.1, 4.0, 6.0], [0.3, -0.3, 0.2, 0.1]])
    found = preferences(own, shuffled)
    assert found.labels == ("curve", "black-and-white", "high-low frequency", "other")
    assert found.margins[0] < 0 < found.margins[1]
    np.testing.assert_allclose(found.scores[:3], [4, 9, 6], rtol=0.15)
    assert np.isnan(found.scores[3])
    np.testing.assert_allclose(found.p_values[0, 1:3], 1 / 400)


def test_a_lead_below_zero_is_no_label_however_rare() -> None:
    found = preferences(np.full((1, 4), -1.0), np.full((399, 4), -5.0) - np.linspace(0, 1, 399)[:, None])
    assert found.labels == ("other",)
    np.testing.assert_allclose(found.p_values, 1 / 400)


def test_what_was_not_asked_is_no_label() -> None:
    shuffled = np.column_stack([np.full((399, 2), np.nan), np.random.default_rng(0).normal(size=(399, 2))])
    found = preferences(np.array([[np.nan, np.nan, 9.0, 1.0], [np.nan] * 4]), shuffled)
    assert found.labels == ("curve", "other")
    assert np.isnan(found.p_values[0, :2]).all()


def test_of_units_that_are_as_their_null_one_in_twenty_is_labelled() -> None:
    generator = np.random.default_rng(0)
    found = preferences(generator.normal(size=(4000, 4)), generator.normal(size=(4000, 4)))
    rate = np.mean(np.array(found.labels) != "other")
    assert 0.04 < rate < 0.06
    assert {label for label in found.labels if label != "other"} == set(LABELS[:4])
