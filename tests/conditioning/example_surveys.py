"""Surveys of small networks, each made once, and one whose walks left the finite numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from tests.conditioning.example_networks import QUICK, Small, deep, scenes
from weightatlas.conditioning import Conditioning, survey
from weightatlas.conditioning.singularities import singularities
from weightatlas.conditioning.smoothness import smoothness
from weightatlas.conditioning.snapshots import Snapshot


@cache
def small() -> Conditioning:
    """Three layers, of which the first has three dead channels."""
    return survey(Small(dead=3), data=scenes(), **{**QUICK, "eigenvalues": 1})


@cache
def healthy() -> Conditioning:
    """Three layers without a dead channel."""
    return survey(Small(), data=scenes(), **QUICK)


@cache
def layered(layers: int) -> Conditioning:
    """So many layers."""
    return survey(deep(layers), data=scenes(), **{**QUICK, "examples": 8, "smooth_examples": 4, "draws": 1})


@cache
def channels_only() -> Conditioning:
    """Without smoothness."""
    return survey(Small(dead=1), data=scenes(), examples=8, smooth=False)


@cache
def over_a_run() -> Conditioning:
    """Three moments, at the second of which nothing is known."""
    return replace(healthy(), snapshots=(_moment(0, Small()), Snapshot(100, None, None, "lost", "lost"), _moment(900)))


@cache
def unmeasured() -> Conditioning:
    """Nothing is known."""
    return replace(healthy(), snapshots=(Snapshot(None, None, None, "it failed", "it failed too"),))


@cache
def exploded() -> Conditioning:
    """Every walk left the finite numbers."""
    snapshot = healthy().last
    found = snapshot.smoothness
    assert found is not None
    assert found.descent is not None
    infinite = np.full(len(found.lengths), np.inf)
    lost = replace(found.descent, loss_change=infinite, gradient_distance=infinite)
    beyond = replace(found, descent=lost, random=(lost, *found.random))
    return replace(healthy(), snapshots=(replace(snapshot, smoothness=beyond),))


EVERY = (small, healthy, channels_only, over_a_run, unmeasured, exploded)


def _moment(step: int, network: Small | None = None) -> Snapshot:
    data, network = scenes(), Small(dead=2) if network is None else network
    return Snapshot(
        step,
        singularities(network, data, examples=8),
        smoothness(network, data, examples=4, draws=1, eigenvalues=0),
    )
