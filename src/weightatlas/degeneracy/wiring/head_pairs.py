"""Pairs of linear maps in attention that share a basis: queries and keys, values and what reads them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from weightatlas.degeneracy.wiring.classes import Classes
from weightatlas.degeneracy.wiring.consumers import Consumer, consumers_of
from weightatlas.degeneracy.wiring.packed_attention import packed_attention
from weightatlas.degeneracy.wiring.walking import uses_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from weightatlas.degeneracy.wiring.calls import Call
    from weightatlas.degeneracy.wiring.endings import Layer, Reading
    from weightatlas.degeneracy.wiring.walking import Walk

    Integers = npt.NDArray[np.int64]

Kind = Literal["query-key", "value-output"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some units of a layer.

    Attributes:
        weight: name of the layer's weight.
        bias: of its bias, if it has one.
        axis: of the weight, along which its units lie.
        units: int64 (width,), places of the units in the weight.
        bias_units: int64 (width,), their places in the bias.
    """

    weight: str
    bias: str | None
    axis: int
    units: Integers
    bias_units: Integers


@dataclass(frozen=True, slots=True, eq=False)
class HeadPair:
    """Two linear maps whose common basis is free.

    Attributes:
        kind: "query-key" or "value-output".
        layer: the module that holds both.
        head: its number among those of its kind and layer, from 0.
        first: the units of keys or values.
        queries: the units that are multiplied with keys; empty for values.
        consumers: the layers that read values; empty for queries and keys.
        consumer_biases: names of their biases.
        shifts: how many biases are free by themselves.
        skipped: why nothing is claimed of it, or None.
    """

    kind: Kind
    layer: str
    head: int
    first: Rows
    queries: tuple[Rows, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    consumer_biases: tuple[str, ...] = ()
    shifts: int = 0
    skipped: str | None = None

    @property
    def width(self) -> int:
        """Of the basis."""
        return len(self.first.units)

    @property
    def directions(self) -> int:
        """How many directions its change frees: the square of the width; 0 where it was skipped."""
        return 0 if self.skipped is not None else self.width**2


def packed_heads(walk: Walk, call: Call) -> Iterator[HeadPair]:
    """The heads of torch's own attention module."""
    known = packed_attention(call, walk.run, walk.varying)
    names = Counter({*known.weights, known.output} | {one for one in (known.bias, known.output_bias) if one})
    used = None if known.reason else uses_of(walk, names)
    skipped = known.reason or (None if used is None else f"{used} is used elsewhere too")
    size, starts = known.heads * known.width, range(known.heads)
    columns = np.arange(size) + known.first_rows[2]
    reader = Consumer(known.output.rpartition(".")[0], known.output, columns, np.zeros_like(columns))
    for head in starts:
        rows = np.arange(head * known.width, (head + 1) * known.width)
        queries, keys, values = (
            Rows(weight, known.bias, 0, rows + first, rows + place * size)
            for place, (weight, first) in enumerate(zip(known.weights, known.first_rows, strict=True))
        )
        free = known.width if known.bias is not None and known.is_softmax and skipped is None else 0
        yield HeadPair("query-key", known.path, head, keys, (queries,), shifts=free, skipped=skipped)
        biases = () if known.output_bias is None else (known.output_bias,)
        free = free if biases and known.is_mean else 0
        yield HeadPair("value-output", known.path, head, values, (), (reader,), biases, free, skipped)


def unmet_heads(walk: Walk) -> Iterator[HeadPair]:
    """One skipped pair for each attention whose queries or keys are not a layer's units."""
    none = np.zeros(0, dtype=np.int64)
    for number, (path, reason) in enumerate(walk.unmet):
        yield HeadPair("query-key", path, number, Rows("", None, 0, none, none), skipped=reason)


def query_key_heads(walk: Walk, layer: Layer) -> Iterator[HeadPair]:
    """The heads of keys that a layer makes, each with the heads of queries that it meets."""
    heads: dict[tuple[int, ...], dict[tuple[str, tuple[int, ...]], None]] = {}
    softmax = True
    path = ""
    for met in layer.contractions:
        if met.is_first:
            continue
        softmax, path = softmax and met.is_softmax, met.path
        for own, other in zip(met.units.tolist(), met.others.tolist(), strict=True):
            heads.setdefault(tuple(own), {})[met.other, tuple(other)] = None
    for number, (own, met_queries) in enumerate(sorted(heads.items())):
        queries = [_rows(walk.layers[weight], rows) for weight, rows in met_queries]
        first = _rows(layer, own)
        layers = [layer, *(walk.layers[weight] for weight, _ in met_queries)]
        skipped = _unfit(walk, layers) or _shared(layers, [first, *queries], is_meeting=True)
        asks = any(met.is_first and set(own) & set(met.units.flatten().tolist()) for met in layer.contractions)
        free = len(own) if softmax and not asks and layer.bias is not None and skipped is None else 0
        yield HeadPair("query-key", path, number, first, tuple(queries), shifts=free, skipped=skipped)


def reading_heads(walk: Walk, layer: Layer) -> Iterator[HeadPair]:
    """The units of a layer that others read after sums over places, by the places that they are read at."""
    readings = layer.readings["before"]
    if all(one.summed == "no" for one in readings):  # also of none: what `streams` finds
        return
    classes = Classes(layer.units)
    classes.split_by_groups(layer)
    classes.split_by_readings(readings)
    if not all(one.mixes for one in readings):
        classes.split(range(layer.units), "max pooling commutes with scaling units, not with mixing them")
    labels = classes.labels()
    read = np.unique(np.concatenate([one.units.numpy() for one in readings]))
    consumers = consumers_of(readings)
    biases = {str(one.product.weight): one.bias for one in readings}
    names = tuple(str(biases[one.weight]) for one in consumers if biases[one.weight] is not None)
    direct = all(one.is_direct and one.product.is_matrix for one in readings) and len(names) == len(consumers)
    direct = direct and len(set(names)) == len(names)
    direct = direct and uses_of(walk, Counter(one.bias for one in readings if one.bias is not None)) is None
    skipped = _unfit(walk, [layer]) or _read_elsewhere(walk, layer, readings)
    for number, label in enumerate(dict.fromkeys(labels[read[read >= 0]].tolist())):
        first = _rows(layer, tuple(np.flatnonzero(labels == label).tolist()))
        reason = skipped or _shared([layer], [first], is_meeting=False)
        free = len(first.units) if direct and layer.bias is not None and reason is None else 0
        path = _common([layer.weight, *(one.weight for one in consumers)])
        yield HeadPair("value-output", path, number, first, (), consumers, names if free else (), free, reason)


def _rows(layer: Layer, units: Sequence[int]) -> Rows:
    own = np.array(units, dtype=np.int64)
    return Rows(layer.weight, layer.bias, layer.axis, own, own)


def _unfit(walk: Walk, layers: Sequence[Layer]) -> str | None:
    """Why the basis of some layers' units is not known to be free."""
    for layer in layers:
        if layer.lost["before"]:
            return f"{layer.weight}: {layer.lost['before'][0]}"
        if layer.norms:
            return f"{layer.weight}: a batch norm is behind it"
        names = {name: layer.calls for name in (layer.weight, layer.bias) if name is not None}
        used = uses_of(walk, names)
        if used is not None:
            return f"{used} is used elsewhere too"
    return None


def _shared(layers: Sequence[Layer], rows: Sequence[Rows], *, is_meeting: bool) -> str | None:
    """Whether some unit of keys and queries, or of one layer that others read, is used in another way as well."""
    wanted = Counter((one.weight, unit) for one in rows for unit in one.units.tolist())
    if -1 in {unit for _, unit in wanted} or max(wanted.values()) > 1:
        return "a unit is multiplied with itself, or with what no layer makes"
    names = [(one.weight, tuple(one.units.tolist())) for one in rows]
    meetings = {(*names[0], *other) for other in names[1:]} | {(*other, *names[0]) for other in names[1:]}
    for layer in {one.weight: one for one in layers}.values():
        own = {unit for weight, unit in wanted if weight == layer.weight}
        for met in layer.contractions:
            for units, others in zip(met.units.tolist(), met.others.tolist(), strict=True):
                meeting = (layer.weight, tuple(units), met.other, tuple(others))
                if own & set(units) and meeting not in meetings:
                    return f"{layer.weight}: its units meet others in several ways"
        is_read = any(own & set(one.units.tolist()) for one in layer.readings["before"])
        if layer.rectified or (is_meeting and is_read):
            return f"{layer.weight}: its units are used in several ways"
    return None


def _read_elsewhere(walk: Walk, layer: Layer, readings: Sequence[Reading]) -> str | None:
    """Whether something else uses the weights that read a layer."""
    counts = Counter(str(one.product.weight) for one in readings)
    if layer.weight in counts:
        return "it reads what it gives itself"
    ways = {(str(one.product.weight), one.units.numpy().tobytes(), one.places.numpy().tobytes()) for one in readings}
    if len(ways) > len(counts):
        return "a layer reads it in several ways"
    used = uses_of(walk, counts)
    return None if used is None else f"{used} is used elsewhere too"


def _common(names: Sequence[str]) -> str:
    """The module that holds all of some parameters."""
    parts = [name.split(".")[:-1] for name in names]
    same = 0
    while all(len(one) > same for one in parts) and len({one[same] for one in parts}) == 1:
        same += 1
    return ".".join(parts[0][:same])
