"""Norms behind convolutions as the order of the modules has it, for what no pass through the network reached."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from torch import nn

from weightatlas.nn.conversion.norm_kinds import read_norm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

_PASSED_OVER = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def pairs_by_order(model: nn.Module, convolutions: AbstractSet[str], norms: AbstractSet[str]) -> dict[str, str]:
    """Give each convolution the norm that is registered right after it in the same parent.

    Where a run of convolutions stands before a run of norms of the same length (conv1, conv2, bn1, bn2), the first goes
    with the first; where the runs differ in length, only the last convolution and the first norm go together. Both have
    the same number of channels, or there is no pair. Identities and dropouts are passed over.

    Args:
        model: any network.
        convolutions: names of its convolutions.
        norms: names of its norms.

    Example:
        >>> block = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
        >>> pairs_by_order(block, {"0", "3"}, {"1"})
        {'0': '1'}
    """
    pairs: dict[str, str] = {}
    for path, parent in model.named_modules():
        children = list(_children(path, parent))
        runs = [
            (kind, list(run)) for kind, run in groupby(children, lambda child: _word(child[0], convolutions, norms))
        ]
        for (kind, before), (next_kind, after) in pairwise(runs):
            if (kind, next_kind) == ("convolution", "norm"):
                pairs.update(_paired(before, after))
    return pairs


def _children(path: str, parent: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in parent.named_children():
        if not isinstance(child, _PASSED_OVER):
            yield (f"{path}.{name}" if path else name), child


def _word(name: str, convolutions: AbstractSet[str], norms: AbstractSet[str]) -> str:
    return "convolution" if name in convolutions else "norm" if name in norms else "other"


def _paired(
    before: Sequence[tuple[str, nn.Module]], after: Sequence[tuple[str, nn.Module]]
) -> Iterator[tuple[str, str]]:
    chosen = zip(before, after, strict=True) if len(before) == len(after) else [(before[-1], after[0])]
    for (name, convolution), (norm, module) in chosen:
        known = read_norm(module)
        if known is not None and known.channels == convolution.out_channels:
            yield name, norm
