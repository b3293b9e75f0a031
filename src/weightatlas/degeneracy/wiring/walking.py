"""From the calls of one run to where the units of each layer end: rectifiers, the layers that read them, attention."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.nn import functional

from weightatlas.degeneracy.wiring.endings import Contraction, Layer, Norm, Reading, Rectified
from weightatlas.degeneracy.wiring.masks import attended, attends_somewhere
from weightatlas.degeneracy.wiring.products import Product, product_of
from weightatlas.degeneracy.wiring.rectifiers import LINEAR_ON_EACH_SIDE
from weightatlas.degeneracy.wiring.rules import MOVING, SAME, passed, refusal, wording
from weightatlas.degeneracy.wiring.units import Units, placed, whole_units
from weightatlas.evaluation.elementwise import nonlinearity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.degeneracy.wiring.calls import Call, Run
    from weightatlas.degeneracy.wiring.endings import Key, Stage, Summed

_SHARED: Final = "its weights are used elsewhere too"


@dataclass(frozen=True, slots=True, eq=False)
class Nonlinearity:
    """A nonlinearity of the run.

    Attributes:
        function: its name.
        path: of the module that it runs in.
        layers: the weights of the layers whose units it takes.
        behind: in words, what made its inputs where no layer did.
    """

    function: str
    path: str
    layers: tuple[str, ...]
    behind: str


@dataclass(slots=True, eq=False)
class Walk:
    """What a walk through a run's calls finds.

    Attributes:
        run: the calls.
        layers: by weight, in the order of the run.
        nonlinearities: in the order of the run.
        attentions: the calls of packed attention.
        unmet: for each of torch's attentions whose queries or keys no layer makes, its module and what does.
        uses: how often each parameter is an argument.
        varying: the values that depend on what the network is given, and not only on its shape.
    """

    run: Run
    layers: dict[str, Layer] = field(default_factory=dict)
    nonlinearities: list[Nonlinearity] = field(default_factory=list)
    attentions: list[Call] = field(default_factory=list)
    unmet: list[tuple[str, str]] = field(default_factory=list)
    uses: Counter[str] = field(default_factory=Counter)
    varying: set[int] = field(default_factory=set)
    _values: dict[int, dict[Key, Units]] = field(default_factory=dict)
    _makers: dict[int, str] = field(default_factory=dict)

    def follow(self) -> Walk:
        """Go through the calls in order."""
        last = {value: call.number for call in self.run.calls for _, value in call.taken}
        fixed = set(self.run.names)
        for call in self.run.calls:
            self._vary(call, fixed)
            self.uses.update({self.run.names[value] for _, value in call.taken if value in self.run.names})
            self._called(call)
            self._name(call)
            for _, value in call.taken:
                if last[value] == call.number and value not in self.run.outputs:
                    self._values.pop(value, None)
        for value in self.run.outputs:
            for weight, stage in self._values.get(value, {}):
                self.layers[weight].lost[stage].append("what it gives is an output of the network")
        return self

    def _vary(self, call: Call, fixed: set[int]) -> None:
        """Note whether what a call makes depends on the data: what nothing made is given to the network."""
        made = {value for _, value in call.made}
        read = () if call.name in _SHAPED else call.taken[:1] if call.name in _LIKE else call.taken
        if all(value in fixed for _, value in read):
            fixed |= made
        else:
            self.varying |= {value for _, value in read if value not in fixed} | (made - fixed)

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

    def _name(self, call: Call) -> None:
        """Say what made a value: the last function that did more than move numbers."""
        before = next((self._makers[value] for _, value in call.taken if value in self._makers), None)
        kept = call.name in SAME or call.name in MOVING
        maker = before if kept and before is not None else wording(call)
        self._makers.update((value, maker) for _, value in call.made)

    def _given(self, call: Call, product: Product | None, tensor: torch.Tensor, key: Key, units: Units) -> None:
        """One layer's units in one argument of a call."""
        layer, stage = self.layers[key[0]], key[1]
        if product is not None and product.weight is not None:
            reason = _read(layer, stage, product, tensor, units)
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
        if any(value == one for _, one in call.taken):
            return  # it was handed on as it is
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
        self._values.setdefault(value, {})[weight, "before"] = whole_units(
            output.shape, product.output_axis, is_direct=True
        )

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
        elif axis != 1 or not units.is_direct or layer.units != call.made[0][0].shape[1]:
            layer.lost["before"].append(refusal(call))
        else:
            epsilon = float(call.argument(7, "eps", 1e-5))
            path = mean.rpartition(".")[0]
            layer.norms.append(Norm(path, owned["weight"], owned["bias"], mean, variance, epsilon))
            self._keep(call, call.made[0][1], (layer.weight, "before"), replace(units, is_direct=False))

    def _bent(self, call: Call, function: str) -> None:
        """A nonlinearity."""
        number, output = len(self.nonlinearities), call.made[0]
        behind = next((self._makers[value] for _, value in call.taken[:1] if value in self._makers), "the input")
        taken = [(key, units) for tensor, value in call.taken[:1] for key, units in self._values.get(value, {}).items()]
        whole = []
        for (weight, stage), units in taken:
            layer = self.layers[weight]
            if stage == "after":
                layer.lost[stage].append(f"another nonlinearity ({function}) takes what the first one gives")
                continue
            axis = units.axis if layer.units == int(units.unit.max()) + 1 else None
            slopes = _slopes(call, function, layer.units)
            layer.rectified.append(Rectified(function, number, axis, slopes, units.mixes))
            whole.append(weight)
            if axis is not None and function in LINEAR_ON_EACH_SIDE:
                self._values.setdefault(output[1], {})[weight, "after"] = whole_units(output[0].shape, axis)
        self.nonlinearities.append(Nonlinearity(function, call.path, tuple(whole), behind))

    def _attended(self, call: Call) -> None:
        """Torch's attention: queries and keys meet, values are averaged over places."""
        queries, keys, values = (call.argument(place, name) for place, name in enumerate(("query", "key", "value")))
        for tensor, word in ((queries, "queries"), (keys, "keys")):
            if not self._states(call, tensor):
                maker = next((self._makers.get(value) for one, value in call.taken if one is tensor), None)
                self.unmet.append((call.path, f"its {word} come from {maker or 'no layer'}"))
                break
        repeats = queries.shape[-3] // keys.shape[-3] if call.named.get("enable_gqa", False) else 1
        mask, dropout = call.argument(3, "attn_mask"), call.argument(4, "dropout_p", 0.0)
        is_fixed = all(value not in self.varying for one, value in call.taken if one is mask)
        is_mean = is_fixed and dropout == 0 and attends_somewhere(None if mask is None else attended(mask))
        self._meet(call, queries, keys, is_softmax=True, repeats=repeats)
        self._average(call, values, first=False, summed="means" if is_mean else "any", repeats=repeats)

    def _contracted(self, call: Call, first: Any, second: Any) -> None:  # noqa: ANN401 - a tensor of the network's
        """A product of two values: of queries and keys, or an average over places."""
        kept = [bool(self._states(call, one)) for one in (first, second)]
        if min(first.ndim, second.ndim) == 1:
            for weight, stage in (*self._states(call, first), *self._states(call, second)):
                self.layers[weight].lost[stage].append(refusal(call))
        elif all(kept):
            self._meet(call, first, second, is_softmax=False)
        elif kept[1]:
            self._average(call, second, first=False, summed="any")
        elif kept[0]:
            self._average(call, first, first=True, summed="any")

    def _states(self, call: Call, tensor: torch.Tensor) -> dict[Key, Units]:
        value = next((number for one, number in call.taken if one is tensor), None)
        return self._values.get(value, {}) if value is not None else {}

    def _meet(
        self, call: Call, first: torch.Tensor, second: torch.Tensor, *, is_softmax: bool, repeats: int = 1
    ) -> None:
        """Units of queries, along their last axis, are summed with those of keys.

        Torch's attention has the keys' along the last axis too, a product along the one before; and it may take each
        head of keys for several heads of queries.
        """
        left, right = self._states(call, first), self._states(call, second)
        if len(left) == len(right) == 1:
            (one, units), (other, others) = *left.items(), *right.items()
            theirs = _repeated(others.unit, repeats)
            pairs = _pairs(units.unit, theirs.transpose(-2, -1) if is_softmax else theirs)
            if pairs is not None and one[1] == other[1] == "before" and units.mixes and others.mixes:
                for weight, its, is_first in ((one[0], other[0], True), (other[0], one[0], False)):
                    both = pairs if is_first else pairs[::-1]
                    met = Contraction(its, is_first, *both, call.path, is_softmax and others.is_direct)
                    self.layers[weight].contractions.append(met)
                return
        for weight, stage in (*left, *right):
            self.layers[weight].lost[stage].append(refusal(call))

    def _average(self, call: Call, tensor: torch.Tensor, *, first: bool, summed: Summed, repeats: int = 1) -> None:
        """Sums over an axis of places, with factors that do not depend on these units."""
        output, value = call.made[0]
        over, kept = (-1, -2) if first else (-2, -1)
        for key, units in list(self._states(call, tensor).items()):
            if tensor.ndim < 2 or bool((units.unit != units.unit.narrow(over, 0, 1)).any()):
                self.layers[key[0]].lost[key[1]].append(refusal(call))
                continue
            line = _repeated(units.unit.narrow(over, 0, 1), repeats)
            shape = list(line.shape)
            shape[over] = output.shape[over]
            is_direct = units.is_direct and summed == "means"
            moved = placed(line.expand(shape), output.shape, (kept % output.ndim,), mixes=units.mixes)
            self._keep(call, value, key, replace(moved, summed=summed, is_direct=is_direct))


