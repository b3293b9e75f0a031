"""What every test may use: where the reference material is, and shape checks on our own functions."""

from __future__ import annotations

from pathlib import Path

import pytest

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of real weights and published results beside the checkout; skips where it is absent."""
    if not REFERENCE.is_dir():
        pytest.skip(f"reference material is absent: no folder {REFERENCE}")
    return REFERENCE
