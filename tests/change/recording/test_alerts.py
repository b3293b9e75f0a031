from __future__ import annotations

import pytest

from weightatlas.change.recording.alerts import StoppedAlerts, WeightChangeWarning


def test_each_layer_is_told_of_once() -> None:
    told: list[tuple[str, int]] = []
    alerts = StoppedAlerts(["a", "b", "c"], records=3, on_stopped=lambda name, step: told.append((name, step)))
    for step in range(1, 20):
        alerts.see(step, [1e-3, 1e-3, 1e-3 if step < 6 else 1e-6])
    assert told == [("c", 6)]


def test_a_schedule_that_all_share_stops_none() -> None:
    told: list[str] = []
    alerts = StoppedAlerts(["a", "b", "c"], records=3, on_stopped=lambda name, _: told.append(name))
    for step in range(1, 30):
        alerts.see(step, [1e-3 * 0.5**step, 2e-3 * 0.5**step, 5e-4 * 0.5**step])
    assert told == []


def test_by_default_a_warning_names_the_layer_and_the_step() -> None:
    alerts = StoppedAlerts(["stem", "head"], records=2)
    alerts.see(10, [1e-3, 0.0])
    with pytest.warns(WeightChangeWarning, match="head has stopped learning at step 10: for 2 records"):
        alerts.see(20, [1e-3, 0.0])


def test_what_is_not_known_stops_nothing() -> None:
    told: list[str] = []
    alerts = StoppedAlerts(["a", "b"], records=2, on_stopped=lambda name, _: told.append(name))
    for step in range(5):
        alerts.see(step, [1e-3, None])
    assert told == []


def test_no_records_are_no_definition() -> None:
    with pytest.raises(ValueError, match="records"):
        StoppedAlerts(["a"], records=0)
