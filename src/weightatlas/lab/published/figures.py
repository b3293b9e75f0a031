"""A figure as it was published, and how sure we are of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Certainty = Literal["read in its source", "quoted by others", "recalled, not confirmed"]
Metric = Literal["top-1 error", "top-5 error", "box AP", "mask AP", "mean IoU"]

CERTAINTIES: Final[tuple[Certainty, ...]] = get_args(Certainty)
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)

SHARES: Final[Mapping[Metric, tuple[str, Callable[[float], float]]]] = {
    "top-1 error": ("test_accuracy", lambda share: 100 * (1 - share)),
    "top-5 error": ("test_top5", lambda share: 100 * (1 - share)),
    "mean IoU": ("score", lambda share: 100 * share),
}
"""Of the metrics that a run of the lab has: the name of its share, 0 to 1, and how that becomes per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """A figure that a paper or a repository gives for a recipe.

    Attributes:
        metric: what was measured, on the validation split: top-1 and top-5 error of ImageNet (one crop), box and mask
            AP of COCO, mean intersection over union of PASCAL VOC 2012.
        value: per cent, 0 to 100; of errors less is better, of the others more.
        source: where it stands.
        how_sure: whether it was read there, read in a text that quotes it, or is only recalled.
        unit: of the value.

    Raises:
        ValueError: the metric or the certainty is unknown, or the value is no percentage.

    Example:
        >>> PublishedFigure(metric="top-1 error", value=23.72, source="a table", how_sure="read in its source").unit
        '%'
    """

    metric: Metric
    value: float
    source: str
    how_sure: Certainty
    unit: str = "%"

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.metric not in METRICS or self.how_sure not in CERTAINTIES or not 0 <= self.value <= 100:
            message = f"a figure is a percentage of {', '.join(METRICS)}, {' or '.join(CERTAINTIES)}, not {self}"
            raise ValueError(message)

    @property
    def less_is_better(self) -> bool:
        """Whether it is an error."""
        return self.metric.endswith("error")
