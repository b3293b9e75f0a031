"""Units that are read alike: which of a layer's units may be mixed with which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    import numpy.typing as npt

    from weightatlas.degeneracy.wiring.endings import Layer, Reading

    Integers = npt.NDArray[np.int64]


class Classes:
    """A partition of units that is split further and further, with the reasons.

    Example:
        >>> classes = Classes(3)
        >>> classes.split([7, 7, 5], "the last one differs")
        >>> classes.labels().tolist(), classes.note
        ([0, 0, 1], 'the last one differs')
    """

    def __init__(self, units: int) -> None:
        """Begin with all units in one."""
        self._keys: list[tuple[Hashable, ...]] = [() for _ in range(units)]
        self._notes: dict[str, None] = {}

    @property
    def note(self) -> str | None:
        """Why there are several, or None."""
        return "; ".join(self._notes) or None

    def split(self, keys: Sequence[Hashable], sentence: str) -> None:
        """Part units that have different keys."""
        if len(set(keys)) > 1:
            self._notes[sentence] = None
        self._keys = [(*old, new) for old, new in zip(self._keys, keys, strict=True)]

    def split_by_groups(self, layer: Layer) -> None:
        """Part units of different groups of a convolution."""
        size = max(1, layer.units // layer.groups)
        groups = [unit // size for unit in range(layer.units)]
        self.split(groups, "its units lie in groups, which read different inputs")

    def split_by_readings(self, readings: Iterable[Reading]) -> None:
        """Part units that a layer reads at different places, or in different groups of its own."""
        for reading in readings:
            owner, places = reading.units.numpy(), reading.places.numpy()
            size = max(1, len(owner) // reading.product.groups)
            own: list[list[tuple[int, int]]] = [[] for _ in self._keys]
            for column in np.flatnonzero(owner >= 0):
                own[owner[column]].append((int(column) // size, int(places[column])))
            keys = [tuple(sorted(one)) for one in own]
            self.split(keys, f"{reading.layer} reads its units in groups, or not all alike")

    def labels(self) -> Integers:
        """The class of each unit, numbered by its first unit."""
        order = {key: place for place, key in enumerate(dict.fromkeys(self._keys))}
        return np.array([order[key] for key in self._keys], dtype=np.int64)
