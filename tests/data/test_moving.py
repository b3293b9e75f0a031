from __future__ import annotations

import torch

from weightatlas.data.moving import moved

CPU, NOWHERE = torch.device("cpu"), torch.device("meta")


def test_what_is_there_already_is_not_copied() -> None:
    numbers = torch.arange(3)
    assert moved(numbers, CPU) is numbers


def test_it_goes_to_the_device_with_its_type_and_shape() -> None:
    there = moved(torch.zeros(2, 3, dtype=torch.float64), NOWHERE)
    assert (there.device, there.dtype, tuple(there.shape)) == (NOWHERE, torch.float64, (2, 3))
