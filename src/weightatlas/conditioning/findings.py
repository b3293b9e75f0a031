"""What a survey of conditioning shows, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.plate import Finding
from weightatlas.wording import capitalized, counted, listed

if TYPE_CHECKING:
    from weightatlas.conditioning.smoothness import Smoothness
    from weightatlas.conditioning.snapshots import Snapshot
    from weightatlas.conditioning.survey import Conditioning

NAMED: Final = 3
SIGNIFICANT: Final = 0.05
"""q below which a layer's distance is more than chance."""


def conditioning_findings(survey: Conditioning) -> list[Finding]:
    """The sentences of the cover, the most important first."""
    last = survey.last
    found = []
    if last.measured:
        found += [Finding(positive_title(last), _positive_evidence(last), "positive", 1.0)]
        if any(math.isfinite(one.mean_distance) for one in last.measured):
            found.append(Finding(plane_title(last), _plane_evidence(last), "plane", 0.9))
    if math.isfinite(last.share("centring")):
        found.append(Finding(terms_title(last), _terms_evidence(last), "terms", 0.8))
    if last.smoothness is not None and last.smoothness.descent is not None:
        found.append(Finding(walks_title(last.smoothness), _walks_evidence(last.smoothness), "walks", 0.6))
    if not found:
        reason = last.unmeasured or last.rough or "nothing could be measured"
        found.append(Finding("The network's conditioning could not be measured.", (reason,), "", 1.0))
    return found


def positive_title(snapshot: Snapshot) -> str:
    """How many channels are dead or nearly dead."""
    channels = sum(one.channels for one in snapshot.measured)
    dead, near = (_count(snapshot, figure) for figure in ("dead", "near_dead"))
    if not near:
        return f"None of {counted(channels, 'channel')} before a nonlinearity is dead or nearly dead"
    worst = sorted(snapshot.measured, key=lambda one: one.near_dead * one.channels, reverse=True)
    where = listed([one.layer for one in worst[:NAMED] if one.near_dead > 0])
    layers = sum(one.near_dead > 0 for one in snapshot.measured)
    place = f"the most in {where}" if layers > NAMED else f"in {where}"
    if not dead:
        return f"{capitalized(counted(near, 'channel'))} of {channels:,} nearly dead and none dead, {place}"
    return f"{capitalized(counted(dead, 'channel'))} of {channels:,} dead and {near - dead:,} more nearly so, {place}"


def plane_title(snapshot: Snapshot) -> str:
    """How far layers behind norms are from (0, 1)."""
    kinds = listed(sorted({str(one.norm) for one in snapshot.measured if math.isfinite(one.mean_distance)}))
    mean, std = snapshot.mean("mean_distance"), snapshot.mean("std_distance")
    distances = f"means {mean:.2f} from 0 and deviations {std:.2f} from 1"
    return f"Behind {kinds} norms channels have {distances}, averaged over layers"


def terms_title(snapshot: Snapshot) -> str:
    """What standardising weights takes from the gradient, or would."""
    centring, scaling = snapshot.share("centring"), snapshot.share("scaling")
    done = {one.standardized for one in snapshot.terms if one.terms is not None}
    verb = "takes" if done == {True} else "would take" if done == {False} else "takes or would take"
    return (
        f"Standardising weights {verb} {_percent(centring + scaling)} of the squared gradient away: "
        f"centring {_percent(centring)}, scaling {_percent(scaling)}"
    )


def walks_title(found: Smoothness) -> str:
    """How much steeper the loss is against its gradient than elsewhere."""
    steep = found.gradient_lipschitz
    random = found.random_gradient_lipschitz
    if steep is None or not random.size or not np.isfinite([steep, np.median(random)]).all() or not np.median(random):
        return "The loss around the weights"
    times = steep / float(np.median(random))
    return f"Against its gradient the loss bends {_rounded(times)} times as much as in a random direction"


def course_title(survey: Conditioning) -> str:
    """How the rate at which the gradient changes, or the share of nearly dead channels, moved over the run."""
    known = [
        one for one in survey.snapshots if one.smoothness is not None and one.smoothness.relative_gradient_lipschitz
    ]
    if len(known) > 1:
        first, last = (one.smoothness.relative_gradient_lipschitz for one in (known[0], known[-1]) if one.smoothness)
        if first and last:
            way = "rises" if last > first else "falls"
            return f"Over the run the gradient's rate of change {way} from {_rounded(first)} to {_rounded(last)}"
    seen = [one for one in survey.snapshots if one.measured]
    if not seen:
        return "The course of the run"
    first_share, last_share = seen[0].mean("near_dead"), seen[-1].mean("near_dead")
    return f"Over the run nearly dead channels go from {_percent(first_share)} to {_percent(last_share)}"


def _positive_evidence(snapshot: Snapshot) -> tuple[str, ...]:
    found = snapshot.channels
    if found is None:
        return ()
    what = "in training mode" if found.training else "in evaluation mode"
    sure = sum(round(one.dead_interval[0] * one.channels) for one in snapshot.measured)
    evidence = [f"{counted(len(snapshot.measured), 'place')}, {counted(found.examples, 'example')}, {what}"]
    if _count(snapshot, "dead"):
        evidence.append(f"{sure:,} dead beyond doubt: by the 95% upper bound of their share")
    return tuple(evidence)


def _plane_evidence(snapshot: Snapshot) -> tuple[str, ...]:
    tested = [value for (_, which), value in snapshot.q_values.items() if which in ("mean", "std")]
    beyond = sum(value < SIGNIFICANT for value in tested)
    return ("batch norm by its own statistics: 0 and 0", f"{beyond} of {len(tested)} distances beyond chance, q < .05")


def _terms_evidence(snapshot: Snapshot) -> tuple[str, ...]:
    return (f"a gradient in a random direction loses {_percent(snapshot.chance())} to each",)


def _walks_evidence(found: Smoothness) -> tuple[str, ...]:
    evidence = [f"{counted(found.examples, 'example')}, {counted(len(found.random), 'random direction')}"]
    if found.hessian is not None:
        sure = "" if found.hessian.converged else ", not converged: a lower bound"
        evidence.append(f"top Hessian eigenvalue {found.hessian.values[0]:.3g}{sure}")
    return tuple(evidence)


def _count(snapshot: Snapshot, figure: str) -> int:
    return sum(round(getattr(one, figure) * one.channels) for one in snapshot.measured)


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%" if share < 0.1 else f"{share:.0%}"


def _rounded(value: float) -> str:
    """Three figures, without an exponent where that is short enough."""
    return f"{float(f'{value:.3g}'):,.10g}" if 1e-3 <= abs(value) < 1e7 else f"{value:.2g}"
