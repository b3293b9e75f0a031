"""One survey that the tests of tables, charts, findings and plates look at."""

from __future__ import annotations

import pytest

from tests.connectivity.example_networks import QUICK, Small, labelled, reordered
from weightatlas.connectivity import Connection, survey


@pytest.fixture(scope="session")
def planted() -> Connection:
    """A network, itself in another order, and two other networks of the same shape."""
    network = Small()
    return survey(
        network, reordered(network), Small(seed=7), Small(seed=8), data=labelled(network), curvature=True, **QUICK
    )


@pytest.fixture(scope="session")
def blind() -> Connection:
    """Two networks without data."""
    network = Small()
    return survey(network, reordered(network), nulls=2, restarts=1)
