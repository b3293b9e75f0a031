from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from weightatlas.nn.conversion.generators import generators_kept


def drawn() -> tuple[float, float, float]:
    """One number from each generator."""
    return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: S311, NPY002


def failing() -> None:
    drawn()
    message = "an error of its own"
    raise RuntimeError(message)


def test_what_is_drawn_within_is_drawn_again_behind() -> None:
    with generators_kept():
        within = drawn()
        second = drawn()
    assert second != within
    assert drawn() == within


def test_seeds_set_within_are_gone_behind() -> None:
    with generators_kept():
        expected = drawn()
    with generators_kept():
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        torch.manual_seed(5)
    assert drawn() == expected


def test_a_model_that_fails_leaves_the_generators_as_they_were() -> None:
    with generators_kept():
        expected = drawn()
    with pytest.raises(RuntimeError, match="of its own"), generators_kept():
        failing()
    assert drawn() == expected
