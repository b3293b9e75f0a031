"""What is kept of a run: at which products gradients can be had."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch.autograd.graph import get_gradient_edge

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.autograd.graph import GradientEdge

    from weightatlas.degeneracy.accumulating.products import Multiplied
    from weightatlas.degeneracy.accumulating.sites import Part, Site
    from weightatlas.degeneracy.accumulating.unfolding import Form

    Choice = Callable[[Site], bool]


class Tape:
    """Tells of the products of a run as it goes, and keeps where their gradients can be had.

    Attributes:
        entries: of the products since `clear`, which parts of each, how it was made, and where its gradient is.
        has_left: whether a product that was told of was not kept since then.
        blind: layers that ran where torch was told to keep no gradients.
    """

    def __init__(self, told: Choice, tell: Callable[[Part, Multiplied], None], kept: Choice) -> None:
        """Say of which layers what is given is told, and of which of these gradients are kept."""
        self.entries: list[tuple[tuple[Part, ...], Form, GradientEdge]] = []
        self.has_left = False
        self.blind: set[str] = set()
        self._told, self._tell, self._kept = told, tell, kept

    def __call__(self, parts: tuple[Part, ...], found: Multiplied, output: torch.Tensor) -> None:
        """Take in one product."""
        told = tuple(part for part in parts if self._told(part.site))
        for part in told:
            self._tell(part, found)
        kept = tuple(part for part in told if self._kept(part.site))
        self.has_left |= len(kept) < len(told)
        if kept and output.requires_grad:
            self.entries.append((kept, found.form, get_gradient_edge(output)))
        elif kept:
            self.blind.update(part.site.layer for part in kept)

    def clear(self) -> None:
        """Begin with another run."""
        self.entries.clear()
        self.has_left = False


class Sizes:
    """Counts the numbers that layers give.

    Attributes:
        given: how many, in all calls, by layer.
    """

    def __init__(self) -> None:
        """Begin at 0."""
        self.given: Counter[str] = Counter()

    def __call__(self, parts: tuple[Part, ...], found: Multiplied, output: torch.Tensor) -> None:
        """Take in one product."""
        del found
        for part in parts:
            self.given[part.site.layer] += output.numel()
