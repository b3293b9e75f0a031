from __future__ import annotations

import numpy as np
import pytest

from weightatlas.branching.kernels.classes import Candidate, classify


def candidate(explained: float, *, p_value: float = 0.01, bandpass: bool = True) -> Candidate:
    return Candidate(np.array([explained]), np.array([p_value]), np.array([bandpass]))


NO_SPOT = candidate(0.2, p_value=0.5)


@pytest.mark.parametrize(
    ("chroma", "colour_p", "gabors", "spots", "expected", "score"),
    [
        (0.9, 0.01, candidate(0.95), NO_SPOT, "colour contrast", 0.9),
        (0.9, np.nan, candidate(np.nan, p_value=np.nan), candidate(np.nan, p_value=np.nan), "colour contrast", 0.9),
        (0.66, 0.4, candidate(0.3, p_value=0.2), NO_SPOT, "other", 0.7),
        (0.2, 0.01, candidate(0.95), NO_SPOT, "Gabor", 0.95),
        (0.0, 1.0, candidate(0.49), NO_SPOT, "other", 0.51),
        (0.0, 1.0, candidate(0.7, p_value=0.03), NO_SPOT, "other", 0.3),
        (0.0, 1.0, candidate(0.9, bandpass=False), NO_SPOT, "other", 0.8),
        (0.0, 1.0, NO_SPOT, candidate(0.8), "centre-surround", 0.8),
        (0.0, 1.0, candidate(0.85), candidate(0.9), "centre-surround", 0.9),
        (0.0, 1.0, candidate(0.9), candidate(0.85), "Gabor", 0.9),
        # Two parameters more buy .001 of R squared: the simpler model names the kernel.
        (0.0, 1.0, candidate(0.901), candidate(0.9), "centre-surround", 0.9),
        (0.0, 1.0, candidate(0.95, bandpass=False), candidate(0.9), "centre-surround", 0.9),
        (0.0, 1.0, candidate(np.nan, p_value=np.nan), candidate(np.nan, p_value=np.nan), "other", np.nan),
    ],
)
def test_the_rules(  # noqa: PLR0917 - one column of the table each
    chroma: float, colour_p: float, gabors: Candidate, spots: Candidate, expected: str, score: float
) -> None:
    names, scores = classify(np.array([chroma]), np.array([colour_p]), gabors=gabors, spots=spots, pixels=49)
    assert names == (expected,)
    np.testing.assert_allclose(scores, [score])
