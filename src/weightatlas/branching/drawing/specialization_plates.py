"""How families in branches are shown: one layer, several runs, one run over its steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.plate import Chart, Heading, Plate
from weightatlas.wording import capitalized, counted, listed, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.branching.consistency import Consistency
    from weightatlas.branching.onset import Onset
    from weightatlas.branching.specialization import Specialization

NULL_WIDTH: Final = 1.96
"""Half-width of grey in standard deviations of the null: 95 % of it, were it Gaussian."""

ENRICHMENT_METHOD: Final = (
    "Hypergeometric tail of every family in every branch, adjusted over all pairs of the layer (Benjamini, Hochberg)."
)
LOOKED: Final = "The families were chosen after looking at these units: p and q overstate the evidence."


def enrichment_chart(found: Specialization) -> alt.LayerChart:
    """Families down, branches across; the number is k, the colour how rare it is."""
    rows = [row | {"rarity": _rarity(row["q_value"])} for row in found.rows() if row["skipped"] is None]
    base = _inline(rows).encode(
        x=alt.X("branch:N", sort=list(found.branches), title=None, axis=alt.Axis(orient="top", labelAngle=0)),
        y=alt.Y("family:N", sort=list(found.families), title=None),
    )
    scale = alt.Scale(range=list(palette.SEQUENTIAL), domainMin=0)
    cells = base.mark_rect().encode(
        color=alt.Color("rarity:Q", title="−log10 q", scale=scale),
        tooltip=["family:N", "branch:N", "k:Q", "expected:Q", "family_size:Q", "p_value:Q", "q_value:Q"],
    )
    middle = max((row["rarity"] for row in rows), default=0.0) / 2
    ink = alt.condition(alt.datum["rarity"] > middle, alt.value(palette.PAPER), alt.value(palette.INK))
    text = base.mark_text().encode(text="k:Q", color=ink)
    chart: alt.LayerChart = (cells + text).properties(width="container", height=alt.Step(22))
    return chart


def enrichment_plates(found: Specialization) -> list[Plate]:
    """The matrix of families and branches."""
    title = _gathered(found)
    said = (
        *found.notes[: -1 if found.chosen_after_looking else None],
        *([LOOKED] if found.chosen_after_looking else []),
    )
    return [
        Chart(
            Heading(
                key="specialization",
                title=title,
                reading=(
                    "Families down, branches across: the number of units of the family in the branch, the darker the "
                    f"rarer by chance. Family and branch share {found.information:.2f} bits; chance gives "
                    f"{found.null_mean:.2f}."
                ),
                method=" ".join([ENRICHMENT_METHOD, *(f"{capitalized(note).rstrip('.')}." for note in said)]),
                null=(
                    "A family's units are any of the layer's. Information: branches permuted among the units "
                    f"(mean {found.null_mean:.3f}, sd {found.null_std:.3f}, p = {found.p_value:.2g})."
                ),
            ),
            spec=enrichment_chart(found).to_dict(),
            rows=tuple(found.rows()),
        )
    ]


def consistency_chart(found: Consistency) -> alt.LayerChart:
    """Strength of each family as a dot, its null as a bar."""
    rows = [
        row
        | {
            "low": row["null_mean"] - NULL_WIDTH * row["null_std"],
            "high": row["null_mean"] + NULL_WIDTH * row["null_std"],
            "recurs": row["q_value"] < 0.05,
        }
        for row in found.rows()
    ]
    base = _inline(rows).encode(y=alt.Y("family:N", sort=None, title=None))
    null = base.mark_bar(color=palette.NULL, size=12).encode(x=alt.X("low:Q", title="strength"), x2="high:Q")
    colours = alt.Scale(domain=[True, False], range=[palette.ACCENT, palette.GREY])
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(
        x="strength:Q",
        color=alt.Color("recurs:N", title="recurs", scale=colours),
        tooltip=["family:N", "agreement:Q", "runs_agreeing:Q", "strength:Q", "q_value:Q"],
    )
    chart: alt.LayerChart = (null + dots).properties(width="container", height=alt.Step(26))
    return chart


def consistency_plates(found: Consistency) -> list[Plate]:
    """What recurs from run to run."""
    recurring = [each.family for each in found.recurrences if each.q_value < 0.05]
    among = f"in {counted(len(found.runs), 'run')}"
    names = listed([printable(name, limit=40) for name in recurring[:4]]) if recurring else ""
    title = f"Branches take {names} alike {among}" if recurring else f"No family is taken alike {among}"
    return [
        Chart(
            Heading(
                key="consistency",
                title=title,
                reading=(
                    "One dot a family: how far matched branches took it, or left it, together. Grey holds 95 % of what "
                    f"unspecialised runs give. Branches that took most are matched in {found.agreement:.0%} of cases; "
                    f"chance gives {found.agreement_null:.0%}."
                ),
                method=" ".join(
                    [
                        "Branches are matched between each two runs by assignment, on what they took of each family.",
                        *(f"{capitalized(note)}." for note in found.notes),
                    ]
                ),
                null=(
                    "Grey: families permuted among the units of all runs, branches matched anew. A family recurs where "
                    "two runs or more, each permuted alone, have more in common with the others than chance gives."
                ),
            ),
            spec=consistency_chart(found).to_dict(),
            rows=tuple(found.rows()),
        )
    ]


def onset_chart(found: Onset) -> alt.LayerChart:
    """Information as a line, its null as a band, the onset as a rule."""
    rows = [
        row
        | {
            "low": max(0.0, row["null_mean"] - NULL_WIDTH * row["null_std"]),
            "high": row["null_mean"] + NULL_WIDTH * row["null_std"],
        }
        for row in found.rows()
        if row["skipped"] is None
    ]
    base = _inline(rows).encode(x=alt.X("step:Q", title=found.unit))
    band = base.mark_area(color=palette.NULL).encode(y=alt.Y("low:Q", title="bits"), y2="high:Q")
    line = base.mark_line(color=palette.INK, point=True).encode(
        y="information:Q", tooltip=["step:Q", "information:Q", "excess:Q", "p_value:Q", "q_value:Q"]
    )
    rule = (
        _inline([] if found.onset is None else [{"step": found.onset}])
        .mark_rule(color=palette.ACCENT, strokeWidth=1.5)
        .encode(x="step:Q")
    )
    chart: alt.LayerChart = (band + rule + line).properties(width="container", height=220)
    return chart


def onset_plates(found: Onset) -> list[Plate]:
    """Specialisation over a run."""
    layer = printable(found.layer, limit=60)
    title = (
        f"The branches of {layer} do not specialise by {found.by} to the end of the run"
        if found.onset is None
        else f"The branches of {layer} specialise by {found.by} from {found.unit} {found.onset:,}"
    )
    return [
        Chart(
            Heading(
                key="onset",
                title=title,
                reading="Mutual information of family and branch; grey is what chance gives, the rule the onset.",
                method=(
                    "Onset: the first step from which all later ones have q < .05, Benjamini and Hochberg over steps."
                ),
                null="Branches permuted among the units, at each step; the band is two standard deviations each way.",
            ),
            spec=onset_chart(found).to_dict(),
            rows=tuple(found.rows()),
        )
    ]


def _gathered(found: Specialization) -> str:
    """What the matrix says, as a sentence."""
    pairs = found.gathered
    if not pairs:
        return "No family gathers in a branch"
    named = [f"{printable(pair.family, limit=40)} in {printable(pair.branch, limit=40)}" for pair in pairs[:3]]
    more = f", and {counted(len(pairs) - 3, 'pair')} more" if len(pairs) > 3 else ""
    return f"Units gather: {', '.join(named)}{more}"


def _rarity(q_value: float) -> float:
    """-log10 q, at most 20: what is rarer still is not told apart."""
    return min(20.0, -math.log10(max(q_value, 1e-300)))


def _inline(rows: Sequence[Mapping[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows)))
