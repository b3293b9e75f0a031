"""The learning rates of the micro-batch experiment: of three, the best of each method at the largest batch, seed 0."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LOW: Final = (0.01, 0.03, 0.1)
"""The three that are tried, half a decade apart: at the largest batch; at smaller ones rates shrink with it."""

HIGH: Final = (0.03, 0.1, 0.3)
"""The three where the best of those is the highest."""

QUICK: Final[Mapping[str, float]] = MappingProxyType(
    {"bn": 0.01, "gn": 0.03, "gn-ws": 0.03, "bcn": 0.01, "bcn-ws": 0.01}
)
QUICK_MASKS: Final[Mapping[str, float]] = MappingProxyType({"bn": 0.3, "gn": 0.3, "gn-ws": 0.1, "bcn-ws": 0.3})
CIFAR10_SMALL: Final[Mapping[str, float]] = MappingProxyType(
    {"bn": 0.1, "gn": 0.1, "gn-ws": 0.1, "gn-centred": 0.1, "gn-scaled": 0.1, "bcn": 0.1, "bcn-ws": 0.1}
)
