from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.anatomy.graph.branch_types import Branch, Branching


def branch(name: str, units: list[int]) -> Branch:
    return Branch(name, np.array(units, dtype=np.int64), "conv", np.arange(len(units)), ("conv",), (1, 1), None)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(-1, 3), max_size=12))
def test_labels_say_what_the_branches_say(labels: list[int]) -> None:
    branches = tuple(
        branch(f"path {one}", [unit for unit, label in enumerate(labels) if label == one]) for one in range(4)
    )
    found = Branching("mixed", "concatenation", len(labels), branches)
    assert found.labels.tolist() == labels
    assert found.labels.dtype == np.int64
    assert found.names == ("path 0", "path 1", "path 2", "path 3")


def test_units_beyond_the_layer_are_refused() -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        _ = Branching("mixed", "concatenation", 2, (branch("one", [0, 2]),)).labels


def test_labels_are_a_copy_and_the_rest_cannot_be_changed() -> None:
    found = Branching("mixed", "groups", 2, (branch("one", [1]),))
    found.labels[:] = 7
    assert found.labels.tolist() == [-1, 0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.units = 3  # type: ignore[misc]
