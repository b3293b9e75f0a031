"""Random generators that come out as they went in."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def generators_kept(device: torch.device | None = None) -> Iterator[None]:
    """Put back the generators of Python, of numpy and of torch (those of a device too) that a model may draw from.

    Example:
        >>> before = torch.get_rng_state()
        >>> with generators_kept():
        ...     drawn = torch.rand(1)
        >>> torch.equal(before, torch.get_rng_state())
        True
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - what a model's code may draw from
    try:
        with torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
