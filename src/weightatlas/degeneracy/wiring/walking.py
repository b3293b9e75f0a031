"""From the calls of one run to where the units of each layer end: rectifiers, the layers that read them, attention."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch.nn import functional

from weightatlas.degeneracy.wiring.products import Product, product_of
from weightatlas.degeneracy.wiring.rectifiers import LINEAR_ON_EACH_SIDE
from weightatlas.degeneracy.wiring.rules import passed, refusal
from weightatlas.degeneracy.wiring.units import Units, along_axis, placed, whole_units
from weightatlas.evaluation.elementwise import nonlinearity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.degeneracy.wiring.calls import Call, Run

Stage = Literal["before", "after"]
"""Of a nonlinearity."""

Key = tuple[str, Stage]
"""A layer by its weight, and whether its units have gone through a nonlinearity."""

_SHARED: Final = "its weights are used elsewhere too"


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm in evaluation mode, y = weight (x - mean) / sqrt(variance + epsilon) + bias.

    Attributes:
        layer: its module.
        weight: name of the scales; None is ones.
        bias: name of the shifts; None is zeros.
        mean: name of the running mean.
        variance: name of the running variance.
        epsilon: what keeps it from 0.
    """

    layer: str
    weight: str | None
    bias: str | None
    mean: str
    variance: str
    epsilon: float


