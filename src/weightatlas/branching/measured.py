"""Measured tuning: what units of any convolutional network answer to, asked with pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

from weightatlas.branching.responses.preferences import Label, Preferences, leads, preferences
from weightatlas.branching.responses.probing import PROBE, NotReachedError, Place, evaluating, place_of
from weightatlas.branching.responses.stimuli import arcs, colours, frequency_boundaries, gratings
from weightatlas.branching.responses.tuning_curves import TuningCurves, tuning_curves
from weightatlas.branching.responses.unit_answers import Answers, Middle, answers, shuffles_for
from weightatlas.progress import Progress, silent
from weightatlas.result import Result, Row, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import altair as alt

    from weightatlas.branching.responses.stimuli import Stimuli
    from weightatlas.plate import Plate

Array = np.ndarray
Normalization = tuple[tuple[float, ...], tuple[float, ...]]

SHUFFLED: Final = 400
"""At least so many units of shuffled weights stand behind a layer's null."""

CONTRAST: Final = 2.0
"""What full contrast is in the network's input, where no normalization is given: pixels from black to white are about
4 standard deviations of natural images."""

SMALLEST, LARGEST = 32, 224
"""The pictures shown are from 32 to 224 pixels wide, twice what the units see."""

_NAMES: Final = ("gratings", "coloured", "grey", "arcs", "corners", "boundaries", "textures")
_SILENT: Final = "it answers every picture alike"


