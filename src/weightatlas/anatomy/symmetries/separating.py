"""Groups that stay in their places, and those beside them with a permutation for each of their entries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from weightatlas.anatomy.symmetries.layout import Combined, Factor, Joined, Layout, factors_of

Owners = Mapping[str, tuple[str, ...]]
"""For groups by name, those groups of whose entries each could have a copy that moves on its own."""


@dataclass(slots=True, eq=False)
class Separation:
    """Layouts in which some groups stay.

    Attributes:
        owners: of the groups as they were.
        held: the groups that stay.
        reason: why; None keeps the reason that a factor has.
        left: the owners of the groups as they are then.
        origins: for each copy, the group that it is of.
    """

    owners: Owners
    held: Collection[str]
    reason: str | None = None
    left: dict[str, tuple[str, ...]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def tensor(self, axes: Iterable[Layout]) -> tuple[Layout, ...]:
        """The axes of a tensor.

        Example:
            >>> separation = Separation({"width": ("heads",)}, ["heads"])
            >>> axis = Combined((Factor(2, "heads"), Factor(3, "width")))
            >>> print(*separation.tensor([axis]), separation.origins)
            [width@0] + [width@1] {'width@0': 'width', 'width@1': 'width'}
        """
        return tuple(self._axis(axis, {}) for axis in axes)

    def _axis(self, layout: Layout, entries: Mapping[str, int]) -> Layout:
        """A layout that stands beside one entry each of some groups."""
        if isinstance(layout, Factor):
            return self._factor(layout, entries)
        if isinstance(layout, Joined):
            return Joined(tuple(self._axis(part, entries) for part in layout.parts))
        made: list[Layout] = []
        for place, part in enumerate(layout.parts):
            rest = layout.parts[place + 1 :]
            owner = part.group if isinstance(part, Factor) else None
            if owner is not None and owner in self.held and self._owns(owner, rest):
                several = range(part.size)
                made.append(Joined(tuple(self._axis(Combined(rest), {**entries, owner: n}) for n in several)))
                break
            made.append(self._axis(part, entries))
        return made[0] if len(made) == 1 else Combined(tuple(made))

    def _owns(self, owner: str, parts: Iterable[Layout]) -> bool:
        groups = {factor.group for part in parts for factor in factors_of(part)}
        return any(owner in self.owners.get(group or "", ()) for group in groups)

    def _factor(self, factor: Factor, entries: Mapping[str, int]) -> Factor:
        if factor.group is None:
            return factor
        if factor.group in self.held:
            return Factor(factor.size, None, self.reason or factor.reason)
        name = self._named(factor.group, entries)
        left = tuple(self._named(one, entries) for one in self.owners.get(factor.group, ()) if one not in self.held)
        if left:
            self.left[name] = left
        if name != factor.group:
            self.origins[name] = factor.group
        return Factor(factor.size, name, factor.reason)

    def _named(self, group: str, entries: Mapping[str, int]) -> str:
        places = [entries[owner] for owner in self.owners.get(group, ()) if owner in entries]
        return group + "".join(f"@{place}" for place in places)
