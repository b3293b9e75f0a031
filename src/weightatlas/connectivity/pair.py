"""Two networks and what joins them: an alignment, the lines between them, their layers one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from scipy.stats import false_discovery_control

from weightatlas.connectivity.barrier import Barrier, barrier
from weightatlas.connectivity.curvature import PathCurvature, path_curvature
from weightatlas.connectivity.layerwise import LayerBarrier, layer_barriers
from weightatlas.connectivity.matching import Matching, match
from weightatlas.connectivity.prediction import predicted_barriers
from weightatlas.connectivity.rank_agreement import RankAgreement, rank_agreement
from weightatlas.errors import NotFiniteError
from weightatlas.evaluation.recalibration import has_batch_statistics
from weightatlas.wording import printable

if TYPE_CHECKING:
    import torch
    from torch import nn

    from weightatlas.anatomy.symmetry import Symmetries
    from weightatlas.connectivity.scoring.scored_lines import Recalibrate
    from weightatlas.evaluation import Data
    from weightatlas.progress import Progress

UNASKED: Final = "not asked for"
PARTS: Final = 4
"""Of a pair's measurement, as progress counts them."""
NO_DATA: Final = "no data was given to run the networks on"


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """The straight line between two networks.

    Attributes:
        aligned: whether the second one's units were first brought to those of the first.
        barrier: loss and error along it.
    """

    aligned: bool
    barrier: Barrier

    @property
    def recalibrated(self) -> bool:
        """Whether statistics were estimated anew at every point."""
        return self.barrier.recalibrated is not None


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two networks of one shape.

    Attributes:
        first: name of the one at alpha = 0.
        second: name of the one at alpha = 1.
        matching: what brings the second one's units to the first one's; None where nothing was aligned.
        lines: unaligned before aligned, as they are before recalibrated; none without data.
        layers: the barrier of each layer on its own, on the last of the lines.
        predicted: of each layer, from both ends' derivatives.
        agreement: of the order of both.
        curvature: along the last of the lines; None where it was not asked for.
        skipped: by what is missing, why.
    """

    first: str
    second: str
    matching: Matching | None = None
    lines: tuple[Line, ...] = ()
    layers: tuple[LayerBarrier, ...] = ()
    predicted: Mapping[str, float] = field(default_factory=dict)
    agreement: RankAgreement | None = None
    curvature: PathCurvature | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.first} to {self.second}"

    def line(self, *, aligned: bool, recalibrated: bool) -> Line | None:
        """The line of that kind, if there is one."""
        return next((one for one in self.lines if (one.aligned, one.recalibrated) == (aligned, recalibrated)), None)

    @property
    def layer_q_values(self) -> list[float]:
        """Benjamini-Hochberg over the layers' p values; NaN where a layer has none."""
        known = [one.p_value for one in self.layers if math.isfinite(one.p_value)]
        found = iter(false_discovery_control(known).tolist() if known else [])
        return [next(found) if math.isfinite(one.p_value) else math.nan for one in self.layers]

    @property
    def unjoined(self) -> bool:
        """Whether the second network could not be used."""
        return "pair" in self.skipped

    @property
    def best(self) -> Line | None:
        """The line that most was done for: aligned and recalibrated, where that was possible."""
        return self.lines[-1] if self.lines else None

    @property
    def plain(self) -> Line | None:
        """The line as the networks are: not aligned, statistics anew where the network has them."""
        unaligned = [one for one in self.lines if not one.aligned]
        return unaligned[-1] if unaligned else None


