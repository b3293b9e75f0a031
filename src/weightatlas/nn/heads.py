"""What stands between the last map and the classifier, by name: Weight Banding's variants of the pooling."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, get_args

from weightatlas.nn.film import SpatialFilm
from weightatlas.nn.hidden_heads import ChannelGroups, GlobalMaxHidden
from weightatlas.nn.position_means import AllPositions, ColumnMeans, GlobalMean, RowAndColumnMeans, RowMeans
from weightatlas.nn.position_weights import FullMask, PositionAttention, SpatialMasks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from weightatlas.nn.map_head import MapHead

HeadName = Literal[
    "gap",
    "no-pooling",
    "x-pooling",
    "y-pooling",
    "xy-pooling",
    "global-max",
    "masks-3",
    "masks-5",
    "masks-16",
    "full-mask",
    "attention",
    "channel-groups",
    "spatial-film",
]
HEADS: Final[tuple[HeadName, ...]] = get_args(HeadName)

_BUILDERS: Final[Mapping[HeadName, Callable[[int, int, int], MapHead]]] = MappingProxyType(
    {
        "gap": GlobalMean,
        "no-pooling": AllPositions,
        "x-pooling": RowMeans,
        "y-pooling": ColumnMeans,
        "xy-pooling": RowAndColumnMeans,
        "global-max": GlobalMaxHidden,
        "masks-3": partial(SpatialMasks, masks=3),
        "masks-5": partial(SpatialMasks, masks=5),
        "masks-16": partial(SpatialMasks, masks=16),
        "full-mask": FullMask,
        "attention": PositionAttention,
        "channel-groups": ChannelGroups,
        "spatial-film": SpatialFilm,
    }
)


def build_head(name: HeadName, channels: int, height: int, width: int) -> MapHead:
    """Build a head for a map by its name.

    | name | what the classifier sees | features | class |
    |---|---|---|---|
    | gap | the mean over positions (the baseline) | C | `GlobalMean` |
    | no-pooling | every position | C H W | `AllPositions` |
    | x-pooling | the mean of each row | C H | `RowMeans` |
    | y-pooling | the mean of each column | C W | `ColumnMeans` |
    | xy-pooling | the means of rows and of columns | C (H + W) | `RowAndColumnMeans` |
    | global-max | a hidden layer over the maxima | 4096 | `GlobalMaxHidden` |
    | masks-3, -5, -16 | the mean under each of K learned masks | C K | `SpatialMasks` |
    | full-mask | the mean of the map times a learned mask of its shape | C | `FullMask` |
    | attention | the mean with weights that the features decide | C | `PositionAttention` |
    | channel-groups | a layer of its own for each of 16 groups of channels | 16 x 64 | `ChannelGroups` |
    | spatial-film | the mean after a scale and a shift that depend on the position | C | `SpatialFilm` |

    Args:
        name: one of `HEADS`.
        channels: channels C of the map.
        height: its rows H.
        width: its columns W.

    Returns:
        The head; weights it has are drawn from torch's generator, as those of every module of torch are.

    Raises:
        ValueError: the name is unknown, or a size is below 1.

    **Source:** Weight Banding (Petrov, Voss, Schubert, Cammarata, Goh, Olah; Distill 2021), its interventions on the
    simplified network; each class says what the article gives and what is ours.

    Example:
        >>> build_head("x-pooling", 512, 7, 7).out_features
        3584
    """
    if name not in _BUILDERS:
        message = f"head must be one of {', '.join(HEADS)}, not {name!r}"
        raise ValueError(message)
    return _BUILDERS[name](channels, height, width)
