"""Families of all layers of a source are tested together, and what cannot be tested says why."""

from __future__ import annotations

import numpy as np
import pytest

from tests.branching.planted_networks import UNITS, Branched, Inception
from weightatlas.branching.surveying.network import open_network
from weightatlas.branching.surveying.tested_families import given_families, tuned_families
from weightatlas.branching.surveying.unit_survey import survey_units


def test_tuned_units_are_tested_by_colour_frequency_and_class() -> None:
    network = open_network(Branched())
    found = tuned_families(survey_units(network, network.branchings, ()), network.branchings, seed=0)
    assert {one.by for one in found} == {"colour", "frequency", "class"}
    assert {one.layer for one in found} == {"conv1"}
    for one in found:
        assert one.specialization is not None
        assert one.q_value >= one.specialization.p_value


def test_families_of_joined_branches_count_all_their_units() -> None:
    network = open_network(Inception())
    found = tuned_families(survey_units(network, network.branchings, ()), network.branchings, seed=0)
    colour = next(one.specialization for one in found if one.by == "colour")
    assert colour is not None
    assert colour.units == 16
    assert {(pair.branch, pair.branch_size) for pair in colour.pairs} == {("3x3", 6), ("5x5", 10)}


def test_an_untuned_network_has_none() -> None:
    network = open_network(Branched())
    assert tuned_families((), network.branchings, seed=0) == ()


def test_given_families_of_unknown_layers_and_units_say_why() -> None:
    branchings = open_network(Branched()).branchings
    families = {"conv11": {"some": [0, 1]}, "conv1": {"some": [0, UNITS + 3]}, "conv2": {"some": [0, 1, 2]}}
    found = given_families(families, branchings, by="file", chosen_after_looking=False, seed=0)
    assert "did you mean conv1" in (found[0].skipped or "")
    assert str(UNITS + 3) in (found[1].skipped or "")
    assert found[2].specialization is not None


def test_q_is_benjamini_hochberg_over_the_layers() -> None:
    network = open_network(Branched())
    found = tuned_families(survey_units(network, network.branchings, ()), network.branchings, seed=0)
    p_values = np.array([one.specialization.p_value for one in found if one.specialization is not None])
    largest = p_values.argmax()
    assert found[largest].q_value == pytest.approx(p_values[largest])
