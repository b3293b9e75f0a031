from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas import open_checkpoint
from weightatlas.banding import BandingSurvey, survey
from weightatlas.banding.findings import banding_findings, banding_title, symmetry_title, type_shares_title, types_title


def random(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(32, 24, 3, 3))


def banded(seed: int, strength: float = 2.0) -> np.ndarray:
    bands = np.repeat(np.random.default_rng(seed + 100).normal(size=(32, 24, 3, 1)), 3, axis=3)
    return random(seed) + strength * bands


def turned(seed: int) -> np.ndarray:
    return banded(seed).swapaxes(2, 3)


def surveyed(*weights: np.ndarray) -> BandingSurvey:
    state = {f"conv{place}.weight": torch.from_numpy(weight).float() for place, weight in enumerate(weights, start=1)}
    return survey(open_checkpoint(state))


@pytest.mark.parametrize(
    ("weights", "statement", "title"),
    [
        (
            [random(0), random(1), banded(2), banded(3)],
            "Two layers are horizontally banded: the last two of four spatial convolutions.",
            "Banding begins at conv3 and is strongest",
        ),
        (
            [random(0), turned(1)],
            "One layer is vertically banded: the last of two spatial convolutions.",
            "Only conv2 is banded, vertically",
        ),
        (
            [banded(0), random(1), turned(2)],
            "One layer horizontally and one layer vertically banded.",
            "Two layers of 3 are banded, most strongly",
        ),
        (
            [random(0), random(1)],
            "No layer is banded: none of two layers prefers a direction strongly enough.",
            "None of two layers is banded",
        ),
    ],
)
def test_the_first_finding_says_how_many_which_way_and_where(
    weights: list[np.ndarray], statement: str, title: str
) -> None:
    found = surveyed(*weights)
    first = max(banding_findings(found), key=lambda finding: finding.importance)
    assert first.statement == statement
    assert first.plate == "banding"
    assert banding_title(found).startswith(title)


def test_a_faint_lean_is_told_from_banding() -> None:
    found = surveyed(random(0), random(1), _faint())
    statements = [finding.statement for finding in banding_findings(found)]
    assert "One layer more leans one way, too faintly to be called banded." in statements


def _faint() -> np.ndarray:
    generator = np.random.default_rng(0)
    bands = np.repeat(generator.normal(size=(256, 64, 3, 1)), 3, axis=3)
    return np.asarray(0.35 * bands + generator.normal(size=(256, 64, 3, 3)))


def test_broken_flips_are_found_and_counted_in_the_title() -> None:
    heavy = random(0) * np.array([2.0, 1.0, 1.0])[:, None]
    found = surveyed(heavy, random(1))
    statements = [finding.statement for finding in banding_findings(found)]
    assert "One layer weighs top and bottom of its kernels unequally." in statements
    assert symmetry_title(found) == "Of two layers, one breaks the vertical flip"
    assert symmetry_title(surveyed(random(1), random(2))) == "No layer's units break a symmetry of the square in common"


def test_types_are_said_of_layers_that_have_a_direction_only() -> None:
    found = surveyed(random(0), banded(1, strength=5.0))
    types = found.types()
    assert types_title(types).startswith("Eleven types of tissue; ")
    assert type_shares_title(found, types).startswith("conv2 is ")
    plain = surveyed(random(0), random(1))
    assert type_shares_title(plain, plain.types()) == "What each layer is made of; none of them has a direction"
