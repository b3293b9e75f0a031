"""What every test may use: where the reference material is, and shape checks on our own functions."""

from __future__ import annotations

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

ESTIMATORS = (
    "weightatlas.anatomy.spectral",
    "weightatlas.anatomy.statistics",
    "weightatlas.banding.flips",
    "weightatlas.banding.kernels",
    "weightatlas.banding.matching",
    "weightatlas.banding.nmf",
    "weightatlas.banding.score",
    "weightatlas.banding.slides",
    "weightatlas.banding.symmetries",
    "weightatlas.banding.types",
    "weightatlas.branching.cuts.adjacency",
    "weightatlas.branching.cuts.ncut",
    "weightatlas.branching.hidden.axis_tests",
    "weightatlas.branching.hidden.biclusters",
    "weightatlas.branching.hidden.correlations",
    "weightatlas.branching.hidden.hidden_matrix",
    "weightatlas.branching.hidden.successive",
    "weightatlas.branching.kernels.classes",
    "weightatlas.branching.kernels.colour",
    "weightatlas.branching.kernels.gabor",
    "weightatlas.branching.kernels.image_kernels",
    "weightatlas.branching.kernels.noise",
    "weightatlas.branching.kernels.spectrum",
    "weightatlas.branching.kernels.spots",
    "weightatlas.branching.tuning",
)
install_import_hook(list(ESTIMATORS), "beartype.beartype")  # shapes and types are checked in tests only

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of real weights and published results beside the checkout; skips where it is absent."""
    if not REFERENCE.is_dir():
        pytest.skip(f"reference material is absent: no folder {REFERENCE}")
    return REFERENCE