@dataclass(frozen=True, slots=True, eq=False)
class Rectified:
    """Units that go into a nonlinearity.

    Attributes:
        function: its name.
        number: its place among all nonlinearities of the run.
        axis: along which the units lie; None where they are not whole.
        slopes: int64 (units,), equal for units that it treats alike.
    """

    function: str
    number: int
    axis: int | None
    slopes: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Units that another layer reads.

    Attributes:
        product: how.
        units: int64 (columns,), the unit that each column of its weight reads; -1 is none of this layer's.
        places: int64 (columns,).
        mixes: whether mixing units commutes with what was done since the nonlinearity.
        layer: the module of its weight.
    """

    product: Product
    units: torch.Tensor
    places: torch.Tensor
    mixes: bool
    layer: str


@dataclass(frozen=True, slots=True, eq=False)
class Contraction:
    """Units of two layers that are multiplied with each other and summed: queries and keys.

    Attributes:
        number: of the call.
        other: weight of the other layer.
        is_first: whether these are the queries.
        units: int64 (pairs,), of this layer.
        others: int64 (pairs,), of the other one.
    """

    number: int
    other: str
    is_first: bool
    units: torch.Tensor
    others: torch.Tensor


@dataclass(slots=True, eq=False)
class Layer:
    """A layer of a run, by its weight.

    Attributes:
        weight: the name of its weight.
        bias: of its bias, if it has one.
        path: of the module that has the weight.
        axis: of the weight, along which its units lie.
        groups: of a convolution.
        units: how many.
        norms: the norms behind it, one for each call.
        rectified: where its units go into a nonlinearity.
        readings: who reads them, by stage.
        contractions: the products of queries and keys that they are part of.
        lost: why they could not be followed, by stage.
        calls: how often it was called.
    """

    weight: str
    bias: str | None
    path: str
    axis: int
    groups: int
    units: int
    norms: list[Norm] = field(default_factory=list)
    rectified: list[Rectified] = field(default_factory=list)
    readings: dict[Stage, list[Reading]] = field(default_factory=lambda: {"before": [], "after": []})
    contractions: list[Contraction] = field(default_factory=list)
    lost: dict[Stage, list[str]] = field(default_factory=lambda: {"before": [], "after": []})
    calls: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Nonlinearity:
    """A nonlinearity of the run: its function, where it runs, and the layers whose units it takes whole."""

    function: str
    path: str
    layers: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Walk:
    """What a walk through a run's calls finds.

    Attributes:
        run: the calls.
        layers: by weight, in the order of the run.
        nonlinearities: in the order of the run.
        attentions: the calls of packed attention.
        uses: how often each parameter is an argument.
    """

    run: Run
    layers: dict[str, Layer] = field(default_factory=dict)
    nonlinearities: list[Nonlinearity] = field(default_factory=list)
    attentions: list[Call] = field(default_factory=list)
    uses: Counter[str] = field(default_factory=Counter)
    _values: dict[int, dict[Key, Units]] = field(default_factory=dict)

    def follow(self) -> Walk:
        """Go through the calls in order."""
        last = {value: call.number for call in self.run.calls for _, value in call.taken}
        for call in self.run.calls:
            self.uses.update({self.run.names[value] for _, value in call.taken if value in self.run.names})
            self._called(call)
            for _, value in call.taken:
                if last[value] == call.number and value not in self.run.outputs:
                    self._values.pop(value, None)
        for value in self.run.outputs:
            for weight, stage in self._values.get(value, {}):
                self.layers[weight].lost[stage].append("what it gives is an output of the network")
        return self

    def _called(self, call: Call) -> None:
        if call.name == "multi_head_attention_forward":
            self.attentions.append(call)
        found = nonlinearity(call.name, call.arguments, call.named)
        if found is not None:
            return self._bent(call, found)
        product = product_of(call, self.run)
        if call.name == "scaled_dot_product_attention":
            self._attended(call)
        elif product is None and call.name in {"matmul", "bmm"}:
            self._contracted(call, call.argument(0, "input"), call.argument(1, "other", call.named.get("mat2")))
        else:
            for tensor, value in call.taken:
                for key, units in self._values.get(value, {}).items():
                    self._given(call, product, tensor, key, units)
        if product is not None and product.is_plain:
            self._made(call, product)
        return None

    def _given(self, call: Call, product: Product | None, tensor: torch.Tensor, key: Key, units: Units) -> None:
        """One layer's units in one argument of a call."""
        layer, stage = self.layers[key[0]], key[1]
        if product is not None:
            reason = _read(layer, stage, call, product, tensor, units)
            if reason is not None:
                layer.lost[stage].append(reason)
            return
        if "batch_norm" in call.name and stage == "before":
            self._normed(call, layer, units)
            return
        results = passed(call, tensor, units)
        if isinstance(results, str):
            layer.lost[stage].append(results)
            return
        for value, one in results:
            self._keep(call, value, key, one)

    def _keep(self, call: Call, value: int, key: Key, units: Units) -> None:
        known = self._values.setdefault(value, {})
        if key in known:  # the layer meets itself
            self.layers[key[0]].lost[key[1]].append(refusal(call))
        known[key] = units

    def _made(self, call: Call, product: Product) -> None:
        """A layer gives its units."""
        output, value = call.made[0]
        weight = str(product.weight)
        layer = self.layers.get(weight)
        count = output.shape[product.output_axis]
        if layer is None:
            path = weight.rpartition(".")[0]
            layer = Layer(weight, product.bias, path, product.axis, product.groups, count)
            self.layers[weight] = layer
        elif (layer.bias, layer.axis, layer.groups) != (product.bias, product.axis, product.groups):
            layer.lost["before"].append(_SHARED)
        layer.calls += 1
        self._values.setdefault(value, {})[weight, "before"] = whole_units(output.shape, product.output_axis)

    def _normed(self, call: Call, layer: Layer, units: Units) -> None:
        """A batch norm behind a layer."""
        running_first = call.function is functional.batch_norm
        names = ("running_mean", "running_var", "weight", "bias") if running_first else _AS_OPERATOR
        tensors = {name: call.argument(place, name) for place, name in enumerate(names, start=1)}
        owned = {name: None if one is None else self.run.name_of(call, one) for name, one in tensors.items()}
        computed = any(tensors[name] is not None and owned[name] is None for name in names)
        training = call.argument(5, "training", default=False)
        mean, variance = owned["running_mean"], owned["running_var"]
        axis = units.axis
        if training or mean is None or variance is None or computed:
            layer.lost["before"].append("a batch norm that takes its statistics from the batch takes what it gives")
        elif axis != 1 or not units.mixes or layer.units != call.made[0][0].shape[1]:
            layer.lost["before"].append(refusal(call))
        else:
            epsilon = float(call.argument(7, "eps", 1e-5))
            path = mean.rpartition(".")[0]
            layer.norms.append(Norm(path, owned["weight"], owned["bias"], mean, variance, epsilon))
            self._keep(call, call.made[0][1], (layer.weight, "before"), units)

    def _bent(self, call: Call, function: str) -> None:
        """A nonlinearity."""
        number, output = len(self.nonlinearities), call.made[0]
        taken = [
            (key, units)
            for tensor, value in call.taken[:1]
            for key, units in self._values.get(value, {}).items()
        ]
        whole = []
        for (weight, stage), units in taken:
            layer = self.layers[weight]
            if stage == "after":
                layer.lost[stage].append(f"another nonlinearity ({function}) takes what the first one gives")
                continue
            axis = units.axis if layer.units == len(units.unit.unique()) else None
            slopes = _slopes(call, function, layer.units)
            layer.rectified.append(Rectified(function, number, axis, slopes))
            whole.append(weight)
            if axis is not None and function in LINEAR_ON_EACH_SIDE:
                self._values.setdefault(output[1], {})[weight, "after"] = whole_units(output[0].shape, axis)
        self.nonlinearities.append(Nonlinearity(function, call.path, tuple(whole)))

    def _attended(self, call: Call) -> None:
        """Torch's attention: queries and keys meet, values are averaged over places."""
        queries, keys, values = (call.argument(place, name) for place, name in enumerate(("query", "key", "value")))
        self._meet(call, queries, keys.transpose(-2, -1), keys)
        self._average(call, values, first=False)

    def _contracted(self, call: Call, first: Any, second: Any) -> None:  # noqa: ANN401 - a tensor of the network's
        """A product of two values: of queries and keys, or an average over places."""
        kept = [bool(self._states(call, one)) for one in (first, second)]
        if all(kept):
            self._meet(call, first, second, second)
        elif kept[1]:
            self._average(call, second, first=False)
        elif kept[0]:
            self._average(call, first, first=True)

    def _states(self, call: Call, tensor: torch.Tensor) -> dict[Key, Units]:
        value = next((number for one, number in call.taken if one is tensor), None)
        return self._values.get(value, {}) if value is not None else {}

    def _meet(self, call: Call, first: torch.Tensor, second: torch.Tensor, given: torch.Tensor) -> None:
        """Units of one factor, along its last axis, are summed with those of another, along the last but one."""
        left, right = self._states(call, first), self._states(call, given)
        if len(left) == len(right) == 1:
            (one, units), (other, others) = *left.items(), *right.items()
            turned = others if given is second else others.moved(lambda own: own.transpose(-2, -1))
            pairs = _pairs(units, turned)
            if pairs is not None and one[1] == other[1] == "before":
                own, its = pairs
                self.layers[one[0]].contractions.append(Contraction(call.number, other[0], True, own, its))
                self.layers[other[0]].contractions.append(Contraction(call.number, one[0], False, its, own))
                return
        for weight, stage in (*left, *right):
            self.layers[weight].lost[stage].append(refusal(call))

    def _average(self, call: Call, tensor: torch.Tensor, *, first: bool) -> None:
        """Sums over an axis of places, with factors that do not depend on the units, or on other units only."""
        output, value = call.made[0]
        summed, kept = (-1, -2) if first else (-2, -1)
        for key, units in list(self._states(call, tensor).items()):
            line = units.unit.narrow(summed, 0, 1) if tensor.ndim > 1 else units.unit
            if tensor.ndim < 2 or bool((units.unit != line).any()):
                self.layers[key[0]].lost[key[1]].append(refusal(call))
                continue
            shape = list(line.shape)
            shape[summed] = output.shape[summed]
            self._keep(call, value, key, placed(line.expand(shape), output.shape, (kept % output.ndim,)))


