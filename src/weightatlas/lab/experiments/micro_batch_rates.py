"""The learning rates of the micro-batch experiment: of three, the best of each method at the largest batch, seed 0."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TRIED: Final = (0.03, 0.1, 0.3)
"""The three that are tried, half a decade apart, at the largest batch; at smaller ones rates shrink with it."""

QUICK: Final[Mapping[str, float]] = MappingProxyType({"bn": 0.1, "gn": 0.03, "gn-ws": 0.1, "bcn": 0.3, "bcn-ws": 0.3})
"""The order of discs on scenes, batches of 16. Held-out accuracy at .03, .1 and .3: bn .963, .997, .962; gn .265, .259,
.174; gn-ws .620, .943, .473; bcn .826, .942, .977; bcn-ws .924, .960, .980
(`weightatlas experiment micro-batch --preset quick-rates --table methods`)."""

QUICK_MASKS: Final[Mapping[str, float]] = MappingProxyType({"bn": 0.3, "gn": 0.3, "gn-ws": 0.1, "bcn-ws": 0.3})
"""Their masks, batches of 16. Mean intersection over union: bn .455, .711, .816; gn .320, .576, .786; gn-ws .532, .770,
.750; bcn-ws .318, .655, .783 (the same command)."""

CIFAR10_SMALL: Final[Mapping[str, float]] = MappingProxyType(
    {"bn": 0.03, "gn": 0.1, "gn-ws": 0.1, "gn-centred": 0.1, "gn-scaled": 0.03, "bcn": 0.3, "bcn-ws": 0.1}
)
"""CIFAR-10, batches of 64. Held-out accuracy: bn .412, .394, .386; gn .335, .372, .342; gn-ws .361, .411, .373;
gn-centred .376, .390, .314; gn-scaled .365, .348, .340; bcn .385, .410, .412; bcn-ws .392, .430, .369
(`weightatlas experiment micro-batch --preset cifar10-small-rates --data cifar10:data/cifar10 --table methods`)."""
