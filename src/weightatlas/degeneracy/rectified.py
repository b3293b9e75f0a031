"""Which layers feed a rectifier, and which layers alone take its outputs: whose units may be scaled and mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weightatlas.degeneracy.wiring.calls import followed_run
from weightatlas.degeneracy.wiring.rectifiers import LINEAR_ON_EACH_SIDE
from weightatlas.degeneracy.wiring.walking import Layer, Norm, Reading, Walk, uses_of, walked

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from weightatlas.anatomy.graph.exporting import Example

    Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Consumer:
    """A layer that reads rectified units.

    Attributes:
        layer: its module.
        weight: the name of its weight, (outputs, inputs, ...) where `axis` is 1.
        units: int64 (inputs,), the unit that each of its inputs is; -1 is none of the rectified layer's. A unit owns
            several where a map is flattened.
        places: int64 (inputs,): inputs of different units at the same place belong together.
        axis: of the weight, along which its inputs lie: 1, or 0 where the weight is multiplied from the right.
        groups: of a convolution: the weight holds the inputs of one group.
    """

    layer: str
    weight: str
    units: Integers
    places: Integers
    axis: int = 1
    groups: int = 1

    @property
    def spread(self) -> int:
        """How many of the inputs a unit owns, the most of any."""
        own = self.units[self.units >= 0]
        return int(np.bincount(own).max()) if len(own) else 0


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


def rectified_layers(model: nn.Module, example_inputs: Example) -> tuple[RectifiedLayer, ...]:
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

    Args:
        model: any module; its mode, weights and random generators stay.
        example_inputs: what to call it with: a tensor of two examples best, arguments, or arguments by name.

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
            where = nonlinearity.path
            skipped = "no layer's units go into it alone"
            found[f"{number} "] = _skipped(where, nonlinearity.function, (number,), skipped)
    return tuple(found.values())


def _skipped(path: str, function: str, numbers: tuple[int, ...], reason: str) -> RectifiedLayer:
    none = np.zeros(0, dtype=np.int64)
    return RectifiedLayer(path, "", None, None, (), function, 0, 0, 1, numbers, 1, none, skipped=reason)


def _layer(walk: Walk, layer: Layer) -> RectifiedLayer:
    consumers = _consumers(layer.readings["after"])
    classes, note = _classes(layer, layer.readings["after"])
    first = layer.rectified[0]
    return RectifiedLayer(
        layer=layer.path,
        weight=layer.weight,
        bias=layer.bias,
        norm=layer.norms[0] if layer.norms else None,
        consumers=consumers,
        function=first.function,
        units=layer.units,
        axis=layer.axis,
        groups=layer.groups,
        numbers=tuple(one.number for one in layer.rectified),
        unit_axis=first.axis if first.axis is not None else 1,
        classes=classes,
        note=note,
        skipped=_reason(walk, layer),
    )


def _consumers(readings: list[Reading]) -> tuple[Consumer, ...]:
    """Each reader once, however often it is called."""
    found: dict[str, Consumer] = {}
    for one in readings:
        product = one.product
        weight = str(product.weight)
        units, places = one.units.numpy().astype(np.int64), one.places.numpy().astype(np.int64)
        found.setdefault(weight, Consumer(one.layer, weight, units, places, 1 - product.axis, product.groups))
    return tuple(found.values())


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
    if any(one.axis is None for one in layer.rectified) or len({one.axis for one in layer.rectified}) > 1:
        return "its units do not go into the nonlinearity as a whole"
    if len(layer.rectified) != layer.calls or len(functions) > 1:
        return "it is called several times, with different nonlinearities behind it"
    if len(set(layer.norms)) > 1 or len(layer.norms) not in {0, layer.calls}:
        return "several norms are behind it, one after the other or one a call"
    return _used_elsewhere(walk, layer)


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


def _classes(layer: Layer, readings: list[Reading]) -> tuple[Integers, str | None]:
    """Which units may be mixed: those in the same groups that are read at the same places, and why there are several."""
    units = np.arange(layer.units)
    keys: list[tuple[object, ...]] = [() for _ in units]
    notes: list[str] = []

    def split(labels: list[object], sentence: str) -> None:
        if len(set(labels)) > 1:
            notes.append(sentence)
        for unit, label in enumerate(labels):
            keys[unit] += (label,)

    per_group = max(1, layer.units // layer.groups)
    split([unit // per_group for unit in range(layer.units)], "its units lie in groups, which read different inputs")
    for one in layer.rectified:
        split(one.slopes.tolist(), "its units have slopes of their own below 0")
    for reading in readings:
        if not reading.mixes:
            split(list(range(layer.units)), "max pooling behind it commutes with scaling units, not with mixing them")
        owner, places = reading.units.numpy(), reading.places.numpy()
        size = max(1, len(owner) // reading.product.groups)
        signature: list[list[tuple[int, int]]] = [[] for _ in units]
        for column in np.flatnonzero(owner >= 0):
            signature[owner[column]].append((int(column) // size, int(places[column])))
        split([tuple(sorted(own)) for own in signature], f"{reading.layer} reads its units in groups, or not all alike")
    order = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return np.array([order[key] for key in keys], dtype=np.int64), "; ".join(dict.fromkeys(notes)) or None
