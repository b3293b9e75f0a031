"""Plates for the page's tests: small synthetic networks, and real ones from the reference material where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np

from weightatlas.plate import (
    Chart,
    Column,
    ColumnGroup,
    Columns,
    Finding,
    Heading,
    Plate,
    SlideLayer,
    Slides,
    Strip,
    Subject,
    Table,
    UnitColumn,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "</script><b>bold</b>", "a/b c?d#e%20f&g")
HEADING = Heading("banding", "Banding begins late", "One row a layer.", "From raw kernels.", "Sign flips.")
COLUMNS = (
    Column("layer", "layer", "layer"),
    Column("shape", "kernel", "shape"),
    Column("strip", "B, with null", "strip"),
    Column("score", "B", "signed", description="Share of variance between rows, less between columns."),
    Column("q_value", "q", "probability"),
    Column("units", "units", "integer"),
)


@dataclass(frozen=True)
class Given:
    """A result that gives the plates it holds."""

    source: str
    given: tuple[Plate, ...]

    def plates(self) -> Sequence[Plate]:
        return self.given


def row(layer: str, score: float, units: int = 64) -> dict[str, Any]:
    null = 2 / np.sqrt(units) * 0.5
    return {
        "layer": layer,
        "shape": [units, 16, 3, 3],
        "strip": Strip(score, -null, null),
        "score": score,
        "q_value": 0.0002 if abs(score) > null else 0.4,
        "units": units,
        "skipped": None,
    }


def table(rows: Sequence[Mapping[str, Any]], *, key: str = "banding", marked: tuple[bool, ...] = ()) -> Table:
    heading = Heading(key, HEADING.title, HEADING.reading, HEADING.method, HEADING.null)
    return Table(heading, COLUMNS, tuple(rows), marked)


def chart(values: Sequence[Mapping[str, Any]], *, key: str = "depth") -> Chart:
    base = alt.Chart(alt.Data(values=[{k: r[k] for k in ("layer", "score")} for r in values]))  # type: ignore[no-untyped-call]
    spec = base.mark_line(point=True).encode(
        x=alt.X("layer:N", sort=None), y=alt.Y("score:Q", title="B"), tooltip=["layer:N", "score:Q"]
    )
    plain = tuple({"layer": r["layer"], "score": r["score"]} for r in values)
    return Chart(
        Heading(key, "Banding rises with depth", "A point a layer.", "As plate 1.", "Grey band."), spec.to_dict(), plain
    )


def images(units: int, size: int, seed: int, *, banded: bool = False) -> npt.NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    drawn = generator.random((units, size, size, 3)) ** 2
    if banded:
        drawn = np.repeat(generator.random((units, size, 1, 3)) ** 3, size, axis=2)
    drawn /= drawn.max(axis=(1, 2, 3), keepdims=True)
    return (drawn * 255).astype(np.uint8)


def slide(layer: str, units: int = 24, size: int = 3, *, seed: int = 0, marked: bool = False) -> SlideLayer:
    generator = np.random.default_rng(seed)
    return SlideLayer(
        layer,
        images(units, size, seed, banded=marked),
        facts=(f"{units} units, {size} × {size}",),
        measures={"score": generator.normal(size=units), "norm": generator.random(units)},
        order=generator.permutation(units),
        marked=marked,
    )


def slides(layers: Sequence[SlideLayer], *, key: str = "slides") -> Slides:
    heading = Heading(key, "Two layers are banded", "A square a unit.", "NMF of rank 3.", "")
    return Slides(heading, tuple(layers))


def column(title: str, units: int = 24, size: int = 5, *, first: int = 0, category: int | None = 0) -> UnitColumn:
    """Units numbered from `first` on, the later the higher their chroma."""
    return UnitColumn(
        title,
        images(units, size, first + units),
        units=np.arange(first, first + units),
        facts=(f"{units} units",),
        measures={"chroma": np.linspace(0, 1, units), "norm": np.random.default_rng(first).random(units)},
        labels={"class": tuple("Gabor" if unit % 2 else "other" for unit in range(units))},
        category=category,
    )


def columns(groups: Sequence[ColumnGroup], *, key: str = "columns") -> Columns:
    heading = Heading(key, "One branch sees colour", "A column a branch.", "Kernels as they are.", "None.")
    return Columns(heading, tuple(groups))


def small(source: str = "small.safetensors", names: Sequence[str] = ("conv1", "conv2", "conv3")) -> Given:
    """A network of a few layers: findings, a table, a chart and slides, the last layer banded."""
    rows = [row(name, 0.6 if name == names[-1] else -0.01 * place) for place, name in enumerate(names)]
    marked = tuple(name == names[-1] for name in names)
    return Given(
        source,
        (
            Subject(f"Network {source}", ("float32", "1,000 parameters")),
            Finding(f"One layer is banded: {names[-1]}.", ("B = +.600", "q < .001"), "banding", 2.0),
            Finding("No other layer prefers a direction.", (), "slides", 1.0),
            table(rows, marked=marked),
            chart(rows),
            slides([slide(name, seed=place, marked=marked[place]) for place, name in enumerate(names)]),
        ),
    )
