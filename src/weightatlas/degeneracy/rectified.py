"""Which layers feed a rectifier, and which layers alone take its outputs: whose units may be scaled and mixed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.degeneracy.wiring.calls import followed_run
from weightatlas.degeneracy.wiring.classes import Classes
from weightatlas.degeneracy.wiring.consumers import consumers_of
from weightatlas.degeneracy.wiring.rectifiers import LINEAR_ON_EACH_SIDE
from weightatlas.degeneracy.wiring.trial import disproved
from weightatlas.degeneracy.wiring.walking import uses_of, walked

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from weightatlas.anatomy.graph.exporting import Example
    from weightatlas.degeneracy.wiring.consumers import Consumer
    from weightatlas.degeneracy.wiring.endings import Layer, Norm, Reading
    from weightatlas.degeneracy.wiring.walking import Walk

    Integers = npt.NDArray[np.int64]


_DISPROVED: Final = "scaling its units changes what the network computes: something that was not seen uses them"


@dataclass(frozen=True, slots=True, eq=False)
class RectifiedLayer:
    """A layer with a nonlinearity behind it.

    Attributes:
        layer: its module; for a nonlinearity behind a sum or what else is no layer, the module that it runs in.
        weight: name of its weight; "" where no layer makes the nonlinearity's inputs.
        bias: name of its bias, if it has one.
        norm: the batch norm between, if there is one.
        consumers: the layers that alone take what the nonlinearity gives.
        function: the nonlinearity.
        units: how many.
        axis: of the weight, along which the units lie.
        groups: of a convolution.
        numbers: places of the nonlinearity among all of a run; several where the layer is called several times.
        unit_axis: along which the units lie in what the nonlinearity is given.
        classes: int64 (units,): units of one class may be mixed where they fire together; any may be scaled.
        note: why there are several classes, or None.
        skipped: why nothing is claimed of this layer, or None.
    """

    layer: str
    weight: str
    bias: str | None
    norm: Norm | None
    consumers: tuple[Consumer, ...]
    function: str
    units: int
    axis: int
    groups: int
    numbers: tuple[int, ...]
    unit_axis: int
    classes: Integers
    note: str | None = None
    skipped: str | None = None


def rectified_layers(
    model: nn.Module, example_inputs: Example, *, verify: bool = True, seed: int = 0
) -> tuple[RectifiedLayer, ...]:
    r"""Find the layers whose units may be scaled, and mixed where they fire together.

    For a rectifier \(\rho\) (ReLU, leaky ReLU) and a positive diagonal matrix R, \(\rho(R y) = R \rho(y)\): with
    \(W \to R W\), \(b \to R b\) and \(W' \to W' R^{-1}\) in all that reads \(\rho(W x + b)\), a network computes the
    same. Where units have the same sign on the same data, R may be any matrix of theirs near the identity.

    The network runs once on the example, in evaluation mode, and each function of torch's that it calls is followed.
    Between layer and rectifier a batch norm is let through, being an affine map, and whatever keeps or moves
    numbers; between rectifier and readers dropout, average pooling, padding, means over places, flattening, views,
    slices, concatenation, factors that are plain numbers, and averages by attention. Max pooling lets scaling through,
    and no mixing. Sums, other norms, products of units and outputs of the network end it, with a reason, and so do
    weights that are used elsewhere, or computed from others as the network runs.

    Then it is tried: all units that were found are scaled at once, by random factors from 1/2 to 2 on a copy of the
    weights in float64 (or in their own precision, where the network does not run in that). A layer whose scaling
    changes the outputs by more than 1e-8 of their size is skipped with that as the reason: something that was not seen
    uses its outputs.

    Args:
        model: any module; its mode, weights and random generators stay.
        example_inputs: what to call it with: a tensor of two examples best, arguments, or arguments by name.
        verify: try the scalings.
        seed: of the factors, and of noise that is added to the example for that.

    Returns:
        One for each nonlinearity that layers feed, in the order of the run; a layer that is called several times once.
        Other nonlinearities than rectifiers, and rectifiers behind something else than a layer, are `skipped`.

    Raises:
        SourceError: the model is scripted, or does not run on these inputs.

    **Source:** Bushnaq and others, *Using Degeneracy in the Loss Landscape for Mechanistic Interpretability* (2024),
    for blocks of ReLUs that fire together. What lies between, groups, norms and pooling, is ours.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
        >>> layer, = rectified_layers(model, torch.zeros(2, 3, 4, 4))
        >>> layer.layer, layer.norm.layer, [(one.layer, one.spread) for one in layer.consumers]
        ('0', '1', [('4', 4)])
    """
    walk = walked(followed_run(model, example_inputs))
    found: dict[str, RectifiedLayer] = {}
    for number, nonlinearity in enumerate(walk.nonlinearities):
        for weight in nonlinearity.layers:
            if weight not in found:
                found[weight] = _layer(walk, walk.layers[weight])
        if not nonlinearity.layers and nonlinearity.function in LINEAR_ON_EACH_SIDE:
            reason = f"its inputs come from {nonlinearity.behind}, not from the units of one layer"
            found[f"{number} "] = _skipped(nonlinearity.path, nonlinearity.function, (number,), reason)
    layers = tuple(found.values())
    wrong = disproved(model, example_inputs, layers, seed=seed) if verify else frozenset()
    return tuple(replace(one, skipped=_DISPROVED) if one.weight in wrong else one for one in layers)


def _skipped(path: str, function: str, numbers: tuple[int, ...], reason: str) -> RectifiedLayer:
    none = np.zeros(0, dtype=np.int64)
    return RectifiedLayer(path, "", None, None, (), function, 0, 0, 1, numbers, 1, none, skipped=reason)


def _layer(walk: Walk, layer: Layer) -> RectifiedLayer:
    classes = _classes(layer)
    first = layer.rectified[0]
    return RectifiedLayer(
        layer=layer.path,
        weight=layer.weight,
        bias=layer.bias,
        norm=layer.norms[0] if layer.norms else None,
        consumers=consumers_of(layer.readings["after"]),
        function=first.function,
        units=layer.units,
        axis=layer.axis,
        groups=layer.groups,
        numbers=tuple(one.number for one in layer.rectified),
        unit_axis=first.axis if first.axis is not None else 1,
        classes=classes.labels(),
        note=classes.note,
        skipped=_reason(walk, layer),
    )


def _reason(walk: Walk, layer: Layer) -> str | None:
    """Why nothing can be claimed of a layer; None where it can."""
    functions = {one.function for one in layer.rectified}
    other = next(iter(sorted(functions - LINEAR_ON_EACH_SIDE)), None)
    if other is not None:
        return f"its nonlinearity is a {other}, which is not linear where a unit fires"
    for stage in ("before", "after"):
        if layer.lost[stage]:
            return layer.lost[stage][0]
    if layer.readings["before"] or layer.contractions:
        return "another layer takes what it gives before the nonlinearity"
    return _uneven(layer) or _used_elsewhere(walk, layer)


def _uneven(layer: Layer) -> str | None:
    """Why a layer is not the same thing in each of its calls, or goes into the nonlinearity in parts."""
    if any(one.axis is None for one in layer.rectified) or len({one.axis for one in layer.rectified}) > 1:
        return "its units do not go into the nonlinearity as a whole"
    if len(layer.rectified) != layer.calls or len({one.function for one in layer.rectified}) > 1:
        return "it is called several times, with different nonlinearities behind it"
    if len(set(layer.norms)) > 1 or len(layer.norms) not in {0, layer.calls}:
        return "several norms are behind it, one after the other or one a call"
    return None


def _used_elsewhere(walk: Walk, layer: Layer) -> str | None:
    """Which of the parameters that would change are used by something else too."""
    wanted = {layer.weight: layer.calls}
    if layer.bias is not None:
        wanted[layer.bias] = layer.calls
    for norm in set(layer.norms):
        wanted |= {name: layer.calls for name in (norm.weight, norm.bias) if name is not None}
    readings: dict[str, list[Reading]] = {}
    for one in layer.readings["after"]:
        readings.setdefault(str(one.product.weight), []).append(one)
    for weight, several in readings.items():
        first = several[0]
        if any(not (one.units.equal(first.units) and one.places.equal(first.places)) for one in several):
            return f"{weight} reads it in several ways"
        if weight in wanted:
            return "it reads what it gives itself"
        wanted[weight] = len(several)
    name = uses_of(walk, wanted)
    return None if name is None else f"{name} is used elsewhere too"


def _classes(layer: Layer) -> Classes:
    """Which units may be mixed."""
    classes = Classes(layer.units)
    readings = layer.readings["after"]
    classes.split_by_groups(layer)
    for one in layer.rectified:
        classes.split(one.slopes.tolist(), "its units have slopes of their own below 0")
    if not all([one.mixes for one in layer.rectified] + [one.mixes for one in readings]):
        classes.split(range(layer.units), "max pooling commutes with scaling units, not with mixing them")
    classes.split_by_readings(readings)
    return classes
