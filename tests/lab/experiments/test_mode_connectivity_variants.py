from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from weightatlas.errors import SourceError
from weightatlas.lab import Configuration, Fork, Recipe
from weightatlas.lab.experiments.catalogue import open_experiment
from weightatlas.lab.experiments.mode_connectivity import cifar10, cifar10_small, quick
from weightatlas.lab.experiments.mode_connectivity_variants import (
    BEST,
    INSTABILITY,
    SHARES,
    Family,
    fork_name,
    of_family,
    place_of,
)


def family(**more: object) -> Family:
    base = Configuration(model="m", data="d", recipe=Recipe(steps=128))
    return replace(Family(base=base, widths=(0.5, 1, 2), forked=1), **more)  # type: ignore[arg-type]


def test_every_width_is_trained_twice_and_one_is_forked() -> None:
    variants = {variant.name: variant for variant in of_family(family())}
    assert list(variants)[:6] == ["w0.5", "w0.5.twin", "w1", "w1.twin", "w2", "w2.twin"]
    assert list(variants)[6:] == [f"w1.fork.{fork_name(share)}" for share in SHARES]
    for name, variant in variants.items():
        place = place_of(name)
        assert variant.configuration.model == f"m?width={place.width:g}"
        assert variant.partner == (None if place.role == "trunk" else f"w{place.width:g}")
    assert variants["w1"].configuration.fork is None
    assert variants["w1.twin"].configuration.fork == Fork(None)
    steps = [variants[f"w1.fork.{fork_name(share)}"].configuration.fork for share in SHARES]
    assert steps == [Fork(step) for step in (0, 2, 8, 16, 32, 64, 96)]


def test_pairs_of_runs_differ_in_their_fork_alone() -> None:
    for made in (quick(), cifar10_small("cifar10:a"), cifar10("cifar10:a")):
        for variant in made.variants:
            if variant.partner is not None:
                partner = made.variant(variant.partner).configuration
                assert replace(variant.configuration, fork=None) == partner
                assert variant.configuration.fork is not None


def test_only_the_widest_claims_to_be_lower_and_only_late_forks_to_have_no_barrier() -> None:
    variants = {variant.name: variant for variant in of_family(family())}
    lower = {
        name: [(claim.measure, claim.against) for claim in variant.claims if claim.expected == "lower"]
        for name, variant in variants.items()
        if place_of(name).role == "twin"
    }
    assert lower == {
        "w0.5.twin": [],
        "w1.twin": [],
        "w2.twin": [(measure, "w0.5.twin") for measure in ("log_barrier", *BEST)],
    }
    late = {
        name: claim.floor
        for name, variant in variants.items()
        for claim in variant.claims
        if place_of(name).role == "fork" and claim.expected == "absent"
    }
    assert late == {"w1.fork.1-2": INSTABILITY, "w1.fork.3-4": INSTABILITY}


def test_another_norm_is_a_family_of_its_own_that_claims_nothing_of_statistics() -> None:
    variants = of_family(family(convert="in", prefix="in.", forked=None))
    assert [variant.name for variant in variants][:2] == ["in.w0.5", "in.w0.5.twin"]
    assert {place_of(variant.name).family for variant in variants} == {"in"}
    assert all("&convert=in" in variant.configuration.model for variant in variants)
    assert not any(claim.measure == "recalibration_gain" for variant in variants for claim in variant.claims)


def test_a_dry_run_forks_at_the_same_share() -> None:
    whole = {variant.name: variant.configuration.fork for variant in quick().variants}
    short = {variant.name: variant for variant in open_experiment("mode-connectivity", steps=8).variants}
    for name, variant in short.items():
        fork, before = variant.configuration.fork, whole[name]
        if before is None or before.step is None:
            assert fork == before
        else:
            assert fork == Fork(int(place_of(name).share * 8))  # type: ignore[operator]


def test_a_family_that_counts_epochs_cannot_be_forked() -> None:
    with pytest.raises(ValueError, match="must count steps"):
        of_family(family(base=Configuration(model="m", data="d", recipe=Recipe(epochs=2))))


def test_a_share_that_is_no_whole_step_is_rounded_down() -> None:
    variants = of_family(family(shares=(Fraction(1, 3),)))
    assert variants[-1].configuration.fork == Fork(42)


def test_data_that_a_preset_brings_or_needs_are_named() -> None:
    with pytest.raises(SourceError, match="drop --data"):
        quick("cifar10:a")
    for preset in (cifar10_small, cifar10):
        with pytest.raises(SourceError, match="give them: --data cifar10:PATH"):
            preset()
