"""The variants of the micro-batch experiment: normalisations crossed with batch sizes, and what the paper says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from weightatlas.lab.experiments.claims import Claim
from weightatlas.lab.experiments.experiment import Variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from weightatlas.lab.configuration import Configuration

BN, GN, WS, CENTRED, SCALED = "bn", "gn", "gn-ws", "gn-centred", "gn-scaled"
BCN, BCN_WS = "bcn", "bcn-ws"

RECIPES: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        BN: None,
        GN: "gn",
        WS: "ws+gn",
        CENTRED: "centred+gn",
        SCALED: "scaled+gn",
        BCN: "bcn",
        BCN_WS: "ws+bcn",
    }
)
"""Methods and the recipes by which `convert` makes them of a network with batch norms; None leaves it as it is."""

NOTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        BN: "batch norm",
        GN: "group norm",
        WS: "group norm, weights standardised",
        CENTRED: "group norm, weights without their mean",
        SCALED: "group norm, weights divided by their deviation",
        BCN: "batch-channel norm",
        BCN_WS: "batch-channel norm, weights standardised",
    }
)

MAIN: Final = (BN, GN, WS, BCN, BCN_WS)
"""The methods of the paper's own comparison."""

ALL: Final = tuple(RECIPES)
"""These and the two halves of standardisation."""

BASELINES: Final[Mapping[str, str]] = MappingProxyType({GN: BN, WS: GN, CENTRED: GN, SCALED: GN, BCN: GN, BCN_WS: WS})
"""What a method is compared with at the same batch size."""

MICRO: Final = 2
"""Batches of so many examples or fewer are micro-batches: batch-channel norm takes running estimates for them. The
abstract: "each GPU typically has only 1-2 images"."""

MARGIN: Final = 0.02
"""Two points of accuracy: below that a method is as good as another. The paper's own differences between methods that
work are one or two points of error on ImageNet."""

LIMITED: Final = "its effectiveness is limited for micro-batch training"
IMPROVED: Final = "WS and BCN improve micro-batch training significantly"
MATCHED: Final = "able to match or outperform the performances of BN with large-batch training"
SMOOTHER: Final = "reducing the Lipschitz constants of the loss and the gradients"
AWAY: Final = "keep networks away from elimination singularities"
ABLATION: Final = "error of ResNet-50: 24.81 with GN, 23.96 centred, 24.60 scaled, 23.72 with WS"
"""The paper's ablation, as others quote it."""

