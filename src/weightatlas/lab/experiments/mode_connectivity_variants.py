"""The variants of the mode connectivity experiment: widths with independent twins, forks of one width, and claims."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Literal

from weightatlas.lab.experiments.claims import Claim
from weightatlas.lab.experiments.experiment import Variant
from weightatlas.lab.forking import Fork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.lab.configuration import Configuration

Role = Literal["trunk", "twin", "fork"]

INSTABILITY: Final = 0.02
"""Two points of error: networks whose error along the line rises by less are called linearly connected by Frankle and
others (2020)."""

LATE: Final = Fraction(1, 2)
"""Forks at this share of the run or later are late."""

STABLE: Final = "standard vision models become stable to SGD noise in this way early in training"
"""Of the abstract of Frankle and others, Linear Mode Connectivity and the Lottery Ticket Hypothesis (2020)."""

WIDTH: Final = "intriguing phenomena relating model width and training time to mode connectivity"
"""Of the abstract of Ainsworth, Hayase and Srinivasa, Git Re-Basin (2023): it names no direction."""

MATCHED: Final = "zero-barrier linear mode connectivity between independently trained ResNet models on CIFAR-10"
"""Of the same abstract, of networks whose units were matched."""

SHARES: Final = tuple(Fraction(*one) for one in ((0, 1), (1, 64), (1, 16), (1, 8), (1, 4), (1, 2), (3, 4)))
"""Shares of the run at which forks leave their trunk."""

TWIN, FORK = "twin", "fork"

BEST: Final = ("barrier_matched_recalibrated", "error_barrier_matched_recalibrated")
"""The barriers of loss and error after all that is done against them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Networks of growing width under one norm, each trained twice, and forks of some of them.

    Attributes:
        base: the network at width 1 without its width, its data, and how it is trained; its recipe counts steps.
        widths: what multiplies the units, rising.
        forked: the width that is forked; None forks none.
        shares: of the run, at which it is forked.
        convert: recipe of another norm in the place of batch norm; None leaves that.
        prefix: of the variants' names.
    """

    base: Configuration
    widths: Sequence[float]
    forked: float | None = None
    shares: Sequence[Fraction] = SHARES
    convert: str | None = None
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a variant stands in its family.

    Attributes:
        family: its prefix without the dot; empty of the first.
        width: what multiplies the units.
        role: "trunk", "twin" (an independent network) or "fork".
        share: of the run after which a fork leaves its trunk; None of others.
    """

    family: str
    width: float
    role: Role
    share: Fraction | None = None

    @property
    def when(self) -> str:
        """The fork as the page has it.

        Example:
            >>> Place("", 1.0, "fork", Fraction(1, 64)).when, Place("", 1.0, "fork", Fraction(0)).when
            ('1/64', '0')
        """
        return "independent" if self.share is None else str(self.share)


def of_family(family: Family) -> list[Variant]:
    """A trunk and its independent twin for every width, then the forks, each after what it is compared with."""
    variants: list[Variant] = []
    for width in family.widths:
        variants += [_trunk(family, width), _twin(family, width)]
    if family.forked is not None:
        variants += [_fork(family, family.forked, share) for share in family.shares]
    return variants


def place_of(name: str) -> Place:
    """What a variant's name says.

    Example:
        >>> place_of("w0.5"), place_of("in.w1.twin").role, place_of("w1.fork.3-4").share
        (Place(family='', width=0.5, role='trunk', share=None), 'twin', Fraction(3, 4))
    """
    words, _, late = name.partition(f".{FORK}.")
    role: Role = "fork" if late else "twin" if words.endswith(f".{TWIN}") else "trunk"
    words = words.removesuffix(f".{TWIN}")
    family, _, width = words.rpartition("w")
    share = Fraction(*(int(part) for part in late.split("-"))) if late else None
    return Place(family.removesuffix("."), float(width), role, share)


def name_of(family: Family, width: float, *more: str) -> str:
    """What the variant of a width is called."""
    return ".".join((f"{family.prefix}w{width:g}", *more))


def fork_name(share: Fraction) -> str:
    """A share of the run as names have it: 3/4 is 3-4, 0 is 0."""
    return str(share).replace("/", "-")


def configured(family: Family, width: float, fork: Fork | None = None) -> Configuration:
    """The base at a width, forked or not."""
    model = family.base.model
    options = [f"width={width:g}", *(() if family.convert is None else (f"convert={family.convert}",))]
    for option in options:
        model = f"{model}{'&' if '?' in model else '?'}{option}"
    return replace(family.base, model=model, fork=fork, keep="last")


def _trunk(family: Family, width: float) -> Variant:
    return Variant(
        name=name_of(family, width),
        configuration=configured(family, width),
        note=f"width {width:g}{_norm(family)}",
    )


def _twin(family: Family, width: float) -> Variant:
    """An independent network, compared with that of the next narrower width, and the widest with the narrowest."""
    narrower = [one for one in family.widths if one < width]
    claims = [Claim(measure="matching_gain", expected="present")]
    if family.convert is None:
        claims.append(Claim(measure="recalibration_gain", expected="present"))
    if narrower and width == max(family.widths):
        narrowest = name_of(family, narrower[0], TWIN)
        lower = ("log_barrier", *BEST)
        claims += [Claim(measure=measure, expected="lower", against=narrowest, article=WIDTH) for measure in lower]
        claims.append(Claim(measure=BEST[1], expected="absent", floor=INSTABILITY, article=MATCHED))
    return Variant(
        name=name_of(family, width, TWIN),
        configuration=configured(family, width, Fork(None)),
        against=name_of(family, narrower[-1], TWIN) if narrower else None,
        claims=tuple(claims),
        note=f"an independent network of width {width:g}{_norm(family)}",
        partner=name_of(family, width),
    )


def _fork(family: Family, width: float, share: Fraction) -> Variant:
    """A fork at a share of the run, compared with the independent network."""
    steps = family.base.recipe.steps
    if steps is None:
        message = "a run that is forked at a share of itself must count steps, not epochs"
        raise ValueError(message)
    late = share >= LATE
    claims = (
        Claim(measure="error_barrier_recalibrated", expected="absent", floor=INSTABILITY, article=STABLE),
        Claim(measure="barrier_recalibrated", expected="lower"),
    )
    return Variant(
        name=name_of(family, width, FORK, fork_name(share)),
        configuration=configured(family, width, Fork(int(share * steps))),
        against=name_of(family, width, TWIN),
        claims=claims if late else (),
        note=f"width {width:g}{_norm(family)}, forked after {share} of the run" if share else "forked at the start",
        partner=name_of(family, width),
    )


def _norm(family: Family) -> str:
    return "" if family.convert is None else f" ({family.convert})"
