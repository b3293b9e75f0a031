"""How every experiment is shown: its subject, what was confirmed, verdicts, effects and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from weightatlas.lab.experiments.charts import chart_rows, variants_chart
from weightatlas.lab.experiments.claims import VERDICTS
from weightatlas.plate import Chart, Column, Finding, Heading, Plate, Subject, Table
from weightatlas.wording import capitalized, counted, listed, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.lab.experiments.comparing import Comparison
    from weightatlas.lab.experiments.result import ExperimentResult

INTERVALS: Final = (
    "Seeds are paired: runs of one seed share their first weights and their data. Intervals are 95 % t intervals over "
    "seeds."
)
JUDGING: Final = (
    "“Lower”, “higher”, “under half” and “over half” agree where the interval of the paired difference (from half) "
    "lies on the claimed side; “not lower” where it lies above the floor below 0; “same” where it lies within the "
    "floor; “present” and “reversed” where that of the variant itself lies beyond the "
    "floor and, of a measure with a test, q < .001 in every seed; “absent” where it lies within the floor. A claim is "
    "contradicted only by an interval wholly on the other side; "
    "all else is undecided, one seed always."
)

RUNS: Final = (
    Column("variant", "variant"),
    Column("seed", "seed", "integer"),
    Column("train_accuracy", "train accuracy", "number", 3, description="top-1 on training data, in evaluation mode"),
    Column("test_accuracy", "test accuracy", "number", 3, description="top-1 on held-out data"),
    Column("test_top5", "top-5", "number", 3, description="top-5 on held-out data"),
    Column("parameters", "parameters", "integer"),
    Column("minutes", "minutes", "number", 2, description="spent on updates"),
)


def experiment_plates(result: ExperimentResult) -> list[Plate]:
    """The plates that every experiment has."""
    plates: list[Plate] = [subject(result), *summary(result)]
    if any(item.claim for item in result.comparisons):
        plates.append(verdicts_table(result))
    if any(measure.compared for measure in result.experiment.measures) and result.finished:
        plates.append(_variants(result))
    return [*plates, effects_table(result), runs_table(result)]


def subject(result: ExperimentResult) -> Subject:
    """What the experiment is."""
    experiment = result.experiment
    base = experiment.variants[0].configuration
    recipe = base.recipe
    length = f"{recipe.steps} updates" if recipe.steps else f"{recipe.epochs:g} epochs"
    return Subject(
        result.source,
        (
            f"{counted(len(experiment.variants), 'variant')} × {counted(len(experiment.seeds), 'seed')}",
            base.model,
            base.data,
            f"{length}, batches of {recipe.batch_size}",
        ),
    )


def summary(result: ExperimentResult) -> list[Finding]:
    """How many of the article's claims are confirmed, which are not, and what could not be run."""
    findings = []
    judged = [item for item in result.comparisons if item.claim is not None and item.claim.article]
    if judged:
        counts = {word: [item for item in judged if item.verdict == word] for word in VERDICTS}
        parts = [
            f"{tally(counts['agrees'])} {_are(counts['agrees'])} confirmed",
            f"{tally(counts['disagrees'])} contradicted",
            f"{tally(counts['undecided'])} undecided",
        ]
        statement = f"Of {counted(len(judged), 'claim')} of the article {listed(parts)}."
        evidence = [f"{word}: {named(counts[word])}" for word in ("disagrees", "undecided") if counts[word]]
        seeds = counted(len(result.experiment.seeds), "seed")
        findings.append(Finding(statement, (seeds, *evidence), plate="verdicts", importance=1.0))
    skipped = [done for done in result.runs if done.skipped is not None]
    if skipped:
        statement = f"{capitalized(counted(len(skipped), 'run'))} of {len(result.runs)} could not be finished."
        reasons = dict.fromkeys(str(done.skipped) for done in skipped)
        findings.append(Finding(statement, tuple(reasons)[:3], plate="runs", importance=0.95))
    return findings


def named(items: list[Comparison]) -> str:
    """The variants of comparisons, each once."""
    return ", ".join(dict.fromkeys(item.variant for item in items))


def tally(items: Sequence[object]) -> str:
    """How many of something there are, as a part of more.

    Example:
        >>> tally([]), tally(["one"])
        ('none', 'one')
    """
    return number(len(items)) if items else "none"


SAID_OF_KEPT: Final = " “Kept” is the variant's mean as a share of the baseline's: what is still present may be weak."
KEPT: Final = Column("kept", "kept", "share", 0)


