"""What each entry of a group in one network has in common with each entry in another: the Gram matrices of matching."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from weightatlas.connectivity.aligning.blocks import Block, Permutations, moving
from weightatlas.connectivity.aligning.chunks import CHUNK_BYTES, Picks, Span, as_rows, gathered, spans
from weightatlas.connectivity.aligning.sorted_rows import sorted_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from weightatlas.connectivity.aligning.states import StatePair

KEPT_BYTES: Final = 2**30
"""Most bytes of Gram matrices that are kept to be brought up to date; the others are computed anew each time."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One axis of a block on which a group stands.

    Attributes:
        block: the block.
        axis: its axis.
        others: groups that stand on its other axes; the same group, where it stands on two.
        squares: the sum of the squares of the first network's entries of the block.
    """

    block: Block
    axis: int
    others: frozenset[str]
    squares: float

    @property
    def twice(self) -> bool:
        """Whether the group stands on another axis of the block too, so that the objective is not linear in it."""
        return self.block.factors[self.axis].group in self.others


@dataclass(slots=True)
class _Kept:
    """A Gram matrix, and the permutations of other groups with which each place was added to it."""

    gram: torch.Tensor
    added: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)


class Grams:
    r"""The Gram matrices of the groups of two networks.

    \(G_{ij} = \sum_{(t, d)} \langle a_t[i], (\pi b)_t[j] \rangle\) over all axes d of blocks t on which the group
    stands, \(a_t[i]\) being what stands at its entry i; \(\pi\) permutes all groups but this one. The sum of
    \(G_{i \sigma(i)}\) is the group's part of the objective, for all its permutations \(\sigma\).

    Products are in float32. A matrix is kept; where since then other groups have moved a few entries, only what stands
    there is subtracted and added.

    Attributes:
        places: of each group.
        sizes: of each group.
    """

    def __init__(
        self,
        pair: StatePair,
        sizes: Mapping[str, int],
        *,
        device: torch.device | None = None,
        chunk: int = CHUNK_BYTES,
        kept: int = KEPT_BYTES,
    ) -> None:
        """Hold the weights; nothing is computed yet.

        Args:
            pair: the weights.
            sizes: of the groups.
            device: what computes; None is where the first network's tensors are.
            chunk: most bytes of a gathered piece of a tensor.
            kept: most bytes of matrices that are kept.
        """
        self.sizes = {name: size for name, size in sizes.items() if size > 1}
        self.places: dict[str, tuple[Place, ...]] = dict.fromkeys(self.sizes, ())
        for block, (squares, _) in zip(pair.blocks, pair.squares, strict=True):
            for axis, factor in enumerate(block.factors):
                if factor.group in self.places:
                    rest = block.factors[:axis] + block.factors[axis + 1 :]
                    others = frozenset(one.group for one in rest if one.group in self.places)
                    self.places[factor.group] += (Place(block, axis, others, squares),)
        self._pair = pair
        self._device = device
        self._chunk = chunk
        self._left = kept
        self._kept: dict[str, _Kept] = {}

    def neighbours(self, group: str) -> frozenset[str]:
        """The groups whose Gram matrices change where this one moves."""
        return frozenset().union(*(place.others for place in self.places[group]))

    def gram(
        self, group: str, permutations: Permutations, *, known: Collection[str] | None = None, unknown: bool = False
    ) -> torch.Tensor:
        """The Gram matrix of a group.

        Args:
            group: its name.
            permutations: of all other groups, and of its own where it stands on two axes of a block.
            known: leave out places with other groups than these; None is all places.
            unknown: add for the places left out what their sorted entries have in common: the same whatever their
                groups' permutations are.

        Returns:
            float32 (entries of a, entries of b).
        """
        linear = [number for number, place in enumerate(self.places[group]) if not place.twice]
        if known is None:
            asked, sorted_ones = linear, []
        else:
            asked = [number for number in linear if self.places[group][number].others <= set(known)]
            sorted_ones = [number for number in range(len(self.places[group])) if number not in asked]
        made = self._current(group, asked, permutations)
        extra = [place for place in self.places[group] if place.twice] if known is None else []
        if not extra and not (unknown and sorted_ones):
            return made
        made = made.clone()
        for place in extra:
            self._add(made, place, _picks(place, permutations))
        for number in sorted_ones if unknown else ():
            place = self.places[group][number]
            self._add_sorted(made, place, permutations, set(known or ()) - {group})
        return made

    def quadratic(self, group: str, permutations: Permutations) -> float:
        """The part of the objective on blocks that have the group on two axes."""
        blocks = {id(place.block): place.block for place in self.places[group] if place.twice}
        total = 0.0
        for block in blocks.values():
            ours, theirs = self._views(block)
            picks = [moving(factor, permutations) for factor in block.factors]
            for span in spans(ours, picks, limit=self._chunk):
                one, other = self._piece(ours, [None] * ours.ndim, span), self._piece(theirs, picks, span)
                total += float(torch.dot(one.reshape(-1), other.reshape(-1)))
        return total

    def information(self, group: str) -> list[float]:
        """For each place how much the first network's entries differ there, times how many numbers tell them apart.

        The first is the sum of squares about the entries' mean: norms that are 1 everywhere tell nothing. The second
        keeps a bias, one number for each entry, from standing for a matrix.
        """
        found = []
        for place in self.places[group]:
            view, _ = self._views(place.block)
            sums = view.sum(place.axis, dtype=torch.float32 if view.element_size() < 8 else view.dtype)
            mean = float(sums.square().sum()) / view.shape[place.axis]
            found.append(max(place.squares - mean, 0.0) * (view.numel() // view.shape[place.axis]))
        return found

    def _current(self, group: str, asked: list[int], permutations: Permutations) -> torch.Tensor:
        """The matrix of several places, brought up to date; it may not be written to."""
        kept = self._kept.get(group)
        if kept is None or not set(kept.added) <= set(asked) or self._dear(group, kept, permutations):
            kept = self._begin(group, kept)
        for number in asked:
            place = self.places[group][number]
            then = kept.added.get(number)
            now = {name: permutations[name] for name in place.others}
            if then is None:
                self._add(kept.gram, place, _picks(place, now))
            else:
                self._correct(kept.gram, place, then, now)
            kept.added[number] = now
        return kept.gram

    def _begin(self, group: str, kept: _Kept | None) -> _Kept:
        size = self.sizes[group]
        if kept is not None:
            kept.gram.zero_()
            kept.added.clear()
            return kept
        made = _Kept(torch.zeros(size, size, device=self._where()))
        if 4 * size**2 <= self._left:
            self._left -= 4 * size**2
            self._kept[group] = made
        return made

    def _dear(self, group: str, kept: _Kept, permutations: Permutations) -> bool:
        """Whether correcting a matrix would cost more than computing it anew."""
        work = whole = 0.0
        for number, then in kept.added.items():
            block = self.places[group][number].block
            entries = float(np.prod([factor.size for factor in block.factors], dtype=np.float64))
            whole += entries
            work += entries * sum(float((permutations[name] != order).mean()) for name, order in then.items())
        return work > whole

    def _correct(
        self, gram: torch.Tensor, place: Place, then: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]
    ) -> None:
        """Subtract what stood at entries that have moved since, and add what stands there now; axis after axis."""
        orders = dict(then)
        for name in then:
            moved = np.flatnonzero(then[name] != now[name])
            if not len(moved):
                continue
            for axis in place.block.axes_of(name):
                before, after = _picks(place, orders), _picks(place, orders)
                stay: list[np.ndarray | None] = [None] * len(before)
                stay[axis], before[axis], after[axis] = moved, then[name][moved], now[name][moved]
                self._add(gram, place, after, ours=stay, less=before)
            orders[name] = now[name]

    def _add(
        self,
        gram: torch.Tensor,
        place: Place,
        picks: Picks,
        *,
        ours: Picks | None = None,
        less: Picks | None = None,
    ) -> None:
        """Add what entries have in common at one place, minus what they had with other picks of the second network."""
        a, b = self._views(place.block)
        stay = ours or [None] * a.ndim
        for span in spans(a, stay, among=_but(place), limit=self._chunk):
            one, other = self._piece(a, stay, span), self._piece(b, picks, span)
            if less is not None:
                other = other - self._piece(b, less, span)
            gram.addmm_(as_rows(one, place.axis), as_rows(other, place.axis).T)

    def _add_sorted(self, gram: torch.Tensor, place: Place, permutations: Permutations, known: Collection[str]) -> None:
        """Add what entries have in common once sorted over the axes of groups that are not known."""
        factors = place.block.factors
        free = [axis for axis, one in enumerate(factors) if one.group in place.others and one.group not in known]
        free = [axis for axis in free if axis != place.axis]
        picks = [None if axis in free else pick for axis, pick in enumerate(_picks(place, permutations))]
        stay: Picks = [None] * len(factors)
        a, b = self._views(place.block)
        pairs = zip(
            sorted_rows(a, stay, place.axis, free, device=self._where(), limit=self._chunk),
            sorted_rows(b, picks, place.axis, free, device=self._where(), limit=self._chunk),
            strict=True,
        )
        for one, other in pairs:
            gram.addmm_(one, other.T)

    def _views(self, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
        return block.view(self._pair.a[block.tensor]), block.view(self._pair.b[block.tensor])

    def _where(self) -> torch.device:
        if self._device is not None:
            return self._device
        return next(iter(self._pair.a.values())).device if self._pair.a else torch.device("cpu")

    def _piece(self, view: torch.Tensor, picks: Picks, span: Span) -> torch.Tensor:
        return gathered(view, picks, span, device=self._where())


def _picks(place: Place, permutations: Permutations) -> list[np.ndarray | None]:
    """For each axis of a block which entries of the second network; the place's own axis stays."""
    return [
        None if axis == place.axis else moving(factor, permutations) for axis, factor in enumerate(place.block.factors)
    ]


def _but(place: Place) -> list[int]:
    """The other axes of the block."""
    return [axis for axis in range(len(place.block.factors)) if axis != place.axis]
