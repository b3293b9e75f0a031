from __future__ import annotations

from dataclasses import replace

import pytest

from tests.lab.experiments.experiments_for_tests import configuration, experiment
from weightatlas.lab.experiments.claims import Claim
from weightatlas.lab.experiments.experiment import Variant


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (Variant(name="baseline", configuration=configuration("x")), "its own"),
        (Variant(name="../outside", configuration=configuration("x")), "letters, digits"),
        (Variant(name=".hidden", configuration=configuration("x")), "letters, digits"),
        (Variant(name="x", configuration=configuration("x"), against="later"), "does not stand before"),
        (
            Variant(name="x", configuration=configuration("x"), claims=(Claim(measure="speed", expected="present"),)),
            "speed, which is not measured",
        ),
        (
            Variant(name="x", configuration=configuration("x"), claims=(Claim(measure="score", expected="lower"),)),
            "compared with nothing",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(variant: Variant, message: str) -> None:
    made = experiment("baseline")
    with pytest.raises(ValueError, match=message):
        replace(made, variants=(*made.variants, variant))


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_seeds_are_asked_for_and_stand_once(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="seeds that differ"):
        experiment(seeds=seeds)


def test_a_variant_is_found_by_its_name() -> None:
    made = experiment()
    assert made.variant("weak") is made.variants[1]
    with pytest.raises(KeyError):
        made.variant("strong")
