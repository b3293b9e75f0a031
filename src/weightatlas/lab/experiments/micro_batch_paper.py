"""What was published of micro-batch training, beside the runs of the same recipes here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.lab.experiments.effects import mean_interval
from weightatlas.lab.published import PUBLISHED, differences
from weightatlas.lab.published.figures import SHARES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weightatlas.lab.experiments.result import ExperimentResult, Shown
    from weightatlas.lab.published import PublishedFigure, PublishedRecipe
    from weightatlas.result import Row

PUBLISHED_COLUMNS: Final = (
    "variant",
    "recipe",
    "metric",
    "unit",
    "seeds",
    "value",
    "low",
    "high",
    "published",
    "difference",
    "how_sure",
    "figure_source",
    "settings",
    "differences",
    "skipped",
)
PUBLISHED_SHOWN: Final[Shown] = (
    ("variant", "variant"),
    ("metric", "metric, %"),
    ("seeds", "seeds"),
    ("value", "here"),
    ("low", "95 % from"),
    ("high", "to"),
    ("published", "published"),
    ("how_sure", "which was"),
    ("figure_source", "in"),
)
OURS: Final = "the variant is ours: nothing was published of it"
NO_FIGURE: Final = "we know of no figure for this recipe"
NOT_RUN: Final = "none of its runs could be finished"
NOT_MEASURED: Final = "its runs do not have this metric"


def variant_of(recipe: PublishedRecipe) -> str:
    """What the variant of a recipe is called: its network, its method and its batch size.

    Example:
        >>> variant_of(PUBLISHED["imagenet-resnet50-gn-ws"])
        'resnet50.gn-ws.b256'
    """
    network = recipe.name.partition("-")[2].removesuffix(f"-{recipe.method}")
    return f"{network}.{recipe.method}.b{recipe.batch_size}"


def recipe_of(result: ExperimentResult, variant: str) -> PublishedRecipe | None:
    """The recipe that a variant of a preset runs; None where the variant is ours."""
    preset = result.experiment.preset
    known = (recipe for name, recipe in PUBLISHED.items() if name.startswith(f"{preset}-"))
    return next((recipe for recipe in known if variant_of(recipe) == variant), None)


def published_rows(result: ExperimentResult) -> Iterator[Row]:
    r"""Each published figure of each variant beside the mean of its runs here, in the metric of the source.

    An error in per cent is 100 (1 - a) of an accuracy a, mean IoU is 100 times its share; low and high are Student's 95
    % interval over the seeds, and `difference` is the value here less the published one. A published figure has no
    interval: how far off it is by luck we do not know.

    Args:
        result: runs whose figures have the names of `SHARES`; one that a run does not have is left out, and said.
    """
    for variant in result.experiment.variants:
        recipe = recipe_of(result, variant.name)
        row: Row = {"variant": variant.name, "seeds": len(result.of(variant.name))}
        if recipe is None:
            yield row | {"skipped": OURS}
            continue
        row |= {"recipe": recipe.name, "settings": recipe.settings, "differences": "; ".join(differences(recipe))}
        if not recipe.published:
            yield row | {"skipped": NO_FIGURE}
        for figure in recipe.published:
            yield row | _beside(result, variant.name, figure)


def _beside(result: ExperimentResult, variant: str, figure: PublishedFigure) -> Row:
    row: Row = {
        "metric": figure.metric,
        "unit": figure.unit,
        "published": figure.value,
        "how_sure": figure.how_sure,
        "figure_source": figure.source,
    }
    if not result.of(variant):
        return row | {"skipped": NOT_RUN}
    name, to_metric = SHARES.get(figure.metric, ("", float))
    values = [to_metric(share) for share in result.values(variant, name).values()]
    if not values:
        return row | {"seeds": 0, "skipped": NOT_MEASURED}
    found = mean_interval(values)
    row |= {"seeds": found.count, "value": found.mean, "low": found.low, "high": found.high}
    return row | {"difference": found.mean - figure.value}
