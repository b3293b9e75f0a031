"""Claims of an article, and the verdict of an experiment on them: agrees, disagrees or undecided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from weightatlas.lab.experiments.effects import Effect, Interval

Expected = Literal["lower", "higher", "same", "not lower", "under half", "over half", "present", "absent", "reversed"]
Verdict = Literal["agrees", "disagrees", "undecided"]
EXPECTED: tuple[Expected, ...] = get_args(Expected)
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

COMPARES: frozenset[Expected] = frozenset({"lower", "higher", "same", "not lower", "under half", "over half"})
"""Claims about the difference from the baseline; the others are about the variant alone."""

HALVES: frozenset[Expected] = frozenset({"under half", "over half"})
"""Claims about half of something: of the baseline, or of what another variant gains."""

FLOORED: frozenset[Expected] = frozenset({"same", "not lower", "absent"})
"""Claims that need a floor above 0: no interval shows that something is exactly nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a source says that a variant does to one measure.

    Attributes:
        measure: key of the measure it is about.
        expected: what it says of it; see `verdict`.
        floor: the size below which the measure counts as nothing.
        significant: key of the measure that holds a q or p value, where "present" and "reversed" ask every seed for
            significance too.
        against: the variant it is compared with in place of the one that its own is; None is that one.
        gain_of: for "under half" and "over half", the variant of whose gain over the same baseline half is meant; the
            claim is undecided where no gain of it is shown. None is half of the baseline itself.
        article: what the article says, in a few words; empty where the claim is ours.
    """

    measure: str
    expected: Expected
    floor: float = 0.0
    significant: str | None = None
    against: str | None = None
    gain_of: str | None = None
    article: str = ""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.expected not in EXPECTED:
            message = f"expected must be one of {', '.join(EXPECTED)}, not {self.expected!r}"
            raise ValueError(message)
        if self.floor < 0 or (self.floor == 0 and self.expected in FLOORED):
            message = f"{self.expected!r} needs a floor above 0: no interval shows that something is exactly nothing"
            raise ValueError(message)
        if (self.against is not None and self.expected not in COMPARES) or (
            self.gain_of is not None and self.expected not in HALVES
        ):
            message = f"{self.expected!r} is about no other variant: give neither against nor gain_of"
            raise ValueError(message)


def verdict(
    effect: Effect,
    expected: Expected,
    *,
    floor: float = 0.0,
    halved: Interval | None = None,
    significant: bool = True,
) -> Verdict:
    r"""Judge a claim by the 95 % intervals of an effect.

    Let D be the interval of the paired difference, V that of the variant's own mean, f the floor. The claim

    - "lower", "higher": agrees where D lies below (above) 0, disagrees where it lies on the other side;
    - "under half", "over half": as "lower" and "higher", with the paired differences H: variant - baseline / 2, or
      where the claim is about the gain of another, (variant - baseline) - (other - baseline) / 2;
    - "same": agrees where D lies within (-f, f), disagrees where it lies outside of that range;
    - "not lower": agrees where D lies above -f, disagrees where it lies below;
    - "present": agrees where V lies above f and every seed is significant, disagrees where V lies below f;
    - "absent": agrees where V lies within (-f, f), disagrees where it lies outside of that range;
    - "reversed": "present" with V turned about 0.

    All else is undecided: the interval crosses the border, or there are fewer than two seeds. So neither a claim nor
    its contrary follows from a wide interval. "Present" says nothing of size: a variant that keeps a tenth of the
    baseline's bands still has some, and its row says how much beside the verdict. "Same" and "absent" are equivalence
    tests at 2.5 % a side.

    Args:
        effect: of the variant on the claim's measure.
        expected: what is claimed.
        floor: f, the size below which the measure counts as nothing.
        halved: for "under half" and "over half", the interval of H over the same seeds.
        significant: whether every seed is, for "present" and "reversed".

    **Source:** equivalence by inclusion of an interval: Schuirmann, J. Pharmacokinetics and Biopharmaceutics 1987, who
    uses 90 %; ours is 95 %, so it agrees less often. "Not lower" is a test of non-inferiority with
    the margin f, at 2.5 %.

    Example:
        >>> from weightatlas.lab.experiments.effects import paired_effect
        >>> effect = paired_effect([0.05, 0.02, 0.04], [0.34, 0.31, 0.35])
        >>> verdict(effect, "lower"), verdict(effect, "present", floor=0.06), verdict(effect, "absent", floor=0.06)
        ('agrees', 'undecided', 'undecided')
    """
    judged = judged_interval(effect, expected, halved)
    if judged.low is None or judged.high is None:
        return "undecided"
    low, high = judged.low, judged.high
    if expected in ("lower", "under half", "reversed"):
        low, high = -high, -low
    if expected in ("same", "absent"):
        return _sided(agrees=-floor < low and high < floor, disagrees=low > floor or high < -floor)
    border = {"present": floor, "reversed": floor, "not lower": -floor}.get(expected, 0.0)
    sure = significant or expected in COMPARES
    return _sided(agrees=low > border and sure, disagrees=high < border)


def judged_interval(effect: Effect, expected: Expected, halved: Interval | None = None) -> Interval:
    """The interval that a verdict rests on.

    Args:
        effect: of the variant on the claim's measure.
        expected: what is claimed.
        halved: as `verdict` takes it.

    Raises:
        ValueError: a claim about half of something comes without its interval.
    """
    if expected not in HALVES:
        return effect.difference if expected in COMPARES else effect.variant
    if halved is None:
        message = f"to judge {expected!r}, give the interval of the differences from half"
        raise ValueError(message)
    return halved


def _sided(*, agrees: bool, disagrees: bool) -> Verdict:
    if agrees:
        return "agrees"
    return "disagrees" if disagrees else "undecided"
