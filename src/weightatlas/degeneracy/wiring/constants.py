"""Constants that a network adds in one place and takes back in another: shifts of biases, embeddings and norms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from weightatlas.degeneracy.streams import Changes, Moving
    from weightatlas.degeneracy.wiring.flows import End


class Constants:
    r"""The directions along which constants are added and taken back.

    Adding t to the bias of a map shifts channels of all values that it goes into. Where another bias (or embedding, or
    parameter) goes into exactly the same ones, that takes t away: \(\delta b = t\), \(\delta b' = -t\). Else each map
    that reads them has to: \(\delta b_r = -W_r t\), summed over the places of a kernel; a batch norm by
    \(\delta\beta = -\gamma t / \sigma\). A map without a bias passes its constant on, to a batch norm behind it.

    Args:
        moving: the parameters that may move, and the streams.
    """

    def __init__(self, moving: Moving) -> None:
        self._moving = moving
        wiring = moving.found.wiring
        self._sources = wiring.sources
        self._known: dict[str, dict[int, list[int]]] = {}
        self._sums: dict[str, torch.Tensor] = {}
        self._ends: dict[str, list[End]] = {}
        for end in wiring.ends:
            for key in end.constants:
                self._ends.setdefault(key, []).append(end)
        self._readings: dict[str, list[End]] = {}
        for end in wiring.ends:
            if end.reader is not None:
                self._readings.setdefault(end.reader, []).append(end)
        self._alike: dict[object, list[str]] = {}
        for key, source in self._sources.items():
            if source.bias is not None and self._is_free(source.bias) and key not in wiring.slots.spoilt:
                self._alike.setdefault(self._signature(key), []).append(key)

    def changes(self) -> Iterator[tuple[str, Changes]]:
        """Give the directions, each with the map whose constant it is."""
        for several in self._alike.values():
            first, *others = several
            if not self._ends.get(first):
                continue
            for key in others:
                yield from self._each(key, (first,))
            yield from self._each(first, ())

    def _each(self, key: str, partners: tuple[str, ...]) -> Iterator[tuple[str, Changes]]:
        if not all(self._is_plain(one) for one in (key, *partners)):
            return
        for label in self._places(key):
            changes: Changes = {}
            self._add(changes, key, {label: 1.0})
            if partners:
                is_free = self._add(changes, partners[0], {label: -1.0})
            else:
                is_free = self._taken_back(changes, key, {label: 1.0}, frozenset({key}))
            if is_free:
                yield key, changes

    def _taken_back(self, changes: Changes, key: str, shift: Mapping[int, float], passed: frozenset[str]) -> bool:
        """Have all that takes a map's constant take a shift of it back; False where that cannot be."""
        readers: dict[str, None] = {}
        if not self._ends.get(key):
            return False
        for end in self._ends[key]:
            if end.reader is None or not end.is_direct or end.constants[key]:
                return False
            readers[end.reader] = None
        for reader in readers:
            is_spoilt = reader in self._moving.found.wiring.slots.spoilt
            if is_spoilt or any(key not in end.constants for end in self._readings[reader]):
                return False
            if not self._cancelled(changes, reader, self._read(reader, shift), passed):
                return False
        return True

    def _cancelled(self, changes: Changes, key: str, shift: Mapping[int, float] | None, passed: frozenset[str]) -> bool:
        """Take a shift of what a map gives back: by its own bias, by one that goes where it does, or further on."""
        source = self._sources.get(key)
        if shift is None or source is None or key in passed or key in self._moving.found.wiring.slots.spoilt:
            return False
        alike = self._alike.get(self._signature(key), ()) if self._ends.get(key) else ()
        near = [one for one in alike if one != key and one not in passed]
        own = [key] if source.bias is not None and self._is_free(source.bias) else []
        taken = {label: -size for label, size in shift.items()}
        if any(self._is_plain(one) and self._add(changes, one, taken) for one in (*own, *near)):
            return True
        return self._taken_back(changes, key, shift, passed | {key})

    def _signature(self, key: str) -> frozenset[object]:
        """Equal for maps whose constants go into the same calls in the same way."""
        return frozenset((end.number, end.constants[key]) for end in self._ends.get(key, ()))

    def _is_free(self, name: str) -> bool:
        return name in self._moving.parameters and name not in self._moving.found.wiring.slots.spoilt

    def _places(self, key: str) -> dict[int, list[int]]:
        """The places of each label that a map gives."""
        if key not in self._known:
            found: dict[int, list[int]] = {}
            for place, label in enumerate(self._moving.found.roots.of(self._sources[key].part).tolist()):
                found.setdefault(label, []).append(place)
            self._known[key] = found
        return self._known[key]

    def _is_plain(self, key: str) -> bool:
        """Whether each label that a map gives has one channel, or is of a parameter that is added as it is."""
        is_parameter = self._sources[key].bias == key and not self._sources[key].is_table
        return is_parameter or all(len(places) == 1 for places in self._places(key).values())

    def _add(self, changes: Changes, key: str, shift: Mapping[int, float]) -> bool:
        """Add a shift to a bias, to all rows of an embedding, or to all places of a parameter, if there are such."""
        source, places = self._sources[key], self._places(key)
        if not shift.keys() <= places.keys():
            return False
        name = str(source.bias)
        own = torch.tensor([place for label in shift for place in places[label]])
        sizes = torch.tensor([size for label, size in shift.items() for _ in places[label]], dtype=torch.float64)
        sizes = sizes.to(self._moving.values(name))
        if source.is_table:
            numbers = self._moving.numbers(name)
            own, sizes = numbers[:, own].reshape(-1), sizes.expand(len(numbers), -1).reshape(-1)
        changes.setdefault(name, []).append((own, sizes))
        return True

    def _read(self, key: str, shift: Mapping[int, float]) -> dict[int, float] | None:
        """What a map makes of a shift of what it reads, by the labels that it gives; None where that is not told."""
        found = self._moving.found
        if key not in self._moving.parameters or not self._is_plain(key):
            return None
        part = next(part for part in found.wiring.slots.parts[key] if part.side == "reads")
        columns = found.roots.of(part)
        gives = found.roots.of(self._sources[key].part)
        if part.axis is None:
            slopes = self._moving.slopes(key)
            return {
                int(gives[place]): float(slopes[place]) * shift[int(label)]
                for place, label in enumerate(columns)
                if int(label) in shift
            }
        weight = self._moving.parameters[key].detach().cpu()
        if key not in self._sums:
            moved = weight.movedim(part.axis, 1)
            self._sums[key] = moved.flatten(2).sum(2) if moved.ndim > 2 else moved
        sums = self._sums[key]
        size, rows = part.count // part.groups, sums.shape[0] // part.groups
        total = torch.zeros(sums.shape[0], dtype=sums.dtype)
        for column, label in enumerate(columns.tolist()):
            if label in shift:
                first = column // size * rows
                total[first : first + rows] += sums[first : first + rows, column % size] * shift[label]
        return {int(label): value for label, value in zip(gives, total.tolist(), strict=True)}