_SHAPED: Final = frozenset(
    {"empty_like", "full_like", "ones_like", "zeros_like", "new_empty", "new_full", "new_ones", "new_zeros"}
)
"""Functions that make constants of the shape of what they are given."""

_LIKE: Final = frozenset({"expand_as", "reshape_as", "to", "type_as", "view_as"})
"""Functions that bring what they are given first into the shape or type of another value."""

_AS_OPERATOR: Final = ("weight", "bias", "running_mean", "running_var")


def _read(layer: Layer, stage: Stage, product: Product, tensor: torch.Tensor, units: Units) -> str | None:
    """Note that a layer's units are read by another, or say why they can't be."""
    if tensor is not product.inputs:
        return "what it gives is used as the weights of another layer"
    weight = str(product.weight)
    if not product.is_plain:
        return f"{weight}, which reads it, is of a transposed convolution in groups or has a bias that is computed"
    columns = units.columns(product.input_axis)
    if columns is None:
        return f"{weight} reads other units of it at other places"
    reading = Reading(
        product=product,
        units=columns[0].long(),
        places=columns[1],
        mixes=units.mixes,
        summed=units.summed,
        is_direct=units.is_direct,
        layer=weight.rpartition(".")[0],
        bias=product.bias,
    )
    layer.readings[stage].append(reading)
    return None


