from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from weightatlas.data.placing import Placement, copied, sampled

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (4, 3, 7, 9), dtype=torch.uint8, generator=GENERATOR)


def placement(  # noqa: PLR0917 - in the order of its fields
    top: float, left: float, height: float, width: float, down: float = 0, right: float = 0, angle: float = 0
) -> Placement:
    """The same for four images, of which every other one is mirrored."""

    def four(value: float) -> torch.Tensor:
        return torch.full((4,), float(value), dtype=torch.float64)

    return Placement(
        top=four(top),
        left=four(left),
        height=four(height),
        width=four(width),
        down=four(down),
        right=four(right),
        mirrored=torch.tensor([False, True, False, True]),
        angle=four(angle),
    )


@settings(deadline=None, max_examples=60)
@given(
    top=st.integers(0, 2),
    left=st.integers(0, 3),
    tall=st.integers(1, 5),
    wide=st.integers(1, 6),
    down=st.integers(-6, 6),
    right=st.integers(-6, 6),
)
def test_at_whole_places_sampling_gives_the_pixels_that_are_copied(  # noqa: PLR0917 - drawn by name
    top: int, left: int, tall: int, wide: int, down: int, right: int
) -> None:
    where = placement(top, left, tall, wide, down, right)
    exact = copied(IMAGES, where, (tall, wide))
    assert torch.equal(sampled(IMAGES, where, (tall, wide)), exact)
    assert torch.equal(sampled(IMAGES.double(), where, (tall, wide)).round().byte(), exact)


def test_a_stretched_part_is_what_interpolation_gives() -> None:
    # Shrinking reads inside the part only, where interpolation need not say what lies beyond its edge.
    unmirrored = IMAGES[[0, 2]].double()
    part = unmirrored[:, :, 1:6, 2:9]
    expected = functional.interpolate(part, (3, 4), mode="bilinear", align_corners=False)
    read = sampled(IMAGES.double(), placement(1, 2, 5, 7), (3, 4))
    assert torch.allclose(read[[0, 2]], expected, atol=1e-3)
    mirrored = functional.interpolate(IMAGES[[1, 3]].double()[:, :, 1:6, 2:9], (3, 4), mode="bilinear").flip(3)
    assert torch.allclose(read[[1, 3]], mirrored, atol=1e-3)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_of_a_square_are_counter_clockwise(quarters: int) -> None:
    where = placement(0, 1, 7, 7, down=1, right=-2, angle=quarters * math.pi / 2)
    upright = copied(IMAGES, where, (7, 7))
    assert torch.equal(sampled(IMAGES, where, (7, 7)), torch.rot90(upright, quarters, dims=(2, 3)))


def test_a_row_of_one_pixel_can_be_sampled() -> None:
    line = torch.arange(5.0).reshape(1, 1, 1, 5).expand(4, -1, -1, -1)
    read = sampled(line, placement(0, 0, 1, 5), (1, 5))
    assert torch.allclose(read[0, 0, 0], torch.arange(5.0))