def unjoined(first: str, second: str, why: str) -> Pair:
    """A pair of which nothing is known: the second network could not be used."""
    return Pair(first, second, skipped=dict.fromkeys(("pair", "path", "layers"), why))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PairMeasurement:
    """What is measured of every pair, and with what.

    Attributes:
        model: a network of that shape; its own weights do not count.
        symmetries: what may change places; None aligns nothing.
        data: what the networks are run on; None measures no loss.
        recalibration_data: what statistics are estimated on; None is `data`.
        matching: options of `match`.
        line: options of `barrier`.
        layers: options of `layer_barriers`; None leaves layers out.
        curvature: whether to measure that too.
        seed: of every random choice.
    """

    model: nn.Module
    symmetries: Symmetries | None
    data: Data | None
    recalibration_data: Data | None
    matching: Mapping[str, Any]
    line: Mapping[str, Any]
    layers: Mapping[str, Any] | None
    curvature: bool
    seed: int

    def __call__(
        self,
        first: tuple[str, Mapping[str, torch.Tensor]],
        second: tuple[str, Mapping[str, torch.Tensor]],
        told: Progress,
    ) -> Pair:
        """Measure one pair.

        Args:
            first: name and state of the network at alpha = 0.
            second: of that at alpha = 1.
            told: called as parts are done.

        Raises:
            SourceError: their shapes differ, or the data do not fit them.
        """
        (name, a), (other, b) = first, second
        matching = None
        aligned: Mapping[str, torch.Tensor] = b
        if self.symmetries is not None and self.symmetries.groups:
            matching = match(self.model, a, b, self.symmetries, **self.matching, seed=self.seed)
            aligned = matching.align(b)
        told(1, PARTS, f"{other}: aligned")
        data = self.data
        if data is None:
            why = dict.fromkeys(("path", "layers"), NO_DATA)
            return Pair(name, other, matching, skipped=why)
        lines = self._lines(a, b, aligned if matching is not None else None, data)
        told(2, PARTS, f"{other}: lines")
        layers, predicted, agreement, skipped = self._layers(a, aligned, data)
        told(3, PARTS, f"{other}: layers")
        curvature = self._curvature(a, aligned, data) if self.curvature else None
        told(PARTS, PARTS, other)
        return Pair(name, other, matching, lines, layers, predicted, agreement, curvature, skipped)

    def _lines(
        self,
        a: Mapping[str, torch.Tensor],
        b: Mapping[str, torch.Tensor],
        aligned: Mapping[str, torch.Tensor] | None,
        data: Data,
    ) -> tuple[Line, ...]:
        options = {key: value for key, value in self.line.items() if key != "recalibrate"}
        return tuple(
            Line(
                moved,
                barrier(
                    self.model,
                    a,
                    state,
                    data,
                    recalibrate=how,
                    recalibration_data=self.recalibration_data if how else None,
                    seed=self.seed,
                    **options,
                ),
            )
            for moved, state in ((False, b), (True, aligned))
            if state is not None
            for how in dict.fromkeys((None, self._recalibrate))
        )

    def _layers(
        self, a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor], data: Data
    ) -> tuple[tuple[LayerBarrier, ...], dict[str, float], RankAgreement | None, dict[str, str]]:
        if self.layers is None:
            return (), {}, None, {"layers": UNASKED}
        layers = layer_barriers(
            self.model,
            a,
            b,
            data,
            recalibrate=self._recalibrate,
            recalibration_data=self.recalibration_data if self._recalibrate else None,
            seed=self.seed,
            **self.layers,
        )
        groups = {one.layer: one.parameters for one in layers}
        try:
            predicted = predicted_barriers(
                self.model, a, b, data, groups, statistics=self._statistics, examples=self._examples, seed=self.seed
            )
        except (NotFiniteError, NotImplementedError, RuntimeError) as error:  # an operator without second derivatives
            return layers, {}, None, {"predicted": printable(str(error), limit=200)}
        measured = {one.layer: one.midpoint for one in layers}
        return layers, predicted, rank_agreement(predicted, measured, seed=self.seed), {}

    def _curvature(self, a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor], data: Data) -> PathCurvature:
        return path_curvature(
            self.model, a, b, data, statistics=self._statistics, examples=self._examples, seed=self.seed
        )

    @property
    def _recalibrate(self) -> Literal["batch-norm", "repair"] | None:
        """What is estimated anew, beside the line as it is."""
        asked: Recalibrate = self.line.get("recalibrate", "auto")
        if asked == "auto":
            return "batch-norm" if has_batch_statistics(self.model) else None
        return asked

    @property
    def _statistics(self) -> Literal["running", "batch"]:
        """What derivatives take a norm's statistics for, so that they are of the line that was measured."""
        return "batch" if self._recalibrate == "batch-norm" else "running"

    @property
    def _examples(self) -> int | None:
        return None if self.layers is None else self.layers.get("examples")
