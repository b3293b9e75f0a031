"""The banding of every layer of a checkpoint: scores, tests, slides and symmetries, from one read of each weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from scipy.stats import false_discovery_control

from weightatlas.banding import tables
from weightatlas.banding.flips import FLIPS, sign_flip_p_values
from weightatlas.banding.kernels import as_array
from weightatlas.banding.layer import FeatureMap, LayerBanding, is_weight, measure_layer, reason_to_skip
from weightatlas.banding.random_slides import random_banded_share
from weightatlas.banding.score import Average
from weightatlas.banding.types import BandingTypes, types
from weightatlas.checkpoints import Checkpoint, open_checkpoint
from weightatlas.errors import SourceError
from weightatlas.parallel import Backend, parallel_map
from weightatlas.progress import Progress, silent
from weightatlas.result import Result, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import altair as alt
    import numpy.typing as npt
    import torch

    from weightatlas.plate import Plate


@dataclass(frozen=True, slots=True, eq=False)
class BandingSurvey(Result):
    """The banding of every layer of one source, in the order of its file.

    Attributes:
        source: what was measured.
        layers: every weight of the source; those that have no bands to measure say why.
        average: "unit" or "kernel", as in `score`.
        seed: of the sign patterns and of the random layers.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = tables.COLUMNS

    source: str
    layers: tuple[LayerBanding, ...]
    average: Average
    seed: int

    @property
    def scored(self) -> tuple[LayerBanding, ...]:
        """The layers that have a score."""
        return tuple(layer for layer in self.layers if layer.score is not None)

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "layers", "units", "symmetries" or "types"."""
        columns = self.columns(table)
        make = tables.ROWS[next(iter(tables.ROWS)) if table is None else table]
        return [{column: row.get(column) for column in columns} for row in make(self)]

    def types(self, *, count: int = 11) -> BandingTypes:
        """Cluster all slides of the source into `count` types a kernel size, as the article's figure 12."""
        images = {layer.layer: layer.slides.images for layer in self.scored if layer.slides is not None}
        return types(images, types=count, seed=self.seed)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For every scored layer: unit scores, slide scores and slide images, named `layer/what`."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for layer in self.scored:
            if layer.score is not None:
                arrays[f"{layer.layer}/unit_scores"] = layer.score.unit_scores
            if layer.slides is not None and layer.slide_scores is not None:
                arrays[f"{layer.layer}/slide_scores"] = layer.slide_scores
                arrays[f"{layer.layer}/slides"] = layer.slides.images
        return arrays

    def chart(self) -> alt.LayerChart:
        """B of every scored layer by depth, with the range its null gives."""
        from weightatlas.banding.charts import depth_chart

        return depth_chart(self)

    def plates(self) -> Sequence[Plate]:
        """Findings, the table of layers, banding by depth, tissue slides, symmetries, types."""
        from weightatlas.banding.plates import survey_plates

        return survey_plates(self)


