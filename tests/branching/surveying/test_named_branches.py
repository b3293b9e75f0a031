"""Branches that are named from outside fit the layers that the source has."""

from __future__ import annotations

import pytest

from tests.branching.planted_networks import UNITS, Branched
from weightatlas.branching.surveying.named_branches import named_branches
from weightatlas.branching.surveying.network import open_network
from weightatlas.errors import SourceError


def test_a_layer_has_all_its_units_where_only_some_are_named() -> None:
    (named, *_), notes = named_branches({"conv1": {"left": [0, 1], "right": [3]}}, open_network(Branched()))
    assert named.units == UNITS
    assert named.labels.tolist() == [0, 0, -1, 1] + [-1] * (UNITS - 4)
    assert notes == ()


def test_a_kernel_is_that_of_the_layer() -> None:
    network = open_network(Branched())
    shape = next(layer.shape for layer in network.checkpoint.layers if layer.layer == "conv1")
    (named, *_), _ = named_branches({"conv1": {"left": [0, 1]}}, network)
    assert named.branches[0].kernel == shape[2:]


def test_a_unit_that_the_layer_lacks_is_refused() -> None:
    with pytest.raises(SourceError, match=f"names {UNITS}, and the layer has"):
        named_branches({"conv1": {"left": [0, UNITS]}}, open_network(Branched()))


def test_a_layer_that_the_source_lacks_is_of_as_many_units_as_are_named() -> None:
    (named, *known), notes = named_branches({"mixed3a": {"one": [0], "other": [6]}}, open_network(Branched()))
    assert named.units == 7
    assert {branching.layer for branching in known} == {"conv1", "conv2"}
    assert "no weight is called mixed3a" in notes[0]