SMOOTHNESS: Final = ("loss_lipschitz", "gradient_lipschitz")
DISTANCES: Final = ("mean_distance", "std_distance", "near_dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One task of a preset, with all its methods and batch sizes.

    Attributes:
        base: the network with batch norms, its data, and how it is trained but for batch size and learning rate; its
            recipe has neither steps nor epochs that count.
        images: that every run sees, whatever its batches.
        batches: sizes of batches.
        rates: learning rate of each method at the largest batch; its keys are the methods.
        prefix: of the variants' names.
        records: how many checkpoints of a run are kept after its first weights.
    """

    base: Configuration
    images: int
    batches: tuple[int, ...]
    rates: Mapping[str, float]
    prefix: str = ""
    records: int = 6

    @property
    def largest(self) -> int:
        """The largest batch."""
        return max(self.batches)


def variant_name(part: Part, method: str, batch: int) -> str:
    """What the variant of a method and a batch size is called."""
    return f"{part.prefix}{method}.b{batch}"


def of_part(part: Part) -> list[Variant]:
    """Every method at every batch size, the largest first, each after what it is compared with."""
    methods = [method for method in ALL if method in part.rates]
    return [
        Variant(
            name=variant_name(part, method, batch),
            configuration=configured(part, method, batch, part.rates[method] * batch / part.largest),
            against=_against(part, method, batch),
            claims=tuple(_claims(part, method, batch, methods)),
            note=f"{NOTES[method]}{_form(method, batch)}, batches of {batch}",
        )
        for batch in sorted(part.batches, reverse=True)
        for method in methods
    ]


def of_rates(part: Part, rates: Sequence[float]) -> list[Variant]:
    """Every method at the largest batch with each learning rate: what the rates of a preset are chosen from."""
    return [
        Variant(
            name=f"{part.prefix}{method}.r{rate:g}",
            configuration=configured(part, method, part.largest, rate),
            note=f"{NOTES[method]}, batches of {part.largest}, learning rate {rate:g}",
        )
        for method in ALL
        if method in part.rates
        for rate in rates
    ]


def configured(part: Part, method: str, batch: int, rate: float) -> Configuration:
    """The base with a method's norms, a batch size and a learning rate, for as many updates as there are images."""
    steps = max(1, part.images // batch)
    recipe = replace(part.base.recipe, steps=steps, epochs=None, batch_size=batch, learning_rate=rate)
    model = part.base.model
    wanted = recipe_of(method, batch)
    if wanted is not None:
        model = f"{model}{'&' if '?' in model else '?'}convert={wanted}"
    return replace(part.base, model=model, recipe=recipe, keep="last", every=max(1, steps // part.records))


def recipe_of(method: str, batch: int) -> str | None:
    """The recipe of a method at a batch size; batch-channel norm by running estimates in micro-batches.

    Example:
        >>> recipe_of("bcn-ws", 16), recipe_of("bcn-ws", 1), recipe_of("gn-ws", 1), recipe_of("bn", 1)
        ('ws+bcn', 'ws+micro-bcn', 'ws+gn', None)
    """
    recipe = RECIPES[method]
    return recipe.replace("bcn", "micro-bcn") if recipe is not None and batch <= MICRO else recipe


def method_of(name: str) -> tuple[str, str, int | None]:
    """The prefix, the method and the batch size in a variant's name; no size where it names none.

    Example:
        >>> method_of("gn-ws.b16"), method_of("masks.bn.b1"), method_of("bn.r0.1")
        (('', 'gn-ws', 16), ('masks', 'bn', 1), ('', 'bn', None))
    """
    parts = name.split(".")
    place = next((number for number, part in enumerate(parts) if part in RECIPES), 0)
    size = parts[place + 1] if len(parts) > place + 1 else ""
    batch = int(size[1:]) if size[:1] == "b" and size[1:].isdigit() else None
    return ".".join(parts[:place]), parts[place], batch


def _form(method: str, batch: int) -> str:
    if method not in (BCN, BCN_WS):
        return ""
    return " by running estimates" if batch <= MICRO else " by batch statistics"


def _against(part: Part, method: str, batch: int) -> str | None:
    """Batch norm with small batches is compared with batch norm of the largest, all else within a batch size."""
    if method == BN:
        return None if batch == part.largest else variant_name(part, BN, part.largest)
    return variant_name(part, BASELINES[method], batch)


def _claims(part: Part, method: str, batch: int, methods: list[str]) -> list[Claim]:
    """What is claimed of a method at a batch size; of what the paper says of micro-batches, larger ones are ours."""
    micro = batch <= MICRO
    improved = IMPROVED if micro else ""
    best = variant_name(part, BN, part.largest)
    claims = {
        BN: [_score("lower", article=LIMITED)] if micro else [],
        GN: [_score("higher", article=LIMITED)] if micro else [],
        WS: [_score("higher", article=improved), *_each(SMOOTHNESS, "lower", article=SMOOTHER)],
        BCN: [_score("higher", article=improved), *_each(DISTANCES, "lower", article=AWAY)],
        BCN_WS: [
            _score("not lower", floor=MARGIN),
            *([_score("not lower", floor=MARGIN, against=best, article=MATCHED)] if micro else []),
            *_each(DISTANCES, "lower", article=AWAY),
            *(_each(SMOOTHNESS, "lower", against=variant_name(part, BCN, batch), article=SMOOTHER)),
        ],
        CENTRED: [_score("over half", gain_of=variant_name(part, WS, batch), article=ABLATION)],
        SCALED: [_score("under half", gain_of=variant_name(part, WS, batch), article=ABLATION)],
    }
    there = {variant_name(part, one, size) for one in methods for size in part.batches}
    return [claim for claim in claims[method] if {claim.against, claim.gain_of} - {None} <= there]


def _score(expected: str, *, floor: float = 0.0, against: str | None = None, **more: str) -> Claim:
    return Claim(measure="score", expected=expected, floor=floor, against=against, **more)  # type: ignore[arg-type]


def _each(measures: Iterable[str], expected: str, *, article: str, against: str | None = None) -> list[Claim]:
    return [
        Claim(measure=measure, expected=expected, against=against, article=article)  # type: ignore[arg-type]
        for measure in measures
    ]
