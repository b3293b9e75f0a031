"""Two networks' weights side by side: which tensors count, that they fit, and how alike they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.anatomy.symmetries.layout import Factor
from weightatlas.connectivity.aligning.blocks import Block, Permutations, blocks_of, moving
from weightatlas.connectivity.aligning.chunks import Picks, gathered, spans
from weightatlas.errors import NotFiniteError, SourceError
from weightatlas.wording import printable

if TYPE_CHECKING:
    from torch import nn

    from weightatlas.anatomy.symmetry import Symmetries

State = Mapping[str, torch.Tensor]

STATISTICS: Final = ("running_mean", "running_var")

FIRST: Final = "the first network"
SECOND: Final = "the second network"
BOTH: Final = "these networks"

PIECE: Final = 2**15
"""Entries that are summed in float32, to 1e-7 of their sum (a million: to 1e-5). Pieces are added in float64."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike the weights of two networks are.

    Attributes:
        cosine: between both, as vectors; NaN where one is 0.
        distance: between both, as vectors.
        objective: what is matched for: their products, entry by entry.
    """

    cosine: float
    distance: float
    objective: float


@dataclass(frozen=True, slots=True, eq=False)
class StatePair:
    """The tensors of two networks that count.

    Attributes:
        a: of the first, by name.
        b: of the second.
        blocks: all of them, in plain axes.
        squares: of each block the sum of the squares of the first one's entries, and of the second one's.
    """

    a: State
    b: State
    blocks: tuple[Block, ...]
    squares: tuple[tuple[float, float], ...]

    def likeness(self, permutations: Permutations | None = None) -> Likeness:
        """How alike they are, with the second one's units permuted; groups that are not given stay."""
        product = between = 0.0
        for block in self.blocks:
            both, apart = _sums(block, self.a, self.b, permutations or {}, (_product, _between))
            product += both
            between += apart
        ours, theirs = (math.sqrt(sum(several)) for several in zip(*self.squares, strict=True))
        cosine = min(max(product / ours / theirs, -1.0), 1.0) if ours and theirs else math.nan
        return Likeness(cosine, math.sqrt(between), product)

    def with_a(self, a: State) -> StatePair:
        """The same with another first network, by the same names."""
        return replace(self, a=a)

    def with_b(self, b: State) -> StatePair:
        """The same with another second network, by the same names, whose tensors have the same squares."""
        return replace(self, b=b)


def state_pair(
    model: nn.Module | None,
    symmetries: Symmetries,
    a: State,
    b: State,
    *,
    statistics: bool = False,
) -> StatePair:
    """Put two networks' weights side by side.

    Args:
        model: whose parameters count; None is all floating-point tensors but running statistics.
        symmetries: of the network.
        a: state of the first.
        b: state of the second.
        statistics: whether running statistics count too.

    Raises:
        SourceError: a tensor is missing or of another shape than in the model or in the other network.
        NotFiniteError: a tensor holds NaN or infinite values.
    """
    names = _names(model, a, b, statistics=statistics)
    held_a = {name: tensor for name in names if (tensor := a[name].detach()).is_floating_point()}
    names = list(held_a)
    held_b = {name: b[name].detach() for name in names}
    for name in names:
        _check_shapes(name, held_a[name], held_b[name], symmetries)
    layouts = {
        name: symmetries.layouts.get(name) or tuple(Factor(size) for size in held_a[name].shape) for name in names
    }
    blocks = blocks_of(layouts)
    squares = tuple(_squares(block, held_a, held_b) for block in blocks)
    return StatePair(held_a, held_b, blocks, squares)


def _squares(block: Block, a: State, b: State) -> tuple[float, float]:
    """Sums of squares; the only ones that see every entry before anything is matched."""
    (ours,) = _sums(block, a, b, {}, (lambda one, _: torch.dot(one, one),))
    (theirs,) = _sums(block, a, b, {}, (lambda _, other: torch.dot(other, other),))
    if not math.isfinite(ours + theirs):
        which = SECOND if math.isfinite(ours) else FIRST
        message = f"{printable(block.tensor, limit=80)} of {which} holds NaN or infinite values"
        raise NotFiniteError(message)
    return ours, theirs


def _names(model: nn.Module | None, a: State, b: State, *, statistics: bool) -> list[str]:
    """The names of the tensors that may count; of a tensor of several names the first that both have."""
    if model is None:
        return [_name([name], a, b) for name in a if statistics or not name.endswith(STATISTICS)]
    several: dict[int, list[str]] = {}
    named: list[tuple[str, torch.Tensor]] = list(model.named_parameters(remove_duplicate=False))
    if statistics:
        named += [(name, one) for name, one in model.named_buffers(remove_duplicate=False) if name.endswith(STATISTICS)]
    for name, tensor in named:
        if tensor.is_floating_point():
            several.setdefault(id(tensor), []).append(name)
    return [_name(names, a, b) for names in several.values()]


def _name(names: list[str], a: State, b: State) -> str:
    for which, state in ((FIRST, a), (SECOND, b)):
        if not any(name in state for name in names):
            problem = f"has no {printable(names[0], limit=80)}, a parameter of the model"
            raise SourceError(which, problem, "give a state of that model, by the model's names")
    both = [name for name in names if name in a and name in b]
    if not both:
        problem = f"its {printable(names[0], limit=80)} is named otherwise than in the first"
        raise SourceError(SECOND, problem, "give both by the model's names")
    return both[0]


def _check_shapes(name: str, a: torch.Tensor, b: torch.Tensor, symmetries: Symmetries) -> None:
    shown = printable(name, limit=80)
    if a.shape != b.shape:
        problem = f"{shown} has the shape {list(a.shape)} in the first and {list(b.shape)} in the second"
        raise SourceError(BOTH, problem, "give two networks of one architecture and width")
    layouts = symmetries.layouts.get(name)
    expected = None if layouts is None else [axis.size for axis in layouts]
    if expected is not None and list(a.shape) != expected:
        problem = f"{shown} has the shape {list(a.shape)}, and {expected} in the model whose symmetries these are"
        raise SourceError(BOTH, problem, "give the symmetries of their own architecture")


def _product(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.dot(one, other)


def _between(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    apart = one - other
    return torch.dot(apart, apart)


def _sums(
    block: Block,
    a: State,
    b: State,
    permutations: Permutations,
    functions: Sequence[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]],
) -> list[float]:
    """Sums over all entries of a block, the second one's permuted: in float32 over short pieces, these in float64."""
    ours, theirs = block.view(a[block.tensor]), block.view(b[block.tensor])
    stay: Picks = [None] * len(block.factors)
    picks = [moving(factor, permutations) for factor in block.factors]
    sums = [0.0] * len(functions)
    for span in spans(ours, picks):
        x = gathered(ours, stay, span, dtype=_summed(ours)).reshape(-1)
        y = gathered(theirs, picks, span, device=x.device, dtype=x.dtype).reshape(-1)
        for one, other in zip(torch.split(x, PIECE), torch.split(y, PIECE), strict=True):
            for number, function in enumerate(functions):
                found = float(function(one, other))
                sums[number] += found if math.isfinite(found) else float(function(one.double(), other.double()))
    return sums


def _summed(tensor: torch.Tensor) -> torch.dtype:
    """What products are summed in: the type of float64 tensors, float32 for all others."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