def survey(
    source: Checkpoint | torch.nn.Module | str,
    *,
    average: Average = "unit",
    with_slides: bool = True,
    feature_maps: Mapping[str, FeatureMap] | None = None,
    flips: int = FLIPS,
    seed: int = 0,
    jobs: int | None = None,
    backend: Backend = "threading",
    progress: Progress = silent,
) -> BandingSurvey:
    """Score the banding of every layer of a checkpoint and test all of them together.

    Every weight becomes one row: dense convolutions with square kernels are scored as by `score`, their slides as by
    `score_slides`; the rest says why it has no bands to measure. The sign patterns are shared by all layers, so the
    whole null is one matrix product; q values are Benjamini-Hochberg over the layers scored here.

    Args:
        source: an open checkpoint, a live model, or anything `open_checkpoint` takes.
        average: "unit" or "kernel", as in `score`.
        with_slides: also factor every unit into its slide, which takes most of the time.
        feature_maps: for fully connected layers that read a flattened map: layer name to (channels, h, w).
        flips: random sign patterns for each test.
        seed: of the patterns, of the slides and of the random layers beside them.
        jobs: layers worked on at once; None is one a core.
        backend: "threading", "loky", "dask" or "ray".
        progress: called once a layer.

    Raises:
        SourceError: the source cannot be opened, or `feature_maps` names a layer it does not have.
        ValueError: `average` or `backend` is none of those named.

    Example:
        >>> import torch
        >>> from weightatlas.banding import survey
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 8, 1))
        >>> [(row["layer"], row["direction"], row["skipped"]) for row in survey(model).rows()]
        [('0', 'none', None), ('1', None, 'a 1x1 kernel has no rows or columns')]
    """
    if average not in get_args(Average):
        message = f"average must be one of {', '.join(get_args(Average))}, not {average!r}"
        raise ValueError(message)
    checkpoint = source if isinstance(source, Checkpoint) else open_checkpoint(source)
    maps = dict(feature_maps or {})
    weights = [layer for layer in checkpoint.layers if is_weight(layer)]
    if unknown := maps.keys() - {layer.layer for layer in weights}:
        problem = f"it has no layer named {', '.join(sorted(unknown))}"
        raise SourceError(checkpoint.source, problem, "`weightatlas layers` lists the names it has")
    skipped = {
        layer.tensor: LayerBanding(layer.layer, layer.tensor, layer.shape, skipped=reason)
        for layer in weights
        if (reason := reason_to_skip(layer, maps.get(layer.layer)))
    }
    work = [layer for layer in weights if layer.tensor not in skipped]
    read: Callable[[str], torch.Tensor | npt.NDArray[Any]] = checkpoint.__getitem__
    if backend != "threading":  # another process cannot share what is mapped here: hand it the weights
        read = {layer.tensor: as_array(checkpoint[layer.tensor]) for layer in work}.__getitem__
    measured = parallel_map(
        partial(measure_layer, read=read, feature_maps=maps, average=average, with_slides=with_slides),
        work,
        jobs=jobs,
        backend=backend,
        progress=progress,
        label=lambda layer: layer.layer,
    )
    if with_slides:
        measured = _beside_random_slides(measured, seed=seed, jobs=jobs, backend=backend)
    tested = {banding.tensor: banding for banding in _test_together(measured, flips=flips, seed=seed)}
    unreadable = tuple(LayerBanding(item.name, item.name, (), skipped=item.reason) for item in checkpoint.skipped)
    return BandingSurvey(
        source=checkpoint.source,
        layers=tuple((skipped | tested)[layer.tensor] for layer in weights) + unreadable,
        average=average,
        seed=seed,
    )


def _beside_random_slides(
    measured: list[LayerBanding], *, seed: int, jobs: int | None, backend: Backend
) -> list[LayerBanding]:
    """Put beside every layer what share of random units of its shape would count as banded."""
    shapes = sorted({banding.kernel_shape for banding in measured if banding.slides is not None})
    shares = parallel_map(partial(random_banded_share, seed=seed), shapes, jobs=jobs, backend=backend)
    share_of = dict(zip(shapes, shares, strict=True))
    return [replace(banding, random_share=share_of.get(banding.kernel_shape, float("nan"))) for banding in measured]


def _test_together(measured: list[LayerBanding], *, flips: int, seed: int) -> list[LayerBanding]:
    """Test all scores and symmetries of a source with the same sign patterns, then correct over all of them."""
    scored = [index for index, banding in enumerate(measured) if banding.score is not None]
    if not scored:
        return measured
    samples = []
    for index in scored:
        for test in (measured[index].score, *measured[index].symmetries):
            samples += [test.unit_scores, test.input_scores] if test is not None else []
    p_values = sign_flip_p_values(samples, flips=flips, seed=seed).reshape(len(scored), -1, 2)
    q_scores = false_discovery_control(p_values[:, 0].max(axis=1))
    q_symmetries = false_discovery_control(p_values[:, 1:].max(axis=2).ravel()).reshape(len(scored), -1)
    answer = list(measured)
    for row, index in enumerate(scored):
        banding, pairs = measured[index], p_values[row].tolist()
        answer[index] = replace(
            banding,
            score=banding.score and replace(banding.score, p_units=pairs[0][0], p_inputs=pairs[0][1]),
            q_value=float(q_scores[row]),
            symmetries=tuple(
                replace(test, p_units=p_units, p_inputs=p_inputs)
                for test, (p_units, p_inputs) in zip(banding.symmetries, pairs[1:], strict=True)
            ),
            symmetry_q_values=tuple(q_symmetries[row].tolist()),
        )
    return answer
