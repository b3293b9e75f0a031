"""The variants of the degeneracy experiment: networks, at which points they are cut, and claims."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.zoo import parse_options
from weightatlas.lab.configuration import Configuration, Recipe
from weightatlas.lab.experiments.claims import Claim
from weightatlas.lab.experiments.experiment import Variant

if TYPE_CHECKING:
    from collections.abc import Mapping

MODULAR: Final = "modular networks are likely to be more degenerate"
SPARSER: Final = "such a representation is likely to have sparser interactions"
"""Both of the abstract of Bushnaq and others, Using Degeneracy in the Loss Landscape (2405.10927)."""

MIXED: Final = "mixed"
"""The network of two tasks that the modular one is compared with."""

UNCHANGED: Final = 1e-6
"""Outputs that change by less than this share of themselves do not change: a thousand times the tolerance at which a
direction is called free, for what later layers make of it."""

GROKKING: Final = Recipe(
    steps=60_000, batch_size=1, optimizer="adamw", learning_rate=1e-3, weight_decay=1.0, schedule="constant"
)
"""As published, without the warm-up of ten updates and with Adam's usual second beta (.999 where theirs is .98); the
batch is the whole of the training data."""

ADAM: Final = Recipe(
    epochs=12, batch_size=64, optimizer="adam", learning_rate=1e-3, weight_decay=0.0, schedule="constant"
)
"""Of the published image networks."""


@dataclass(frozen=True, slots=True)
class Network:
    """What of a network is measured, as its name says.

    Attributes:
        points: where its basis is taken, in the order of the run; empty where it has none.
        counted: training examples that directions are counted on, at most.
        structured: that bases are taken on, at most: all sums of p = 53 that are trained on.
        sampled: that the learning coefficient is sampled on, at most.
        batch_size: of the sampler.
        course: checkpoints at which it is sampled, at most; the last is the end.
    """

    points: tuple[str, ...] = ()
    counted: int = 200
    structured: int = 1500
    sampled: int = 2000
    batch_size: int = 256
    course: int = 3


def network_of(model: str) -> Network:
    """The points of a network of this experiment.

    Example:
        >>> network_of("weightatlas:perceptron?hidden=24&layers=2").points
        ('hidden1', 'hidden2', 'classifier', 'classifier:output')
    """
    name, options = _parsed(model)
    if name == "modular-addition":
        return Network(("residual_pre", "residual_mid", "residual_post", "output"))
    if name == "perceptron":
        hidden = [f"hidden{number}" for number in range(1, int(str(options.get("layers", 2))) + 1)]
        return Network((*hidden, "classifier", "classifier:output"))
    if name == "simplified":
        points = ("conv5a", "conv5b", "classifier", "output")
        return Network(
            points, counted=500, structured=250, sampled=500, batch_size=64, course=1
        )  # convolutions take longer
    return Network()


def modulus_of(model: str) -> int | None:
    """The modulus that a network of modular addition is made for; None of all others."""
    name, options = _parsed(model)
    return int(str(options.get("p", 113))) if name == "modular-addition" else None


def unplanted(model: str) -> str:
    """The name of the network in which nothing keeps the weights between tasks at 0: where a modular one is a point.

    Example:
        >>> unplanted("weightatlas:perceptron?tasks=2&modular=true&hidden=24")
        'weightatlas:perceptron?tasks=2&hidden=24'
    """
    return model.replace("&modular=true", "")


def addition(
    name: str, *, p: int, fraction: float, sizes: str = "", steps: int = 60_000, stop: str | None = None
) -> Variant:
    """A transformer that learns addition modulo p on a share of all sums, from full batches."""
    data = f"modular-addition?p={p}&fraction={fraction}"
    recipe = replace(GROKKING, steps=steps, batch_size=int(fraction * p * p))
    return Variant(
        name=name,
        configuration=Configuration(
            model=f"weightatlas:modular-addition?p={p}{sizes}",
            data=data,
            recipe=recipe,
            keep="log",
            stop=stop,
            stop_every=100,
            stop_held=3,
        ),
        claims=(followed(), sparser()),
        note=f"addition modulo {p}, {100 * fraction:g} % of all sums trained on",
    )


def perceptron(name: str, configuration: Configuration, note: str, *, basis: bool = True) -> Variant:
    """A perceptron of one task, or the mixed one of two."""
    return Variant(
        name=name,
        configuration=configuration,
        claims=(followed(), sparser()) if basis else (followed(),),
        note=note,
    )


def modular(name: str, configuration: Configuration, note: str, *, against: str) -> Variant:
    """The modular network of two tasks, compared with the mixed one."""
    claims = (
        followed(),
        Claim(measure="nullity", expected="higher", article=MODULAR),
        Claim(measure="llc", expected="lower", article=MODULAR),
        Claim(measure="modularity_gain", expected="higher"),
    )
    return Variant(name=name, configuration=configuration, against=against, claims=claims, note=note)


def followed() -> Claim:
    """The claim that free directions are free."""
    return Claim(measure="followed", expected="absent", floor=UNCHANGED)


def sparser() -> Claim:
    """The claim that the interaction basis needs fewer edges than principal components."""
    return Claim(measure="edges_gain", expected="present", article=SPARSER)


def _parsed(model: str) -> tuple[str, Mapping[str, object]]:
    name, _, query = model.removeprefix("weightatlas:").partition("?")
    return name, parse_options(query)
