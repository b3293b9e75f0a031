"""From the calls of one run to what linear maps and norms write and read with nothing but sums and moves between."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn import functional

from weightatlas.degeneracy.wiring.flows import (
    End,
    Flow,
    Source,
    Statistics,
    either,
    is_unpadded,
    moved,
    norm_arguments,
    rows_of,
    spread,
)
from weightatlas.degeneracy.wiring.packed_attention import packed_attention
from weightatlas.degeneracy.wiring.products import product_of
from weightatlas.degeneracy.wiring.rules import (
    AVERAGING,
    MAXIMA,
    MOVING,
    REDUCING,
    SAME,
    SCALING,
    moved_by,
    passed,
    refusal,
)
from weightatlas.degeneracy.wiring.slots import ABSENT, Part, Slots, compacted
from weightatlas.degeneracy.wiring.units import along_axis, whole_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.degeneracy.wiring.calls import Call, Run
    from weightatlas.degeneracy.wiring.products import Product

EACH: Final = "each"
"""The kind of a parameter that is added to a value as it is."""

SUMS: Final = frozenset({"add", "iadd", "radd", "sub", "isub"})
PRODUCTS: Final = frozenset({"mul", "imul", "rmul", "multiply"})
NORMS: Final = frozenset({"layer_norm", "rms_norm", "group_norm", "instance_norm", "batch_norm"})
AVERAGES: Final = frozenset({"mean", *(f"adaptive_avg_pool{axes}d" for axes in (1, 2, 3))})
"""Functions that give what they are given where that is a constant."""

_LINES: Final = AVERAGING | MAXIMA | REDUCING | {"pad"}
"""Functions that keep channels along an axis, and no places."""

_FOREIGN: Final = "what it gives is added to what no layer makes"
_UNMADE: Final = "{} reads what no layer makes"
_ELSEWHERE: Final = "{} is used elsewhere too"


@dataclass(slots=True, eq=False)
class Streaming:
    """What following a run finds.

    Attributes:
        run: the calls.
        sizes: how many numbers each parameter has.
        slots: of the parameters.
        sources: of constants, by weight.
        ends: of constants.
        norms: names of scales and shifts of norms and of layers.
        statistics: of batch norms, by their scales.
        places: of the columns of each weight that reads, one array a use.
        lines: of parameters that are added, row * width + column of each number, if its channels are the columns, and
            that width.
    """

    run: Run
    sizes: Mapping[str, int]
    slots: Slots = field(default_factory=Slots)
    sources: dict[str, Source] = field(default_factory=dict)
    ends: list[End] = field(default_factory=list)
    norms: set[str] = field(default_factory=set)
    statistics: dict[str, Statistics] = field(default_factory=dict)
    places: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    lines: dict[str, tuple[torch.Tensor, int]] = field(default_factory=dict)
    _flows: dict[int, Flow] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _biases: dict[str, str] = field(default_factory=dict)

    def follow(self) -> Streaming:
        """Go through the calls in order."""
        last = {value: call.number for call in self.run.calls for _, value in call.taken}
        for call in self.run.calls:
            self._used = set()
            self._called(call)
            for _, value in call.taken:
                name = self.run.names.get(value)
                if name in self.sizes and name not in self._used and call.made:
                    self.slots.spoilt.setdefault(str(name), _ELSEWHERE.format(name))
                if last[value] == call.number and value not in self.run.outputs:
                    self._flows.pop(value, None)
        for value in self.run.outputs:
            flow = self._flows.get(value)
            name = self.run.names.get(value)
            if name is not None:
                self.slots.spoilt.setdefault(name, f"{name} is an output of the network")
            if flow is not None:
                self._end(None, flow, "what it gives is an output of the network")
        return self

    def _called(self, call: Call) -> None:
        product = product_of(call, self.run)
        if product is not None and product.is_plain and product.weight in self.sizes:
            self._multiplied(call, product)
        elif call.name == "multi_head_attention_forward":
            self._attended(call)
        elif call.name == "embedding":
            self._looked_up(call)
        elif call.name in NORMS:
            self._normed(call)
        elif call.name in SUMS:
            self._added(call)
        elif call.name in MOVING:
            self._moved(call)
        elif call.name in PRODUCTS and self._factor(call) is not None:
            self._scaled(call)
        elif call.name in SAME or call.name in SCALING or call.name in AVERAGING | MAXIMA | REDUCING | {"pad"}:
            self._passed(call)
        else:
            self._lost(call)

    def _flow(self, call: Call, tensor: object) -> Flow | None:
        """What is known of an argument."""
        value = next((number for one, number in call.taken if one is tensor), None)
        if value is None or value in self._flows:
            return None if value is None else self._flows[value]
        name = self.run.names.get(value)
        if name not in self.sizes or not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            return None
        if not tensor.ndim:
            return None
        wide = [axis for axis, length in enumerate(tensor.shape) if length > 1]
        axis = wide[0] if len(wide) == 1 else tensor.ndim - 1
        units = whole_units(tensor.shape, axis)
        order = torch.arange(tensor.numel()).reshape(tensor.movedim(axis, -1).shape)
        self.lines[str(name)] = order.movedim(-1, axis).reshape(-1), tensor.shape[axis]
        self._used.add(str(name))
        return Flow(torch.arange(tensor.numel()).reshape(tensor.shape), units, parameter=name)

    def _given(self, flow: Flow | None) -> Flow | None:
        """The same; a parameter as one that adds each of its numbers."""
        if flow is None or flow.parameter is None:
            return flow
        name = flow.parameter
        (part,) = self.slots.use(name, EACH, [("gives", None, self.sizes[name])])
        self.sources.setdefault(name, Source(part, name))
        return replace(flow, slots=flow.slots + part.start, constants={name: ()}, parameter=None)

    def _keep(self, call: Call, value: int, flow: Flow) -> None:
        if not any(value == one for _, one in call.taken):
            self._flows[value] = flow

    def _end(self, call: Call | None, flow: Flow, reason: str) -> None:
        own = self._given(flow)
        if own is not None:
            self.slots.pin(own.slots, reason)
            self.ends.append(End(-1 if call is None else call.number, None, own.constants, is_direct=False))

    def _lost(self, call: Call) -> None:
        """A function that is not followed."""
        for _, value in call.taken:
            if value in self._flows:
                self._end(call, self._flows[value], refusal(call))
            self._used.discard(self.run.names.get(value, ""))

    def _multiplied(self, call: Call, product: Product) -> None:
        """A layer reads a value and gives another one."""
        weight, output = str(product.weight), call.made[0][0]
        units, width = output.shape[product.output_axis], product.inputs.shape[product.input_axis]
        sides = [("gives", product.axis, units), ("reads", 1 - product.axis, width)]
        kind = f"a product along {product.axis} in {product.groups}"
        gives, reads = self.slots.use(weight, kind, sides, groups=product.groups)  # type: ignore[arg-type]
        self._used.add(weight)
        self._biased(gives, product.bias)
        direct = product.is_matrix or is_unpadded(call)
        self._read(call, self._flow(call, product.inputs), product.input_axis, reads, is_direct=direct)
        self._give(call, output, product.output_axis, gives)

    def _biased(self, gives: Part, bias: str | None) -> None:
        """A layer's bias moves with what it gives."""
        own = bias if bias in self.sizes else None
        if bias is not None and own is None:
            self.slots.pin(gives.slots, f"{bias} is not a parameter")
        if own is not None:
            (part,) = self.slots.use(own, "bias", [("gives", None, gives.count)])
            self._used.add(own)
            self.slots.join(part.slots, gives.slots, _FOREIGN)
            if self._biases.setdefault(own, gives.name) != gives.name:
                self.slots.spoilt.setdefault(own, _ELSEWHERE.format(own))
        if own is not None and self.sources.get(gives.name, Source(gives, own)).bias != own:
            self.slots.spoilt.setdefault(gives.name, _ELSEWHERE.format(gives.name))
        self.sources.setdefault(gives.name, Source(gives, own))

    def _read(self, call: Call, given: Flow | None, axis: int, reads: Part, *, is_direct: bool) -> None:
        """A layer's columns undo the basis of what they read."""
        flow = self._given(given)
        if flow is None:
            self.slots.pin(reads.slots, _UNMADE.format(reads.name))
            self.ends.append(End(call.number, reads.name, {}, is_direct))
            return
        self.slots.join(flow.slots.movedim(axis, -1), reads.slots, _UNMADE.format(reads.name))
        columns = flow.units.columns(axis) if flow.units.mixes else None
        if columns is None:
            self.slots.part(reads.slots)
        else:
            self.places.setdefault(reads.name, []).append(columns[1])
        self.ends.append(End(call.number, reads.name, flow.constants, is_direct))

    def _give(self, call: Call, output: torch.Tensor, axis: int, gives: Part) -> None:
        slots = along_axis(gives.slots, axis, output.ndim).expand(output.shape)
        flow = Flow(slots, whole_units(output.shape, axis), {gives.name: ()})
        value = next(number for one, number in call.made if one is output)
        self._keep(call, value, flow)

    def _attended(self, call: Call) -> None:
        """Torch's own attention: three layers that read, one that gives."""
        known = packed_attention(call, self.run)
        names = {*known.weights, known.output, *(one for one in (known.bias, known.output_bias) if one)}
        inputs = [call.argument(place, name) for place, name in enumerate(("query", "key", "value"))]
        if known.reason is not None or not names <= self.sizes.keys():
            return self._lost(call)
        size, is_packed = known.heads * known.width, len(set(known.weights)) == 1
        widths = [one.shape[-1] for one in inputs]
        reason = "attention takes what it gives"
        for place, weight in enumerate(dict.fromkeys(known.weights)):
            width = sum(widths) if is_packed else widths[place]
            sides = [("gives", 0, 3 * size if is_packed else size), ("reads", 1, width)]
            gives, reads = self.slots.use(weight, "attention", sides, groups=3 if is_packed else 1)  # type: ignore[arg-type]
            self.slots.pin(gives.slots, reason)
            if known.bias is not None and is_packed:
                self._biased(gives, known.bias)
            elif known.bias is None:
                self.sources.setdefault(weight, Source(gives, None))
            self._project(
                call, inputs if is_packed else [inputs[place]], reads, is_direct=known.bias is None or is_packed
            )
        if known.bias is not None:
            self._used.add(known.bias)
        sides = [("gives", 0, inputs[0].shape[-1]), ("reads", 1, size)]
        gives, reads = self.slots.use(known.output, "attention", sides)  # type: ignore[arg-type]
        self.slots.pin(reads.slots, reason)
        self._biased(gives, known.output_bias)
        self._used |= names
        return self._give(call, call.made[0][0], call.made[0][0].ndim - 1, gives)

    def _project(self, call: Call, inputs: Sequence[torch.Tensor], reads: Part, *, is_direct: bool) -> None:
        """Several values that are read by the columns of one weight, one group of rows each."""
        start, places = reads.start, []
        constants: dict[str, tuple[int, ...]] = {}
        for tensor in inputs:
            width = tensor.shape[-1]
            own = Part(reads.name, "reads", 1, start, width)
            start += width
            flow = self._given(self._flow(call, tensor))
            columns = None if flow is None or not flow.units.mixes else flow.units.columns(tensor.ndim - 1)
            if flow is None:
                self.slots.pin(own.slots, _UNMADE.format(reads.name))
                continue
            self.slots.join(flow.slots, own.slots, _UNMADE.format(reads.name))
            if columns is None:
                self.slots.part(own.slots)
            places.append(torch.zeros(width, dtype=torch.int64) if columns is None else columns[1])
            constants |= flow.constants
        same = all(one is inputs[0] for one in inputs)
        if len(places) == len(inputs):
            self.places.setdefault(reads.name, []).append(torch.cat(places))
        self.ends.append(End(call.number, reads.name if same and is_direct else None, constants, same and is_direct))

    def _looked_up(self, call: Call) -> None:
        """An embedding."""
        tensors = [one for one in (call.argument(0, "input"), call.argument(1, "weight")) if one is not None]
        tables = [one for one in tensors if one.is_floating_point()]
        name = self.run.name_of(call, tables[0]) if tables else None
        held = call.argument(2, "padding_idx", None)
        other = call.argument(3, "max_norm", None) if call.function is functional.embedding else None
        is_operator = call.function is not functional.embedding
        if name not in self.sizes or other is not None or not (held is None or (is_operator and held < 0)):
            return self._lost(call)
        (part,) = self.slots.use(str(name), "an embedding", [("gives", 1, tables[0].shape[1])])
        self._used.add(str(name))
        self.sources.setdefault(str(name), Source(part, name, is_table=True))
        output = call.made[0][0]
        return self._give(call, output, output.ndim - 1, part)

    def _normed(self, call: Call) -> None:
        """A norm: what it takes is read by nothing linear, but for a batch norm; its scales and shifts give anew."""
        stats, tensors = norm_arguments(call, self.run)
        given, output = self._flow(call, call.argument(0, "input")), call.made[0][0]
        names = {key: None if one is None else self.run.name_of(call, one) for key, one in tensors.items()}
        weight, bias = names["weight"], names["bias"]
        computed = any(tensors[key] is not None and names[key] not in self.sizes for key in tensors)
        if weight is None or computed or tensors["weight"].numel() == 0:
            return self._lost(call)
        count = tensors["weight"].numel()
        is_affine = call.name == "batch_norm" and None not in stats.values()
        sides = [("gives", None, count), *([("reads", None, count)] if is_affine else [])]
        gives, *reads = self.slots.use(weight, call.name, sides, mixes=False)  # type: ignore[arg-type]
        self._used.add(weight)
        self.norms |= {weight} if bias is None else {weight, bias}
        self._biased(gives, bias)
        if is_affine:
            epsilon = float(call.argument(7, "eps", 1e-5))
            own = Statistics(bias, str(stats["running_mean"]), str(stats["running_var"]), epsilon)
            if self.statistics.setdefault(weight, own) != own:
                self.slots.spoilt.setdefault(weight, _ELSEWHERE.format(weight))
            self._read(call, given, 1, reads[0], is_direct=True)
        elif given is not None:
            self._end(call, given, refusal(call))
        if call.name in {"layer_norm", "rms_norm"}:
            shape = tensors["weight"].shape
            slots = gives.slots.reshape(shape).expand(output.shape)
            flow = Flow(slots, whole_units(output.shape, output.ndim - len(shape)), {weight: ()})
            return self._keep(call, call.made[0][1], flow)
        return self._give(call, output, 1, gives)

    def _added(self, call: Call) -> None:
        """A sum or a difference of two values."""
        output, value = call.made[0]
        operands = [call.argument(0, "input"), call.argument(1, "other")]
        flows = [self._given(self._flow(call, one)) for one in operands]
        if call.named.get("alpha", 1) != 1 or len(call.arguments) + ("other" in call.named) > 2:
            return self._lost(call)
        if call.name in {"sub", "isub"} and flows[1] is not None:
            flows[1] = flows[1].marked(call.number)
        known = [
            replace(flow, slots=flow.slots.expand(output.shape), units=flow.units) for flow in flows if flow is not None
        ]
        if not known:
            return None
        first = known[0]
        if len(known) == 1:
            if not any(isinstance(one, int | float) and one == 0 for one in operands):
                self.slots.pin(first.slots, _FOREIGN)
            shape = first.units.unit.shape
            units = first.units if shape == output.shape else spread(first.units, output.shape)
            return self._keep(call, value, replace(first, units=units))
        second = known[1]
        self.slots.join(first.slots, second.slots, _FOREIGN)
        slots = first.slots if bool((compacted(first.slots)[0] != ABSENT).all()) else either(first.slots, second.slots)
        axes = [None if one.units.axis is None else one.units.axis - one.units.unit.ndim for one in known]
        lengths = [None if axis is None else one.units.unit.shape[axis] for axis, one in zip(axes, known, strict=True)]
        mixes = all(one.units.mixes for one in known)
        if axes[0] is None or axes[0] != axes[1] or lengths[0] != lengths[1]:
            self.slots.part(first.slots)
            units = replace(spread(first.units, output.shape), mixes=False)
        else:
            units = whole_units(output.shape, axes[0], mixes=mixes)
        constants = {**first.constants, **second.constants}
        for key in first.constants.keys() & second.constants.keys():
            constants[key] = (*first.constants[key], ABSENT, *second.constants[key], call.number)
        return self._keep(call, value, Flow(slots, units, constants))

    def _factor(self, call: Call) -> tuple[Flow, Any] | None:
        """A parameter that a product multiplies by, and what it multiplies."""
        operands = [call.argument(0, "input"), call.argument(1, "other")]
        if not all(isinstance(one, torch.Tensor) for one in operands):
            return None
        flows = [self._flow(call, one) for one in operands]
        named = [flow is not None and flow.parameter is not None for flow in flows]
        if named[0] == named[1]:
            return None
        place = named.index(True)
        found = flows[place]
        return None if found is None else (found, operands[1 - place])

    def _scaled(self, call: Call) -> None:
        """Each channel of a value is multiplied by a parameter."""
        found = self._factor(call)
        if found is None:
            return
        flow, tensor = found
        name, output = str(flow.parameter), call.made[0][0]
        count = self.sizes[name]
        sides = [("gives", None, count), ("reads", None, count)]
        gives, reads = self.slots.use(name, "a factor", sides, mixes=False)  # type: ignore[arg-type]
        self.norms.add(name)
        self.sources.setdefault(name, Source(gives, None))
        numbers = flow.slots.expand(output.shape)
        given = self._given(self._flow(call, tensor))
        if given is None:
            self.slots.pin(reads.slots, _UNMADE.format(name))
            self.ends.append(End(call.number, name, {}, is_direct=True))
            axis = flow.units.axis
            units = spread(flow.units, output.shape)
            if axis is not None:
                units = whole_units(output.shape, axis - flow.units.unit.ndim)
        else:
            self.slots.join(given.slots.expand(output.shape), numbers + reads.start, _UNMADE.format(name))
            units = given.units if given.units.unit.shape == output.shape else spread(given.units, output.shape)
            self.ends.append(End(call.number, name, given.constants, is_direct=True))
        self._keep(call, call.made[0][1], Flow(numbers + gives.start, units, {name: ()}))

    def _moved(self, call: Call) -> None:
        """Numbers are moved, or put beside others."""
        given = moved_by(call)
        flows = {id(one): self._flow(call, one) for one in given}
        if not any(flow is not None for flow in flows.values()):
            return
        if len(flows) > 1:
            flows = {key: self._given(flow) for key, flow in flows.items()}
        found = moved(call, given, flows)
        if found is None:
            self._lost(call)
        for value, flow in found or ():
            if bool((flow.slots != ABSENT).any()):
                self._keep(call, value, flow)

    def _passed(self, call: Call) -> None:
        """A function that is linear in each channel, or commutes with its positive factors."""
        tensor = next((one for one, _ in call.taken if self._flow(call, one) is not None), None)
        flow = None if tensor is None else self._flow(call, tensor)
        if tensor is None or flow is None:
            return None
        if call.name not in SAME:
            flow = self._given(flow)
        results = passed(call, tensor, flow.units) if flow is not None else ""
        others = [one for one, _ in call.taken if one is not tensor and one.is_floating_point()]
        if isinstance(results, str) or flow is None or others:
            return self._lost(call)
        same = call.name in SAME or call.name in AVERAGES
        own = flow if same else flow.marked(call.number)
        for value, units in results:
            slots = own.slots if units.unit.shape == own.slots.shape and call.name not in _LINES else None
            if slots is None:
                line = self._line(own)
                if line is None or units.axis is None:
                    return self._lost(call)
                slots = along_axis(line, units.axis, units.unit.ndim).expand(units.unit.shape)
            self._keep(call, value, replace(own, slots=slots, units=units))
        return None

    def _line(self, flow: Flow) -> torch.Tensor | None:
        """The slot of each channel of a value, where averages are taken of it."""
        axis = flow.units.axis
        if axis is None:
            return None
        flat = rows_of(flow.slots.movedim(axis, -1))
        if bool((flat == ABSENT).any()):
            return None
        self.slots.join(flat, flat[:1].expand(flat.shape), _FOREIGN)
        return flat[0]


def streaming(run: Run, sizes: Mapping[str, int]) -> Streaming:
    """Follow a run.

    Args:
        run: of the network.
        sizes: how many numbers each parameter has.
    """
    return Streaming(run, sizes).follow()