def _repeated(units: torch.Tensor, repeats: int) -> torch.Tensor:
    """Units of heads, (..., heads, places, width), each head several times, one after the other."""
    return units if repeats == 1 else units.repeat_interleave(repeats, dim=-3)


def _pairs(units: torch.Tensor, others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Which units are summed with which: rows of pairs for each sum; None where they differ among places.

    The one's are (..., places, width), the other's (..., width, places).
    """
    if bool((units != units.narrow(-2, 0, 1)).any()) or bool((others != others.narrow(-1, 0, 1)).any()):
        return None
    one, other = np.broadcast_arrays(units.select(-2, 0).numpy(), others.select(-1, 0).numpy())
    both = np.unique(np.stack([one, other], axis=-2).reshape(-1, 2, one.shape[-1]), axis=0)
    first, second = torch.from_numpy(both.astype(np.int64)).unbind(1)
    return first, second


def _slopes(call: Call, function: str, units: int) -> torch.Tensor:
    """Which units a nonlinearity treats alike: all, but for a PReLU's by their slopes."""
    weight: Any = call.argument(1, "weight") if function == "prelu" else None
    if not isinstance(weight, torch.Tensor) or weight.numel() != units:
        return torch.zeros(units, dtype=torch.int64)
    return torch.from_numpy(np.unique(weight.detach().flatten().cpu().numpy(), return_inverse=True)[1].reshape(-1))


def walked(run: Run) -> Walk:
    """Follow all layers of a run to where their units end."""
    return Walk(run).follow()


def uses_of(walk: Walk, names: Mapping[str, int]) -> str | None:
    """The first of some parameters that is used more often than it should be."""
    return next((name for name, count in names.items() if walk.uses[name] != count), None)