_AS_OPERATOR: Final = ("weight", "bias", "running_mean", "running_var")


def _read(
    layer: Layer, stage: Stage, call: Call, product: Product, tensor: torch.Tensor, units: Units
) -> str | None:
    """Note that a layer's units are read by another, or say why they can't be."""
    if tensor is not product.inputs:
        return "what it gives is used as the weights of another layer"
    if not product.is_plain:
        what = "which are computed as it runs" if product.weight is None else "in groups"
        return f"{product.weight or call.path} takes what it gives with weights {what}"
    columns = units.columns(product.input_axis)
    if columns is None:
        return refusal(call)
    weight = str(product.weight)
    reading = Reading(product, columns[0].long(), columns[1], units.mixes, weight.rpartition(".")[0])
    layer.readings[stage].append(reading)
    return None


def _pairs(units: Units, others: Units) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Which units are multiplied with which, one row for each axis of blocks; None where they differ among places.

    Units (..., places, d) of the one and (..., d, places) of the other are each summed over d.
    """
    if bool((units.unit != units.unit.narrow(-2, 0, 1)).any()):
        return None
    if bool((others.unit != others.unit.narrow(-1, 0, 1)).any()):
        return None
    one, other = units.unit.select(-2, 0), others.unit.select(-1, 0)
    one, other = torch.broadcast_tensors(one, other)
    width = one.shape[-1]
    both = torch.stack([one, other], dim=-2).reshape(-1, 2, width).unique(dim=0).long()
    return both[:, 0], both[:, 1]


def _slopes(call: Call, function: str, units: int) -> torch.Tensor:
    """Which units a nonlinearity treats alike: all, but for a PReLU's by their slopes."""
    weight: Any = call.argument(1, "weight") if function == "prelu" else None
    if not isinstance(weight, torch.Tensor) or weight.numel() != units:
        return torch.zeros(units, dtype=torch.int64)
    return weight.detach().flatten().unique(return_inverse=True)[1]


def walked(run: Run) -> Walk:
    """Follow all layers of a run to where their units end."""
    return Walk(run).follow()


def uses_of(walk: Walk, names: Mapping[str, int]) -> str | None:
    """The first of some parameters that is used more often than it should be."""
    return next((name for name, count in names.items() if walk.uses[name] != count), None)


_ = along_axis
