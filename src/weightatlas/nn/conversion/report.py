"""What was converted, what was not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from torch import nn

from weightatlas.result import Result, Row
from weightatlas.wording import counted, listed, number

if TYPE_CHECKING:
    from collections.abc import Iterable

    import altair as alt

    from weightatlas.plate import Plate

COLUMNS: Final = (
    "layer",
    "kind",
    "before",
    "after",
    "pair",
    "standardized",
    "groups",
    "carried",
    "evidence",
    "skipped",
)


@dataclass(frozen=True, slots=True)
class ConvertedLayer:
    """What became of one convolution or norm.

    Attributes:
        layer: module path.
        kind: "convolution", "norm", or "other": a module of another kind whose weights were standardised.
        before: class that stood there.
        after: class that stands there now; None where it was left as it was.
        pair: of a convolution the norm right behind it, of a norm the convolution right before it; several with commas;
            None where there is none.
        standardized: of a convolution, whether its weights are standardised now; None for norms.
        groups: of a new norm, how many groups of channels it has, where it has groups.
        carried: what the new layer has of the old one, in words; "" where all of it is new; None where nothing changed.
        evidence: how the pair is known: "seen" in a pass, from the "order" of the modules, or "" where it is not.
        skipped: why it was left as it was, or None.
    """

    layer: str
    kind: Literal["convolution", "norm", "other"]
    before: str
    after: str | None = None
    pair: str | None = None
    standardized: bool | None = None
    groups: int | None = None
    carried: str | None = None
    evidence: str = ""
    skipped: str | None = None

    def left(self, reason: str, *, standardized: bool | None = None) -> ConvertedLayer:
        """The same layer, left as it was."""
        return replace(self, skipped=reason, standardized=standardized)

    def done(
        self, after: str, *, carried: str, groups: int | None = None, standardized: bool | None = None
    ) -> ConvertedLayer:
        """The same layer, changed."""
        return replace(self, after=after, carried=carried, groups=groups, standardized=standardized)

    def row(self) -> Row:
        """The fields as one flat row."""
        return {column: getattr(self, column) for column in COLUMNS}


class LayerReport(Result):
    """What a conversion and a folding have in common: a row for each convolution and each norm, and no plate.

    Attributes:
        model: the new model.
        layers: one entry for each convolution and each norm, in the order of the modules.
        stopped: why no pass through the model came to its end, so that some pairs are known from their order only, and
            no norm can be folded; or empty.
    """

    __slots__ = ()

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {"layers": COLUMNS}

    model: nn.Module
    layers: tuple[ConvertedLayer, ...]
    stopped: str

    def rows(self, table: str | None = None) -> list[Row]:
        """One flat row for each convolution and norm."""
        self.columns(table)
        return [layer.row() for layer in self.layers]

    def chart(self) -> alt.Chart:
        """How many layers of each class became what."""
        return outcome_chart(self.layers)

    def plates(self) -> tuple[Plate, ...]:
        """None: a converted or folded network is one to use; what is drawn is measured on it."""
        return ()


@dataclass(frozen=True, slots=True, eq=False)
class Conversion(LayerReport):
    """A converted model and the report of what was converted, and what was not, and why.

    Attributes:
        source: what was converted.
        model: the converted model.
        recipe: what was asked for.
        layers: one entry for each convolution and each norm, in the order of the modules.
        stopped: why no pass through the model came to its end, so that some pairs are known from order only; or empty.
    """

    source: str
    model: nn.Module
    recipe: str
    layers: tuple[ConvertedLayer, ...]
    stopped: str = ""

    @property
    def summary(self) -> str:
        """One sentence."""
        return f"{self.source} to {self.recipe}: {summarised(self.layers, 'converted')}"


@dataclass(frozen=True, slots=True, eq=False)
class Folding(LayerReport):
    """A folded model and the report of what was folded, and what was not, and why.

    Attributes:
        source: what was folded.
        model: the folded model.
        layers: one entry for each convolution and each norm, in the order of the modules.
        stopped: why no pass through the model came to its end, so that no norm was folded; or empty.
    """

    source: str
    model: nn.Module
    layers: tuple[ConvertedLayer, ...]
    stopped: str = ""

    @property
    def summary(self) -> str:
        """One sentence."""
        return f"{self.source}: {summarised(self.layers, 'folded')}"


def summarised(layers: Iterable[ConvertedLayer], done: str) -> str:
    """How many convolutions and norms were changed, of how many.

    Example:
        >>> summarised([ConvertedLayer("0", "convolution", "Conv2d", "WSConv2d")], "converted")
        'one of one convolution converted'
    """
    every = list(layers)
    parts = []
    for kind in ("convolution", "norm"):
        there = [layer for layer in every if layer.kind == kind]
        changed = sum(layer.after is not None for layer in there)
        if there:
            parts.append(f"{number(changed) if changed else 'none'} of {counted(len(there), kind)}")
    return f"{listed(parts)} {done}" if parts else "neither convolutions nor norms"


def outcome_chart(layers: Iterable[ConvertedLayer]) -> alt.Chart:
    """A bar for each class before, by what it became."""
    import altair as alt

    counts = Counter((layer.before, layer.after or "left as it was") for layer in layers)
    values: list[dict[str, Any]] = [
        {"before": before, "after": after, "layers": count} for (before, after), count in counts.items()
    ]
    data = alt.Data(values=values)  # type: ignore[no-untyped-call]
    chart: alt.Chart = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            x=alt.X("layers:Q", title="layers", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("before:N", title="before", sort=None),
            color=alt.Color("after:N", title="after"),
            tooltip=["before:N", "after:N", "layers:Q"],
        )
    )
    return chart