@dataclass(frozen=True, slots=True, eq=False)
class LayerResponses:
    """What the units of one layer answer to; arrays (units,), NaN where a unit answers every picture alike.

    Attributes:
        layer: module path.
        labels: "colour", "black-and-white", "curve", "high-low frequency" or "other".
        scores: of the label, in standard deviations of shuffled units above their mean; NaN for "other".
        margins: the score less the highest of the other three labels.
        family_scores: of the four labels in the order of `preferences.LABELS`, (units, 4).
        leads: the preferences themselves, in the same order: the first two from -1 to 1, the others in standard
            deviations of the unit's own answers, (units, 4).
        p_values: chance that a unit with shuffled weights has as large a lead, (units, 4).
        tuning: preferred orientation, frequency, hue, curvature and high-low orientation, with the curves.
        extent: diameter of what the units see, pixels.
        size: of the pictures, pixels.
        shuffled: how many shuffled units stand behind the null.
        skipped: unit to the reason why it has no tuning.
    """

    layer: str
    labels: tuple[Label, ...]
    scores: Float64[Array, " units"]
    margins: Float64[Array, " units"]
    family_scores: Float64[Array, "units 4"]
    leads: Float64[Array, "units 4"]
    p_values: Float64[Array, "units 4"]
    tuning: TuningCurves
    extent: float
    size: int
    shuffled: int
    skipped: Mapping[int, str]


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredTuning(Result):
    """What the units of a network's layers answer to.

    Attributes:
        layers: module path to what its units answer, in the order asked for.
        skipped: module path to the reason why a layer could not be asked.
        source: what was measured, for the atlas.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "responses": (
            "layer",
            "unit",
            "label",
            "label_score",
            "margin",
            "orientation",
            "orientation_selectivity",
            "frequency",
            "hue",
            "hue_selectivity",
            "curve_orientation",
            "curvature",
            "high_low_orientation",
            "skipped",
        )
    }

    layers: Mapping[str, LayerResponses]
    skipped: Mapping[str, str]
    source: str = "model"

    def rows(self, table: str | None = None) -> list[Row]:
        """One row a unit; one for each layer that could not be asked."""
        columns = self.columns(table)
        rows: list[Row] = []
        for name, layer in self.layers.items():
            figures = [layer.scores, layer.margins, *(getattr(layer.tuning, column) for column in columns[5:-1])]
            rows.extend(
                dict(zip(columns, (name, unit, label, *map(plain, row), layer.skipped.get(unit)), strict=True))
                for unit, (label, *row) in enumerate(
                    zip(layer.labels, *(values.tolist() for values in figures), strict=True)
                )
            )
        rows.extend(dict.fromkeys(columns) | {"layer": name, "skipped": why} for name, why in self.skipped.items())
        return rows

    def chart(self) -> alt.Chart:
        """Units of each label, a bar a layer."""
        from weightatlas.branching.drawing.tuning_plates import labels_chart

        return labels_chart(self)

    def plates(self) -> Sequence[Plate]:
        """The same, as it stands in an atlas."""
        from weightatlas.branching.drawing.tuning_plates import labels_plates

        return labels_plates(self)


def measured_tuning(
    model: nn.Module,
    layers: Sequence[str],
    *,
    size: int | None = None,
    normalization: Normalization | None = None,
    contrast: float = CONTRAST,
    batch: int = 64,
    device: torch.device | str | None = None,
    seed: int = 0,
    source: str = "model",
    progress: Progress = silent,
) -> MeasuredTuning:
    r"""Ask the units of some layers what they answer to, with pictures made for the size of what they see.

    A unit's answer r to a picture is how much more the convolution gives than to a blank one, before any batch norm or
    rectifier, at its best place within a quarter of its receptive field from the middle. Four preferences are scored,
    each against controls of equal energy:

    | label | family | controls |
    |---|---|---|
    | colour | discs, edges and gratings in isoluminant colours | the same in grey |
    | black-and-white | these in grey | these in colour |
    | curve | thin arcs | corners and straight lines |
    | high-low frequency | a fine beside a coarse texture | the fine or the coarse one alone |

    Colour against grey is asked of energies, \((E_f - E_c) / (E_f + E_c)\) with E the mean of \(\max(r, 0)^2\); shapes
    of the best answer, \((\max_f r - \max_c r) / \text{sd}\, r\), the standard deviation over everything shown.

    **Null.** Units that read the same channels through the same weights in another order: every unit's numbers are
    shuffled within the unit, as often as gives 400 of a layer. p is (1 + hits) / (1 + shuffled) over these, and a score
    counts their standard deviations. A unit is labelled where a preference is positive and has p of 1.25 % at most (5 %
    over the four): with the shape of the higher score, else with colour or black-and-white, else "other". So of units
    with random weights one in twenty gets a label. Being asked against its own weights in another order, a unit of a
    network whose every unit prefers the same may count as "other".

    Nothing of the model is changed: it runs in evaluation mode, up to the layer asked, and every module's mode is put
    back.

    Args:
        model: reads (batch, 3 or 1, height, width); with one channel nothing is said of colour.
        layers: module paths of two-dimensional convolutions.
        size: of the pictures, pixels; None is twice what the units of a layer see, from 32 to 224.
        normalization: mean and standard deviation of each channel, where the model reads (pixel - mean) / sd of pixels
            from 0 to 1; mid grey is then .5. None: the model reads pictures around 0.
        contrast: what full contrast is in the input, without `normalization`.
        batch: pictures at a time.
        device: to run on; None is where the model is. The model is not moved.
        seed: of the textures, of the noise that the receptive field is measured with, and of the shuffles.
        source: what is measured, for the atlas.
        progress: called after each layer.

    Returns:
        For each layer its units' answers; a layer that is no convolution or that the model does not run is in `skipped`
        with the reason.

    Raises:
        ValueError: the model has no such module, its pictures have neither 1 nor 3 channels, or `size` is below 8.

    **Source:** the stimuli are those of Cammarata et al., *Curve Detectors* (2020) and Schubert et al., *High-Low
    Frequency Detectors* (2021), both Distill; scores, controls and null are ours.

    Example:
        >>> from torch import nn
        >>> bars = nn.Conv2d(3, 1, 7, bias=False)
        >>> x = torch.arange(7.0) - 3
        >>> _ = bars.weight.data.copy_((torch.cos(1.5 * x) * torch.exp(-(x**2) / 6)).expand(1, 3, 7, 7))
        >>> found = measured_tuning(nn.Sequential(bars), ["0"]).layers["0"]
        >>> found.labels, found.tuning.orientation.round().tolist()
        (('black-and-white',), [90.0])
    """
    modules = dict(model.named_modules())
    for name in layers:
        if name not in modules:
            message = f"the model has no module {name!r}; list(dict(model.named_modules())) names those it has"
            raise ValueError(message)
    if size is not None and size < 8:
        message = f"pictures of {size} pixels show nothing; give 8 or more"
        raise ValueError(message)
    eye = _Eye.of(model, normalization=normalization, contrast=contrast, device=device)
    found: dict[str, LayerResponses] = {}
    skipped: dict[str, str] = {}
    with evaluating(model), torch.no_grad():
        for done, name in enumerate(layers, start=1):
            try:
                asker = _Asker(model, name, _convolution(modules[name]), eye, batch, seed)
                found[name] = asker.ask(size)
            except NotReachedError as error:
                skipped[name] = str(error)
            progress(done, len(layers), name)
    return MeasuredTuning(found, skipped, source)


@dataclass(frozen=True, slots=True)
class _Eye:
    """What the network makes of a picture: `offset + gain * picture`, in its own type and place."""

    channels: int
    offset: tuple[float, ...]
    gain: tuple[float, ...]
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(
        cls,
        model: nn.Module,
        *,
        normalization: Normalization | None,
        contrast: float,
        device: torch.device | str | None,
    ) -> _Eye:
        first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
        channels = 3 if first is None else first.in_channels
        if channels not in (1, 3):
            message = f"the model reads {channels} channels; stimuli are made for 1 or 3"
            raise ValueError(message)
        mean, deviation = normalization or ((0.0,) * channels, (1.0,) * channels)
        if len(mean) != channels or len(deviation) != channels:
            message = f"normalization has {len(mean)} means and {len(deviation)} deviations for {channels} channels"
            raise ValueError(message)
        grey, full = (0.5, 0.5) if normalization else (0.0, contrast)
        parameter = next(model.parameters(), torch.zeros(0))
        return cls(
            channels,
            tuple((grey - one) / spread for one, spread in zip(mean, deviation, strict=True)),
            tuple(full / spread for spread in deviation),
            parameter.device if device is None else torch.device(device),
            parameter.dtype,
        )

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        seen = pictures.mean(dim=1, keepdim=True) if self.channels == 1 else pictures
        offset, gain = (torch.tensor(one, device=seen.device)[:, None, None] for one in (self.offset, self.gain))
        return (offset + gain * seen).to(self.device, self.dtype)

    def blank(self, size: int) -> torch.Tensor:
        return self(torch.zeros(1, 3, size, size, device=self.device))


@dataclass(frozen=True, slots=True)
class _Asker:
    """Shows one layer all stimuli."""

    model: nn.Module
    name: str
    module: nn.Conv2d
    eye: _Eye
    batch: int
    seed: int

    def ask(self, size: int | None) -> LayerResponses:
        side, place = self._place(size)
        units = self.module.out_channels
        middle = Middle(
            self.model,
            self.module,
            self.eye.blank(side),
            place,
            shuffles=shuffles_for(units, SHUFFLED),
            seed=self.seed,
        )
        shown: list[Stimuli] = []
        given: list[Answers] = []
        for make in self._families(side, place):
            for stimuli in make():
                given.append(answers(middle, stimuli, feed=self.eye, batch=self.batch))
                shown.append(type(stimuli)(stimuli.images[:0], stimuli.parameters))
        found = _preferences(given, colour=self.eye.channels == 3)
        silent_units = np.flatnonzero(np.isnan(found.leads).all(axis=1))
        by_name = {name: (one.parameters, answer.own) for name, one, answer in zip(_NAMES, shown, given, strict=True)}
        return LayerResponses(
            layer=self.name,
            labels=found.labels,
            scores=found.scores,
            margins=found.margins,
            family_scores=found.family_scores,
            leads=found.leads,
            p_values=found.p_values,
            tuning=tuning_curves(by_name, silent_units, colour=self.eye.channels == 3),
            extent=place.extent,
            size=side,
            shuffled=len(given[0].shuffled),
            skipped=dict.fromkeys(silent_units.tolist(), _SILENT),
        )

    def _place(self, size: int | None) -> tuple[int, Place]:
        """Size of the pictures, and what the units see; on a picture of half the size at most."""
        probe = place_of(self.model, self.module, self.eye.blank(size or PROBE), seed=self.seed)
        side = size or min(max(8 * math.ceil(probe.extent / 4), SMALLEST), LARGEST)
        return side, Place(min(probe.extent, side / 2), probe.stride)

    def _families(self, side: int, place: Place) -> tuple[Callable[[], Sequence[Stimuli]], ...]:
        """Makers of the stimuli, so that one family's pictures are gone before the next one's are made."""
        where, extent = self.eye.device, place.extent
        return (
            lambda: (gratings(side, extent=extent, device=where),),
            lambda: colours(side, extent=extent, device=where),
            lambda: arcs(side, extent=extent, device=where),
            lambda: frequency_boundaries(side, extent=extent, seed=self.seed, device=where),
        )


def _preferences(given: Sequence[Answers], *, colour: bool) -> Preferences:
    """Leads of the layer's units and of shuffled ones, and the labels that follow."""
    own, shuffled = (
        leads({name: getattr(one, kind) for name, one in zip(_NAMES, given, strict=True)}, colour=colour)
        for kind in ("own", "shuffled")
    )
    return preferences(own, shuffled)


def _convolution(module: nn.Module) -> nn.Conv2d:
    """The module, if its units can be asked.

    Raises:
        NotReachedError: it is no two-dimensional convolution with a weight of its own.
    """
    if not isinstance(module, nn.Conv2d):
        message = f"it is a {type(module).__name__}, no two-dimensional convolution"
        raise NotReachedError(message)
    if "weight" not in dict(module.named_parameters(recurse=False)):
        message = "its weight is computed from other parameters: remove the parametrization first"
        raise NotReachedError(message)
    return module
