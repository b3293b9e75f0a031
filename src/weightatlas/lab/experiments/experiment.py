"""What an experiment is: variants of one run, seeds they share, measures of what came out, claims to judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from weightatlas.lab.experiments.claims import COMPARES, Claim

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.lab.configuration import Configuration
    from weightatlas.lab.experiments.result import ExperimentResult
    from weightatlas.lab.running import Run
    from weightatlas.plate import Form

Figure = float | int | bool | str | None


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured of every finished run.

    Attributes:
        key: its name in tables and JSON.
        label: what stands above it on a page.
        form: how it is written.
        compared: whether variants are compared with their baseline on it.
        description: one sentence for the reader.
    """

    key: str
    label: str
    form: Form = "signed"
    compared: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """What was measured of one run.

    Attributes:
        figures: a value for each measure's key; a missing one, None or NaN is what this run does not have.
        arrays: what plates draw, by names of the experiment's own.
    """

    figures: Mapping[str, Figure]
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


MeasureRun = Callable[["Run"], Measurement]
MeasurePair = Callable[["Run", "Run"], Measurement]
"""From the partner's run and the variant's own, of one seed, to what the two have together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to run the experiment.

    Attributes:
        name: names its folder and its rows: letters, digits, hyphens and dots.
        configuration: what is run; each seed replaces its own.
        against: the variant it is compared with; None for a baseline.
        claims: what the article, or we, say that it does.
        note: one sentence on what it is.
        partner: the variant whose run of the same seed it makes a pair with; None where its runs are measured alone.
    """

    name: str
    configuration: Configuration
    against: str | None = None
    claims: tuple[Claim, ...] = ()
    note: str = ""
    partner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Variants x seeds, and what is measured of each run.

    Attributes:
        name: of the experiment, as the command line has it.
        preset: its scale.
        variants: the baseline first; each after what it is compared with, and after its partner.
        seeds: shared by all variants, so that their runs make pairs.
        measures: what `measure` gives, in the order of the tables.
        measure: from a finished run to its figures; a function of a module, so that other processes can call it.
        result: the class of its results, which names its tables and draws its plates.
        title: what stands above its page; its name and preset if left out.
        measure_pair: from two finished runs, the partner's first, to what they have together, which is added to what
            `measure` gives of the second; a function of a module. None where no variant has a partner.

    Raises:
        ValueError: two variants have one name, one is compared with what is not before it or has a partner that is not,
            or has one where no pairs are measured, a seed stands twice, a claim is about no measure, names a variant
            that is not before it, or compares one that has nothing to be compared with.
    """

    name: str
    preset: str
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    measures: tuple[Measure, ...]
    measure: MeasureRun
    result: type[ExperimentResult]
    title: str = ""
    measure_pair: MeasurePair | None = None

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        if not self.variants or not self.seeds or len(set(self.seeds)) < len(self.seeds):
            message = f"an experiment needs variants, and seeds that differ, not {self.seeds}"
            raise ValueError(message)
        before: set[str] = set()
        keys = {measure.key for measure in self.measures}
        for variant in self.variants:
            name = variant.name
            if not name.replace("-", "").replace(".", "").isalnum() or name.startswith(".") or name in before:
                message = f"a variant's name must be its own, of letters, digits, hyphens and dots, not {name!r}"
                raise ValueError(message)
            if variant.against is not None and variant.against not in before:
                message = f"{name} is compared with {variant.against!r}, which does not stand before it"
                raise ValueError(message)
            if variant.partner is not None and (variant.partner not in before or self.measure_pair is None):
                what = "no pairs are measured" if self.measure_pair is None else "does not stand before it"
                message = f"{name} makes a pair with {variant.partner!r}, and {what}"
                raise ValueError(message)
            before.add(name)
            for claim in variant.claims:
                _check(claim, variant, keys, before)

    @property
    def source(self) -> str:
        """The name of its results."""
        return f"{self.name} ({self.preset})"

    def variant(self, name: str) -> Variant:
        """The variant of that name.

        Raises:
            KeyError: there is none.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)


def _check(claim: Claim, variant: Variant, keys: set[str], before: set[str]) -> None:
    """See that a claim can be judged."""
    others = {name for name in (claim.against, claim.gain_of) if name is not None}
    if missing := others - before:
        message = f"a claim compares {variant.name} with {', '.join(sorted(missing))}, which does not stand before it"
        raise ValueError(message)
    named = {claim.measure} | ({claim.significant} if claim.significant is not None else set())
    if unknown := named - keys:
        message = f"a claim on {variant.name} names {', '.join(sorted(unknown))}, which is not measured"
        raise ValueError(message)
    if claim.expected in COMPARES and variant.against is None and claim.against is None:
        message = f"{variant.name} claims {claim.expected!r} and is compared with nothing"
        raise ValueError(message)
