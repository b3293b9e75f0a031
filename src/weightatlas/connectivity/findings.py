"""What a survey of connectivity shows, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

from weightatlas.plate import Finding
from weightatlas.wording import capitalized, counted, listed

if TYPE_CHECKING:
    from weightatlas.connectivity.pair import Line, Pair
    from weightatlas.connectivity.survey import Connection

LINKED: Final = 0.02
"""Error barrier below which two networks count as linearly connected: Frankle and others (2020)."""
NAMED: Final = 3
ALL: Final = 0.995

Verdict = Literal["joined", "apart", "undecided"]


def connection_findings(found: Connection) -> list[Finding]:
    """The sentences of the cover, the most important first."""
    said: list[Finding] = []
    several = len(found.pairs) > 1
    for number, pair in enumerate(found.pairs, start=1):
        suffix, of = (f"-{number}", f" ({pair.second})") if several else ("", "")
        if pair.best is not None:
            said.append(Finding(path_title(pair, several=several), _path_evidence(pair), "path", 1.0))
        elif pair.matching is not None:
            said.append(Finding(alignment_title(pair), _alignment_evidence(pair), "coverage", 1.0))
        if pair.layers:
            said.append(Finding(layers_title(pair) + of, _layers_evidence(pair), f"layers{suffix}", 0.8))
        if pair.agreement is not None:
            said.append(Finding(ranks_title(pair) + of, _ranks_evidence(pair), f"ranks{suffix}", 0.6))
    if found.symmetries is not None:
        said.append(Finding(coverage_title(found), _coverage_evidence(found), "coverage", 0.7))
    if found.plane is not None:
        said.append(Finding(plane_title(found), (), "plane", 0.5))
    if not said:
        said.append(Finding("Nothing could be measured.", found.notes, "", 1.0))
    return said


def verdict(line: Line) -> Verdict:
    """Whether the ends of a line are linearly connected: by the interval of the error barrier over data."""
    height = line.barrier.error_barrier
    if math.isfinite(height.high) and height.high < LINKED:
        return "joined"
    if math.isfinite(height.low) and height.low > LINKED:
        return "apart"
    return "undecided"


def path_title(pair: Pair, *, several: bool = False) -> str:
    """Whether two networks are joined, once what can be done is done; of several pairs, which."""
    best = pair.best
    if best is None:
        return "The line between the networks was not measured"
    if pair.matching is not None and pair.matching.distance_before == 0:
        return f"{capitalized(pair.second)} is {pair.first}, weight by weight"
    done = [text for text, is_so in (("aligned", best.aligned), ("recalibrated", best.recalibrated)) if is_so]
    once = f"Once {' and '.join(done)}, " if done else ""
    height = best.barrier.error_barrier
    ends = f"{pair.first} and {pair.second}" if several else "the networks"
    what = {
        "joined": f"a straight line joins {ends}",
        "apart": f"a barrier parts {ends}",
        "undecided": f"it is open whether a straight line joins {ends}",
    }[verdict(best)]
    sentence = f"{once}{what}: {_percent(height.height)} error above the {best.barrier.reference} at most"
    return capitalized(sentence)


def alignment_title(pair: Pair) -> str:
    """How much closer alignment brings two networks."""
    found = pair.matching
    if found is None:
        return "The networks were not aligned"
    if found.distance_before == 0:
        return f"{capitalized(pair.second)} is {pair.first}, weight by weight"
    nearer = 1 - found.distance / found.distance_before
    return f"Aligned, {pair.second} is {nearer:.0%} nearer to {pair.first}"


def layers_title(pair: Pair) -> str:
    """Which layers on their own raise the loss."""
    above = sorted((one for one in pair.layers if one.low > 0), key=lambda one: -one.barrier)
    if not above:
        return f"None of {counted(len(pair.layers), 'layer')} has a barrier of its own"
    names = listed([one.layer for one in above[:NAMED]])
    if len(above) > NAMED:
        many = capitalized(counted(len(above), "layer"))
        return f"{many} of {len(pair.layers)} have barriers of their own, the highest in {names}"
    verb = "has a barrier of its own" if len(above) == 1 else "have barriers of their own"
    return f"Of {counted(len(pair.layers), 'layer')}, {names} {verb}"


def cumulative_title(pair: Pair) -> str:
    """From which end layers may be exchanged."""
    ends = [(one.from_input, one.from_output) for one in pair.layers]
    known = [(ours, theirs) for ours, theirs in ends if math.isfinite(ours) and math.isfinite(theirs)]
    if not known:
        return "Layers exchanged from either end"
    first, last = (max(values) for values in zip(*known, strict=True))
    return (
        f"Exchanged from the input on, layers raise the loss by {first:.3g} nats at most; from the output, {last:.3g}"
    )


def ranks_title(pair: Pair) -> str:
    """Whether the ends' derivatives tell which layers have barriers."""
    found = pair.agreement
    if found is None:
        return "Predicted and measured barriers"
    sure = "" if found.p_value < 0.05 else ", which chance alone may give"
    return f"Derivatives at both ends order the layers' barriers with rank correlation {found.rho:+.2f}{sure}"


