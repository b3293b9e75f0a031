from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from tests.conditioning.example_networks import Small, scenes
from weightatlas.conditioning import singularities, smoothness
from weightatlas.conditioning.snapshots import Snapshot, corrected, course, distance_p, term_p

SHARES = st.floats(1e-6, 1.0)


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    data = scenes()
    channels = singularities(Small(dead=3), data, examples=16)
    return Snapshot(3, channels, smoothness(Small(dead=3), data, examples=8, draws=1, eigenvalues=0))


def test_q_values_are_of_both_distances_and_of_both_terms(snapshot: Snapshot) -> None:
    distances = [distance_p(one, name) for one in snapshot.points for name in ("mean", "std")]
    terms = [term_p(one, name) for one in snapshot.terms for name in ("centring", "scaling")]
    for names, p_values in ((("mean", "std"), distances), (("centring", "scaling"), terms)):
        known = [value for value in p_values if math.isfinite(value)]
        expected = sorted(false_discovery_control(known).tolist())
        assert sorted(q for (_, name), q in snapshot.q_values.items() if name in names) == pytest.approx(expected)
    assert ("conv3", "mean") not in snapshot.q_values


@given(st.lists(SHARES, min_size=1, max_size=9))
def test_a_q_value_is_no_smaller_than_its_p_and_what_is_unknown_counts_for_nothing(p_values: list[float]) -> None:
    p_of = {(str(place), "mean"): value for place, value in enumerate(p_values)}
    found = corrected(p_of)
    assert all(p_of[key] - 1e-12 <= value <= 1 for key, value in found.items())
    assert corrected({**p_of, ("unknown", "mean"): math.nan}) == found


def test_nothing_known_is_corrected_to_nothing() -> None:
    assert corrected({("a", "mean"): math.nan}) == {}


def test_means_count_channels(snapshot: Snapshot) -> None:
    assert snapshot.points[0].dead == pytest.approx(3 / 6)
    assert snapshot.mean("dead") == pytest.approx(np.mean([one.dead for one in snapshot.points]))
    points = [one for one in snapshot.points if one.norm is not None]
    assert snapshot.mean("mean_distance") == pytest.approx(np.mean([one.mean_distance for one in points]))


def test_shares_are_of_the_whole_squared_gradient(snapshot: Snapshot) -> None:
    found = [one.terms for one in snapshot.terms if one.terms is not None]
    whole, left = (sum((getattr(one, name) ** 2).sum() for one in found) for name in ("before", "after"))
    assert snapshot.share("centring") + snapshot.share("scaling") == pytest.approx(1 - left / whole)
    assert snapshot.chance() == pytest.approx(sum(one.null * (one.before**2).sum() for one in found) / whole)
    assert snapshot.share("centring") > 0 < snapshot.share("scaling")


def test_an_empty_moment_has_no_figures() -> None:
    empty = Snapshot(None, None, None, "no", "no")
    assert (empty.points, empty.measured, empty.terms, empty.q_values) == ((), (), (), {})
    assert all(math.isnan(value) for value in (empty.mean("dead"), empty.share("centring"), empty.chance()))


def test_a_course_has_a_place_for_every_moment(snapshot: Snapshot) -> None:
    found = course([snapshot, Snapshot(5, None, None)], lambda one: None if one.channels is None else one.mean("dead"))
    assert found[0] == snapshot.mean("dead")
    assert np.isnan(found[1])
