from __future__ import annotations

from typing import Any

import pytest

from tests.degeneracy.sampling.potentials import options_of


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"chains": 0}, "chains must be 1 or more, not 0"),
        ({"draws": 0}, "draws must be 1"),
        ({"burn_in": -1}, "burn_in must be 0"),
        ({"thinning": 0}, "thinning must be 1"),
        ({"batch_size": 0}, "batch_size must be 1"),
        ({"step_size": 0.0}, "step_size must be finite and above 0"),
        ({"nbeta": float("inf")}, "nbeta must be finite"),
        ({"accuracy": -1.0}, "accuracy must be"),
        ({"localization": -1.0}, "localization must be finite and not negative"),
        ({"localization": float("nan")}, "localization must be finite"),
        ({"sampler": "sgnht"}, "sampler must be one of sgld, rmsprop-sgld, not 'sgnht'"),
    ],
)
def test_what_makes_no_chain_is_refused(changed: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        options_of(**changed)


def test_the_least_that_makes_a_chain_is_taken() -> None:
    assert options_of(chains=1, draws=1, burn_in=0, thinning=1, localization=0.0).chains == 1
