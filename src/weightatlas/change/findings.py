"""What the weight change of a run shows, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.change.drawing.thinning import median
from weightatlas.plate import Finding
from weightatlas.wording import capitalized, counted, listed, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.change.changes import Changes
    from weightatlas.change.clusters.groups import LayerGroup, LayerTrend
    from weightatlas.change.depth import DepthTrend
    from weightatlas.change.stopped import Stopped

SIGNIFICANT: Final = 0.05
"""p below which change is said to go with depth."""
STRONG: Final = 0.5
"""A rank correlation from which a trend would be seen in a figure."""
NAMED: Final = 3
"""Layers that a sentence names at most."""


def change_findings(changes: Changes) -> list[Finding]:
    """The sentences of the cover, the most important first."""
    if not np.isfinite(changes.curves()).any():
        statement = "No layer's change could be measured."
        return [Finding(statement, (f"{counted(len(changes.layers), 'tensor')} looked at",), "layers", 1.0)]
    found = [*_stopped_findings(changes), _range_finding(changes), *_cluster_findings(changes)]
    found += [*_depth_findings(changes), *_left_out_findings(changes)]
    too_short = _too_short(changes)
    return [*found, too_short] if too_short else found


def layers_title(changes: Changes) -> str:
    """The title of the table: how many layers, over what, and how much the one in the middle moves."""
    typical = _typical(changes)
    layers = counted(len(changes.layers), "layer")
    if not math.isfinite(typical):
        return f"{capitalized(layers)}, and no change that could be measured"
    next_one = "" if len(changes.steps) == 1 else " from one to the next"
    return f"{capitalized(layers)} {span(changes)}: the one in the middle changes by {amount(typical)}{next_one}"


def stopped_title(changes: Changes) -> str:
    """Which layers have stopped and since when, or that none has."""
    stopped = changes.stopped
    if stopped is None:
        return "The run is too short to say which layers have stopped"
    if not moves(stopped):
        return "No layer moves, so none can be told to have stopped"
    found = _in_order(stopped)
    if not found:
        return "No layer has stopped"
    (first, name), count = found[0], len(found)
    if count == 1:
        return f"{name} has stopped, at {moment(changes, first)}"
    subject = f"{capitalized(number(count))} of {counted(len(stopped.names), 'layer')} have stopped"
    if count > NAMED:
        return f"{subject}, the first, {name}, at {moment(changes, first)}"
    return f"{subject}: {listed([f'{layer} at {moment(changes, since)}' for since, layer in found])}"


def moves(stopped: Stopped) -> bool:
    """Whether any layer moves at any record, so that others can be set against it."""
    return bool(np.isfinite(stopped.reference).any())


def _in_order(stopped: Stopped) -> list[tuple[int, str]]:
    """The layers that have stopped, the first to stop first."""
    pairs = zip(stopped.stopped_at, stopped.names, strict=True)
    return sorted(((since, name) for since, name in pairs if since is not None), key=lambda pair: pair[0])


def clusters_title(changes: Changes) -> str:
    """How many groups of layers move alike, and whether that can be trusted."""
    if changes.trends is None:
        return "The run is too short to say which layers move alike"
    groups = changes.trends.groups
    if len(groups) == 1:
        return _group_title(groups[0])
    split = [group for group in groups if len(group.clusters) > 1]
    stable = [group.name for group in split if group.stable]
    if not split:
        return f"In each of {counted(len(groups), 'group')} of layers all move alike"
    if not stable:
        return "The clustering is not stable in any group of layers: curves without groups split as well"
    rest = len(split) - len(stable)
    tail = f"; in {number(rest)} other{'s' if rest > 1 else ''} the clustering is not stable" if rest else ""
    return f"Layers fall into stable clusters among {listed(stable)}{tail}"


def depth_title(trend: DepthTrend) -> str:
    """Whether later layers change more, and whether they do given their size."""
    if math.isnan(trend.partial):
        return f"Change against depth and size: {trend.reason}"
    if trend.p < SIGNIFICANT:
        way = "more" if trend.partial > 0 else "less"
        return f"Later layers change {way}, given their size"
    if abs(trend.with_depth) >= STRONG and abs(trend.with_size) >= STRONG:
        ways = ("more" if value > 0 else "less" for value in (trend.with_depth, trend.with_size))
        return "Later layers change {}, and larger ones {}: given size, depth tells nothing more".format(*ways)
    return "Change does not go with depth, given size"


def amount(ratio: float) -> str:
    """A relative change in per cent.

    Example:
        >>> amount(0.01234), amount(3.0), amount(2e-7)
        ('1.2%', '300%', '2e-05%')
    """
    text = f"{100 * ratio:.2g}"
    return f"{float(text):.0f}%" if 100 <= abs(float(text)) < 1e6 else f"{text}%"


def unit(changes: Changes) -> str:
    """What steps are called in a sentence."""
    return "checkpoint" if changes.unit == "position" else changes.unit


def moment(changes: Changes, step: int) -> str:
    """A step in a sentence."""
    return f"{unit(changes)} {step:,}"


def span(changes: Changes) -> str:
    """What the run reaches over."""
    if len(changes.steps) == 1:
        return "between two checkpoints"
    return f"over {checkpoints(changes)}, to {moment(changes, changes.steps[-1])}"


def checkpoints(changes: Changes) -> str:
    """How many checkpoints were compared."""
    return counted(len(changes.steps) + 1, "checkpoint")


def _each(changes: Changes) -> str:
    return "" if len(changes.steps) == 1 else " from one checkpoint to the next"


def _typical(changes: Changes) -> float:
    middles = median(changes.curves(), 1)
    return float(median(middles[None, :], 1)[0]) if middles.size else math.nan


def _stopped_findings(changes: Changes) -> list[Finding]:
    stopped = changes.stopped
    if stopped is None or not moves(stopped):
        return []
    found = _in_order(stopped)
    bound = (
        f"less than {stopped.below:g} of the median layer's change, {stopped.records} checkpoints or more, to the end"
    )
    evidence = [bound if found else f"none changes by {bound}"]
    if len(found) > NAMED:
        evidence = [*(f"{name} since {moment(changes, since)}" for since, name in found[:NAMED]), *evidence]
    findings = [Finding(f"{stopped_title(changes)}.", tuple(evidence), "stopped", 1.0 if found else 0.7)]
    slow = sum(
        one is None and other is not None
        for one, other in zip(stopped.stopped_at, stopped.stopped_at_undivided, strict=True)
    )
    if slow:
        layers = counted(slow, "layer")
        have = "has" if slow == 1 else "have"
        statement = (
            f"{capitalized(layers)} {have} come to rest along with all others: below {stopped.below:g} of the "
            "run's usual change, not of the network's at the time."
        )
        findings.append(Finding(statement, ("a schedule does that",), "stopped", 0.35))
    return findings


def _range_finding(changes: Changes) -> Finding:
    middles = median(changes.curves(), 1)
    known = np.flatnonzero(np.isfinite(middles))
    most, least = (int(known[pick(middles[known])]) for pick in (np.argmax, np.argmin))
    names = changes.names
    each = _each(changes)
    if not middles[most]:
        statement = "No layer changes at all." if len(known) > 1 else f"{names[most]} does not change at all."
    elif amount(middles[most]) == amount(middles[least]):
        subject = "All layers change" if len(known) > 1 else f"{names[most]} changes"
        about = "" if middles[most] == middles[least] else "about "
        statement = f"{subject} by {about}{amount(middles[most])}{each}."
    else:
        statement = (
            f"Layers change by {amount(middles[least])} ({names[least]}) to {amount(middles[most])} "
            f"({names[most]}){each}."
        )
    evidence = [f"median {amount(_typical(changes))}"]
    last = changes.curves("from_start")[:, -1]
    if np.isfinite(last).any() and len(changes.steps) > 1:
        far = int(np.nanargmax(np.where(np.isfinite(last), last, np.nan)))
        evidence.append(f"furthest from its start: {names[far]}, {amount(last[far])}")
    plate = "curves" if len(changes.steps) > 1 else "pair"
    return Finding(statement, tuple(evidence), plate, 0.8)


def _cluster_findings(changes: Changes) -> list[Finding]:
    trends = changes.trends
    if trends is None:
        return []
    evidence = [_group_evidence(group, several=len(trends.groups) > 1) for group in trends.groups]
    tried = any(group.scree is not None for group in trends.groups)
    shown, importance = ("scree", 0.9) if tried else ("", 0.35)
    findings = [Finding(f"{clusters_title(changes)}.", tuple(text for text in evidence if text), shown, importance)]
    alone = [layer for layer in trends.left_out if layer.outlier]
    if alone:
        few = listed([layer.name for layer in alone[:NAMED]])
        names = few if len(alone) <= NAMED else capitalized(counted(len(alone), "layer"))
        moves = "moves" if len(alone) == 1 else "move"
        reasons = tuple(
            how if len(alone) == 1 else f"{layer.name}: {how}" for layer in alone[:1] if (how := _how(layer))
        )
        findings.append(Finding(f"{names} {moves} like no other layer.", reasons, "outliers", 0.6))
    return findings


def _how(layer: LayerTrend) -> str:
    """How a layer moves like no other, less the words that the finding itself begins with."""
    return (layer.outlier or "").removeprefix("moves like no other layer: ")


def _group_title(group: LayerGroup) -> str:
    count = len(group.clusters)
    if count < 2 and group.scree is None:
        return f"Layers are {group.chosen}"
    if count < 2:
        return f"All layers move alike: {group.chosen}"
    if group.stability is None:
        return f"Layers fall into {counted(count, 'cluster')}; there are too few to say whether they are stable"
    if group.stable:
        return f"Layers move in {number(count)} stable clusters"
    return f"The clustering is not stable: curves without groups split into {number(count)} as well"


def _group_evidence(group: LayerGroup, *, several: bool) -> str:
    trust = group.stability
    head = f"{group.name}: " if several else ""
    if trust is None:
        return f"{head}{group.chosen}" if several else ""
    sizes = " + ".join(str(len(cluster.layers)) for cluster in group.clusters)
    return f"{head}{sizes} layers, found again in subsets {trust.resampled:.2f}, p = {trust.p:.3f}"


def _depth_findings(changes: Changes) -> list[Finding]:
    trend = changes.depth
    if trend is None or math.isnan(trend.partial):
        return []
    low, high = trend.interval
    evidence = [
        f"with depth {trend.with_depth:+.2f}",
        "all layers are of one size" if math.isnan(trend.with_size) else f"with size {trend.with_size:+.2f}",
        f"with depth given size {trend.partial:+.2f}",
    ]
    if math.isfinite(low) and math.isfinite(high):
        evidence[-1] += f" ({low:+.2f} to {high:+.2f})"
    evidence.append(f"p = {trend.p:.3f}")
    return [Finding(f"{depth_title(trend)}.", tuple(evidence), "depth", 0.5)]


def _left_out_findings(changes: Changes) -> list[Finding]:
    """What was not measured: steps of layers, tensors, checkpoints."""
    reasons = [reason for layer in changes.layers for reason in layer.reasons.values()]
    findings = []
    if reasons:
        layers = sum(bool(layer.reasons) for layer in changes.layers)
        steps = counted(len(reasons), "checkpoint")
        statement = f"{capitalized(counted(layers, 'layer'))} could not be measured at {steps}."
        findings.append(Finding(statement, _most_frequent(reasons), "layers", 0.45))
    if changes.skipped:
        count = len(changes.skipped)
        statement = f"{capitalized(counted(count, 'part'))} of the run {'was' if count == 1 else 'were'} left out."
        shown = [f"{skipped.name}: {skipped.reason}" for skipped in changes.skipped[:NAMED]]
        findings.append(Finding(statement, (*shown, *_more(count - NAMED)), "layers", 0.4))
    return findings


def _most_frequent(texts: Sequence[str]) -> tuple[str, ...]:
    kinds = sorted(dict.fromkeys(texts), key=lambda text: -texts.count(text))
    return (*kinds[:2], *_more(len(kinds) - 2))


def _more(count: int) -> tuple[str, ...]:
    return (f"and {count} more",) if count > 0 else ()


def _too_short(changes: Changes) -> Finding | None:
    """What a short run cannot tell, in one sentence."""
    missing = []
    if changes.trends is None:
        missing.append("which layers move alike")
    if changes.stopped is None:
        missing.append("which have stopped" if missing else "which layers have stopped")
    if not missing:
        return None
    statement = f"{capitalized(checkpoints(changes))} cannot tell {' or '.join(missing)}."
    return Finding(statement, ("more checkpoints can",), "", 0.3)