def coverage_title(found: Connection) -> str:
    """How much of the network may change places."""
    known = found.symmetries
    if known is None:
        return "Which units may change places is not known"
    groups = counted(len(known.groups), "group")
    share = "all" if known.coverage > ALL else f"{known.coverage:.1%}"
    return f"{capitalized(groups)} of units may change places, and with them {share} of the parameters"


def plane_title(found: Connection) -> str:
    """What lies between three networks."""
    return f"The loss on the plane through {found.source} and {listed(list(found.others[:2]))}"


def _path_evidence(pair: Pair) -> tuple[str, ...]:
    best, plain = pair.best, pair.plain
    if best is None:
        return ()
    loss, error = best.barrier.loss_barrier, best.barrier.error_barrier
    said = [
        f"error {_signed(error.height)} ({_signed(error.low)} to {_signed(error.high)} over the data)",
        f"loss {loss.height:+.3f} nats ({loss.low:+.3f} to {loss.high:+.3f}), highest at {loss.alpha:.2f}",
    ]
    if plain is not None and plain is not best:
        said.append(f"before alignment error {_signed(plain.barrier.error_barrier.height)}")
    raw = pair.line(aligned=best.aligned, recalibrated=False)
    if best.recalibrated and raw is not None:
        said.append(f"with interpolated statistics error {_signed(raw.barrier.error_barrier.height)}")
    return tuple(said)


def _alignment_evidence(pair: Pair) -> tuple[str, ...]:
    found = pair.matching
    if found is None:
        return ()
    said = [
        f"cosine {found.similarity_before:.3f} before, {found.similarity:.3f} after",
        f"{found.moved:.0%} of units changed places",
    ]
    if found.null_similarity.size:
        said.append(f"shuffled weights come to {found.null_similarity.max():.3f}")
    return tuple(said)


def _layers_evidence(pair: Pair) -> tuple[str, ...]:
    highest = max(pair.layers, key=lambda one: one.barrier)
    said = [f"highest {highest.barrier:+.3g} nats ({highest.low:+.3g} to {highest.high:+.3g}) in {highest.layer}"]
    if highest.random.size:
        beyond = sum(one.barrier > one.random.max() for one in pair.layers)
        directions = counted(highest.random.size, "random direction")
        said.append(f"{beyond} of {len(pair.layers)} above each of {directions} as long")
    return tuple(said)


def _ranks_evidence(pair: Pair) -> tuple[str, ...]:
    found = pair.agreement
    if found is None:
        return ()
    return (f"95 % from {found.low:+.2f} to {found.high:+.2f}, p = {found.p_value:.2g}", counted(found.count, "layer"))


def _coverage_evidence(found: Connection) -> tuple[str, ...]:
    known = found.symmetries
    if known is None:
        return ()
    if not known.verified:
        return ("not verified",)
    return (f"random permutations change the outputs by {known.change:.0e} of their size",)


def _percent(share: float) -> str:
    return f"{max(share, 0.0):.1%}"


def _signed(share: float) -> str:
    return f"{share:+.1%}"
