"""The variants of Branch Specialization's experiment: how the first layers are branched, and what the article says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from weightatlas.lab.experiments.claims import Claim, Expected
from weightatlas.lab.experiments.experiment import Variant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.lab.configuration import Configuration

ONE: Final = "one-branch"
EQUAL: Final = "equal"
SHALLOW: Final = "shallow"
ALEXNET_TWIN: Final = "alexnet-one-group"

NARROW: Final = 0.25
"""Share of the units that the narrow branch has: its widths are those of 3 x 3 and 5 x 5 in InceptionV1's mixed3a, 128
to 32, a fourth to a fifth."""

SMALL_KERNEL, MIDDLE_KERNEL, LARGE_KERNEL = 3, 5, 7
"""Kernels of the branches; a control has the middle one in both."""

CHANCE_RHO: Final = 0.35
"""Above it a rank correlation over 32 units is found in 5 % of cases without any relation: it counts as nothing."""

LOW: Final = "low-frequency color detectors formed on the other branch"
"""What the article says of AlexNet's colour branch."""

CROSSED: Final[Mapping[str, tuple[float, int, int, str]]] = MappingProxyType(
    {
        EQUAL: (0.5, MIDDLE_KERNEL, MIDDLE_KERNEL, "two branches alike, 5 x 5"),
        "widths": (NARROW, MIDDLE_KERNEL, MIDDLE_KERNEL, "a fourth of the units against the rest, 5 x 5"),
        "kernels": (0.5, LARGE_KERNEL, SMALL_KERNEL, "as many units, 7 x 7 against 3 x 3"),
        "narrow-small": (NARROW, SMALL_KERNEL, LARGE_KERNEL, "the narrow branch has 3 x 3, the wide one 7 x 7"),
        "narrow-large": (NARROW, LARGE_KERNEL, SMALL_KERNEL, "the narrow branch has 7 x 7, as in the article"),
    }
)
"""Width crossed with kernel size, with controls: the first branch's share, both branches' kernels, what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bases:
    """The networks of a preset, each with its data and recipe; None leaves its variants out.

    Attributes:
        branched: a `weightatlas:branched` without its number of branches.
        crossed: a `weightatlas:parallel-branches` without shares and kernels.
        alexnet: a `weightatlas:alexnet` without its number of groups.
        residual: "shallow" and "deep", each whole.
    """

    branched: Configuration | None = None
    crossed: Configuration | None = None
    alexnet: Configuration | None = None
    residual: Mapping[str, Configuration] | None = None


def all_variants(bases: Bases) -> list[Variant]:
    """All variants that the networks of a preset have, each after what it is compared with."""
    found: list[Variant] = []
    if bases.branched is not None:
        found += of_branches(bases.branched)
    if bases.alexnet is not None:
        found += of_alexnet(bases.alexnet)
    if bases.crossed is not None:
        found += of_crossed(bases.crossed)
    if bases.residual is not None:
        found += of_residual(bases.residual)
    return found


def of_branches(base: Configuration) -> list[Variant]:
    """The first two layers in one, two and four branches."""
    factor = "the largest factor of variation is color"
    robust = "a surprisingly robust phenomenon"
    both = "specialization in frequency in addition to color"
    hidden = (
        Claim(measure="hidden_chroma", expected="present", floor=CHANCE_RHO, article=factor),
        Claim(
            measure="hidden_second_frequency",
            expected="present",
            floor=CHANCE_RHO,
            article="the second factor appears to be frequency",
        ),
    )
    notes = {1: "not branched: its branches are hidden ones", 2: "two branches", 4: "four branches"}
    claims = {
        1: (_ours("separation", "present"), *hidden),
        2: (
            Claim(measure="separation", expected="present", article=robust),
            Claim(measure="excess", expected="present", article=robust),
            _ours("frequency_separation", "present"),
            Claim(measure="frequency_of_colour", expected="reversed", article=LOW),
        ),
        4: (
            Claim(measure="separation", expected="present", article=both),
            Claim(measure="excess", expected="present", article=both),
            Claim(measure="frequency_separation", expected="present", article=both),
        ),
    }
    names = {1: ONE, 2: "two-branches", 4: "four-branches"}
    return [
        Variant(
            name=names[count],
            configuration=_with(base, f"branches={count}"),
            against=None if count == 1 else ONE,
            claims=claims[count],
            note=notes[count],
        )
        for count in (1, 2, 4)
    ]


def of_alexnet(base: Configuration) -> list[Variant]:
    """AlexNet with its two groups, and the same network without."""
    grouped = "it occurs consistently if you retrain AlexNet"
    return [
        Variant(
            name=ALEXNET_TWIN,
            configuration=_with(base, "groups=1"),
            claims=(
                _ours("separation", "present"),
                Claim(measure="hidden_chroma", expected="present", floor=CHANCE_RHO),
            ),
            note="AlexNet on one card: no groups (ours)",
        ),
        Variant(
            name="alexnet",
            configuration=_with(base, "groups=2"),
            against=ALEXNET_TWIN,
            claims=(
                Claim(measure="separation", expected="present", article=grouped),
                Claim(measure="excess", expected="present", article=grouped),
                Claim(measure="frequency_of_colour", expected="reversed", article=LOW),
            ),
            note="AlexNet with two groups",
        ),
    ]


def of_crossed(base: Configuration) -> list[Variant]:
    r"""Branch width crossed with kernel size, and controls.

    Let w be what a narrow branch has more of chroma than a wide one because it is narrow, and k what large kernels have
    more because they are large. Then chroma of the narrow branch less the wide one is w + k in "narrow-large" and w - k
    in "narrow-small", and chroma of the large kernels less the small ones is w + k and k - w. So from "narrow-small" to
    "narrow-large" the first rises by 2 k and the second by 2 w: two paired comparisons that take the article's
    confound apart.
    """
    article = "the smallest branch, and also the largest convolution size, is often very specialized"
    against = {EQUAL: None, "widths": EQUAL, "kernels": EQUAL, "narrow-small": EQUAL, "narrow-large": "narrow-small"}
    claims: dict[str, tuple[Claim, ...]] = {
        EQUAL: (_ours("separation", "present"),),
        "widths": (_ours("separation", "present"), _ours("chroma_narrow", "present")),
        "kernels": (_ours("separation", "present"), _ours("chroma_large", "present")),
        "narrow-small": (_ours("separation", "present"),),
        "narrow-large": (
            Claim(measure="separation", expected="present", article=article),
            _ours("chroma_narrow", "higher"),
            _ours("chroma_large", "higher"),
        ),
    }
    return [
        Variant(
            name=name,
            configuration=_with(base, f"share={share}&first_kernel={first}&second_kernel={second}"),
            against=against[name],
            claims=claims[name],
            note=note,
        )
        for name, (share, first, second, note) in CROSSED.items()
    ]


def of_residual(bases: Mapping[str, Configuration]) -> list[Variant]:
    """Blocks of a shallow and of a deep residual network, taken for parallel branches."""
    article = "residual blocks specialize in very deep residual networks"
    return [
        Variant(
            name=SHALLOW,
            configuration=bases[SHALLOW],
            claims=(_ours("block_excess", "present"),),
            note="few residual blocks in a stage",
        ),
        Variant(
            name="deep",
            configuration=bases["deep"],
            against=SHALLOW,
            claims=(
                Claim(measure="block_excess", expected="present", article=article),
                Claim(measure="block_excess", expected="higher", article=article),
                Claim(measure="block_separation", expected="present", article=article),
                Claim(measure="block_separation", expected="higher", article=article),
                _ours("neighbour_excess", "present"),
            ),
            note="many residual blocks in a stage",
        ),
    ]


def _ours(measure: str, expected: Expected) -> Claim:
    """A claim that the article does not make: what is expected, said in advance."""
    return Claim(measure=measure, expected=expected)


def _with(base: Configuration, options: str) -> Configuration:
    joint = "&" if "?" in base.model else "?"
    return replace(base, model=f"{base.model}{joint}{options}")
