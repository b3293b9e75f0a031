"""The bases inside of attention's heads, which may be changed without changing the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weightatlas.degeneracy.wiring.calls import followed_run
from weightatlas.degeneracy.wiring.head_pairs import packed_heads, query_key_heads, reading_heads, unmet_heads
from weightatlas.degeneracy.wiring.walking import walked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn

    from weightatlas.anatomy.graph.exporting import Example
    from weightatlas.degeneracy.block_directions import Direction
    from weightatlas.degeneracy.wiring.head_pairs import HeadPair, Rows


def head_pairs(model: nn.Module, example_inputs: Example) -> tuple[HeadPair, ...]:
    r"""Find the pairs of linear maps in attention whose common basis is free.

    Two kinds, of which each has as many free directions as the square of its width d:

    - "query-key": what attention sees of queries \(W_Q x\) and keys \(W_K x'\) of one head are their products, which
      \(W_K \to R W_K\), \(W_Q \to R^{-\top} W_Q\) leaves as they are for any invertible R. Heads of queries that
      share a head of keys move together.
    - "value-output": sums of a head's values over places, with whatever factors, are read by the columns of the
      layer behind: \(W_V \to R W_V\), \(W_{O,h} \to W_{O,h} R^{-1}\).

    Biases of keys and values are the weights of a constant and move with the rest. They are free themselves where
    attention is torch's: the same number added to all keys' products with one query goes out in the softmax, and what
    is added to all values goes into the bias behind (`HeadPair.shifts`). That does not hold of keys that are queries of
    another attention; nor of values where something is dropped, or a mask leaves a query without any key. A mask that
    depends on the data may do so on others than these: then nothing is claimed.

    Heads of values that several heads of queries share (grouped-query attention) are undone in what reads each of them.

    Where something stands between the layers and the products, rotary embeddings or norms of queries and keys, the
    pair is `skipped` with that as the reason, or not found at all. The network runs once, as for `rectified_layers`.

    Args:
        model: any module; left as it was.
        example_inputs: what to call it with: a tensor of two examples best, arguments, or arguments by name.

    Raises:
        SourceError: the model is scripted, or does not run on these inputs.

    **Source:** the symmetry is well known; Elhage and others, *A Mathematical Framework for Transformer Circuits*
    (2021), name the two products. Counting it among the free directions is ours.

    Example:
        >>> from torch import nn
        >>> model = nn.MultiheadAttention(8, 2, batch_first=True)
        >>> pairs = head_pairs(model, [torch.zeros(2, 3, 8)] * 3)
        >>> [(pair.kind, pair.head, pair.directions, pair.shifts) for pair in pairs[::2]]
        [('query-key', 0, 16, 4), ('query-key', 1, 16, 4)]
    """
    walk = walked(followed_run(model, example_inputs))
    found = [pair for call in walk.attentions for pair in packed_heads(walk, call)]
    for layer in walk.layers.values():
        found += query_key_heads(walk, layer)
        found += reading_heads(walk, layer)
    found += unmet_heads(walk)
    return tuple(found)


def head_directions(parameters: Mapping[str, torch.Tensor], pair: HeadPair) -> Iterator[Direction]:
    r"""Give the directions that the change of one pair's basis frees, one for each entry of A.

    To first order, with \(A = e_i e_j^\top\): \(\delta W_K = A W_K\) and \(\delta W_Q = -A^\top W_Q\), biases
    alike; or \(\delta W_V = A W_V\) and \(\delta W_{O,h} = -W_{O,h} A\).

    Args:
        parameters: by the model's names; nothing is given where one that must move is not among them.
        pair: as `head_pairs` gives it.

    Yields:
        For each (i, j) the changes of the parameters, in the parameters' dtype; free on any data.
    """
    if pair.skipped is not None or not _movable(parameters, pair):
        return
    for unit in range(pair.width):
        for other in range(pair.width):
            found: dict[str, torch.Tensor] = {}
            _add_row(parameters, found, pair.first, (unit, other), 1.0)
            for queries in pair.queries:
                _add_row(parameters, found, queries, (other, unit), -1.0)
            for consumer in pair.consumers:
                weight = parameters[consumer.weight].detach()
                rows = int(pair.first.units[unit]), int(pair.first.units[other])
                change = consumer.undone(weight, *rows)
                found[consumer.weight] = found[consumer.weight] + change if consumer.weight in found else change
            yield found


def shift_directions(parameters: Mapping[str, torch.Tensor], pair: HeadPair) -> Iterator[Direction]:
    r"""Give the directions that the biases of keys and values free, one for each unit of the head.

    A bias u of the keys adds \(q \cdot u\) to all that one query attends to, which the softmax takes out again. One of
    the values adds \(W_{O,h} u\) to what is read, since the factors of attention add up to 1, and \(-W_{O,h} u\) in
    the bias behind takes it away.

    Args:
        parameters: by the model's names.
        pair: as `head_pairs` gives it.

    Yields:
        The changes of the biases; none where there are none, or where no softmax is known to follow.
    """
    bias = pair.first.bias
    if pair.skipped is not None or not pair.shifts or bias is None or bias not in parameters:
        return
    if any(name not in parameters for name in pair.consumer_biases):
        return
    for unit, row in zip(pair.first.units, pair.first.bias_units, strict=True):
        change = torch.zeros_like(parameters[bias])
        change[int(row)] = 1
        found = {bias: change}
        for consumer, name in zip(pair.consumers, pair.consumer_biases, strict=True):
            columns = torch.from_numpy(consumer.columns_of(int(unit)))
            weight = parameters[consumer.weight].detach()
            moved = -weight.index_select(consumer.axis, columns.to(weight.device)).sum(consumer.axis)
            found[str(name)] = found[str(name)] + moved if str(name) in found else moved
        yield found


def _movable(parameters: Mapping[str, torch.Tensor], pair: HeadPair) -> bool:
    """Whether all that a change of basis moves is among the parameters."""
    rows = (pair.first, *pair.queries)
    names = [one.weight for one in rows] + [one.bias for one in rows if one.bias is not None]
    return all(name in parameters for name in (*names, *(one.weight for one in pair.consumers)))


def _add_row(
    parameters: Mapping[str, torch.Tensor],
    found: dict[str, torch.Tensor],
    rows: Rows,
    pair: tuple[int, int],
    factor: float,
) -> None:
    """Add one row of a layer, times a factor, to the change of another one."""
    places = [(rows.weight, rows.axis, rows.units)]
    if rows.bias is not None:
        places.append((rows.bias, 0, rows.bias_units))
    for name, axis, units in places:
        values = parameters[name].detach()
        change = found.setdefault(name, torch.zeros_like(values))
        target, source = (int(units[one]) for one in pair)
        change.select(axis, target).add_(values.select(axis, source), alpha=factor)