def verdicts_table(result: ExperimentResult, *, kept: bool = True) -> Table:
    """Every claim with its figures: the article's words beside the verdict.

    Args:
        result: of the experiment.
        kept: show the variant's mean as a share of the baseline's too, where measures have a zero that is nothing.
    """
    labels = {measure.key: measure.label for measure in result.experiment.measures}
    rows = []
    for row in result.rows("effects"):
        if row["expected"] is not None:
            shown = {
                "measure": labels.get(row["measure"], row["measure"]),
                "article": row["article"] or "(ours)",
                "judged": f"{row['expected']}, floor {row['floor']:g}" if row["floor"] else row["expected"],
                "own": interval(row, "value_low", "value_high"),
                "change": interval(row, "low", "high"),
            }
            rows.append(row | shown)
    agreeing = [row for row in rows if row["verdict"] == "agrees"]
    return Table(
        Heading(
            key="verdicts",
            title=f"{capitalized(tally(agreeing))} of {counted(len(rows), 'claim')} confirmed",
            reading=(
                "One row a claim. The article's own words stand beside our verdict; a claim that it does not make is "
                f"ours.{SAID_OF_KEPT if kept else ''}"
            ),
            method=f"{INTERVALS} {JUDGING}",
        ),
        columns=(
            Column("variant", "variant"),
            Column("measure", "measure"),
            Column("article", "article"),
            Column("judged", "judged as", description="what the claim says of the measure, and its floor"),
            Column("verdict", "verdict"),
            Column("value", "mean", "signed"),
            Column("own", "its interval", description="95 % t interval of the variant's own mean"),
            Column("baseline", "baseline", "signed"),
            Column("effect", "effect", "signed", description="mean paired difference from the baseline"),
            Column("change", "its interval", description="95 % t interval of the paired difference"),
            *((KEPT,) if kept else ()),
        ),
        rows=tuple(rows),
        marked=tuple(row["verdict"] == "agrees" for row in rows),
    )


def effects_table(result: ExperimentResult) -> Table:
    """Every variant against its baseline on every measure that is compared, once each."""
    labels = {measure.key: measure.label for measure in result.experiment.measures}
    rows: dict[tuple[str, str], Mapping[str, Any]] = {}
    own = {variant.name: variant.against for variant in result.experiment.variants}
    for row in result.rows("effects"):
        if row["against"] is not None and row["against"] == own[row["variant"]]:
            shown = row | {
                "measure": labels.get(row["measure"], row["measure"].replace("_", " ")),
                "change": interval(row, "low", "high"),
            }
            rows.setdefault((row["variant"], row["measure"]), shown)
    sure = [row for row in rows.values() if row["q_value"] is not None and row["q_value"] < 0.05]
    return Table(
        Heading(
            key="effects",
            title=f"{capitalized(tally(sure))} of {counted(len(rows), 'effect')} differ from 0 (q < .05)",
            reading="One row a variant and measure: its mean, the baseline's, and the paired difference.",
            method=INTERVALS,
            null="A difference of mean 0: the paired t test. q is Benjamini-Hochberg over all rows.",
        ),
        columns=(
            Column("variant", "variant"),
            Column("against", "against"),
            Column("measure", "measure"),
            Column("seeds", "seeds", "integer"),
            Column("baseline", "baseline", "signed"),
            Column("value", "mean", "signed"),
            Column("effect", "effect", "signed"),
            Column("change", "its interval"),
            Column("p_value", "p", "probability"),
            Column("q_value", "q", "probability"),
        ),
        rows=tuple(rows.values()),
        marked=tuple(row in sure for row in rows.values()),
    )


def runs_table(result: ExperimentResult) -> Table:
    """Every run: accuracy, parameters, minutes."""
    rows = tuple(result.rows("runs"))
    finished = [row for row in rows if row["skipped"] is None]
    minutes = sum(row["minutes"] for row in finished)
    return Table(
        Heading(
            key="runs",
            title=f"{capitalized(counted(len(finished), 'run'))}, {minutes:.1f} minutes of updates",
            reading="One row a run, in the order in which they were made. All fields are in the data below.",
            method="Accuracy in evaluation mode, on a fixed sample of training images and on all held-out ones.",
        ),
        columns=RUNS,
        rows=rows,
    )


NARROW: Final = 0.1
"""An interval below this width is written with a digit more."""
WIDE: Final = 100.0
"""From this width on an interval is written in whole numbers."""


def interval(row: Mapping[str, Any], low: str, high: str) -> str | None:
    """Two ends as one text; None where there are none."""
    if row[low] is None or row[high] is None:
        return None
    width = row[high] - row[low]
    digits = 0 if width >= WIDE else 2 if width >= NARROW else 3
    return f"{row[low]:+.{digits}f} to {row[high]:+.{digits}f}".replace("-", "−")


def _variants(result: ExperimentResult) -> Chart:
    measures = [measure for measure in result.experiment.measures if measure.compared]
    return Chart(
        Heading(
            key="variants",
            title="Every seed of every variant",
            reading="Dots are seeds, the line their interval; the grey tick is the baseline, the pale bar the claim.",
            method=INTERVALS,
        ),
        spec=variants_chart(result, measures).to_dict(),
        rows=tuple(chart_rows(result, measures)),
    )


def _are(items: list[Comparison]) -> str:
    return "is" if len(items) == 1 else "are"
