"""Expanded weights: what a deep unit would weigh in an earlier layer, were everything between them linear."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from torch import fx

from weightatlas.anatomy.graph.exporting import Example, Exported, export_graph
from weightatlas.anatomy.graph.linearised import Linearised, operator_name
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

MEMORY: Final = 2**28
"""Bytes that gradients of one chunk of units may take at their widest."""

LIMIT: Final = 2**30
"""Bytes that all kernels together may take."""

_READING: Final = ("conv", "linear", "mm", "matmul", "einsum", "embedding", "bmm")


@dataclass(frozen=True, slots=True, eq=False)
class ExpandedWeights:
    """The weights of units of one layer on the values of an earlier one.

    Attributes:
        weight: float32 (units, channels, h, w); a sequence has h = 1, a vector h = w = 1.
        exact: whether all on the way was linear.
        layer: whose units these are.
        onto: the module whose output they weigh, or "" for the model's input.
        units: int64, which units.
        box: first row, first column of the kernel on the map of `onto`.
        notes: what was replaced, and whether the kernel was cut, a sentence each.
    """

    weight: torch.Tensor
    exact: bool
    layer: str
    onto: str
    units: NDArray[np.int64]
    box: tuple[int, int]
    notes: tuple[str, ...]


def expanded_weights(
    model: nn.Module,
    example_inputs: Example,
    layer: str,
    *,
    onto: str | None = None,
    units: Sequence[int] | NDArray[np.int64] | None = None,
    crop: int | None = None,
) -> ExpandedWeights:
    r"""Give the linear map from an earlier layer to the units of a later one.

    $$E_{u,c,y,x} = \frac{\partial a_{u,\,\text{centre}}}{\partial b_{c,y,x}}$$

    with a what `layer` gives and b what `onto` gives, in the exported graph with everything between them made linear:
    activations are the identity, max pooling is the mean over the same windows, L2 pooling too (square and root become
    the identity), batch norm its scale in evaluation mode, layer and group norms a centring with their weights, biases
    are dropped and gates (squeeze-and-excitation, gated units) are 1. Any other operator is linearised at zero.

    The kernel is cut to the positions that any of the units reads, or to `crop` x `crop` positions about its centre.
    Naming as `onto` the layer before a bottleneck (a 1 x 1 convolution before a 5 x 5) jumps over it: the two become
    one kernel of low rank. Start at a pool's output rather than before it where its blur is unwanted.

    Args:
        model: any module; it is exported in evaluation mode and left as it was.
        example_inputs: what to call it with; only shapes matter, and only the first example. The map must be large
            enough for the centre unit to read no border.
        layer: module path of a layer with a weight, or of any module with units on its second axis.
        onto: module path of the layer, or any module, whose output is weighed; None is the model's input.
        units: which units, all by default.
        crop: side of the kernel; None cuts nothing but zeros.

    Raises:
        SourceError: no such layer is called, `layer` does not depend on `onto`, or the kernels would take more than
            1 GiB.
        ValueError: a unit is out of range, or `crop` is below 1.

    **Source:** Visualizing Weights (Voss and others, Distill 2021), "expanded weights": ReLU to identity, max pooling
    to average pooling, the gradient of the centre unit. Lucid computes it unit by unit on an image of 224; ours takes
    all units of a chunk at once, on images as large as the example. The product is exact on linear paths, and otherwise
    the expected gradient up to a factor if units fire independently with equal probability.

    Example:
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 2, 3))
        >>> expanded = expanded_weights(network, torch.zeros(1, 3, 9, 9), "1")
        >>> tuple(expanded.weight.shape), expanded.exact
        ((2, 3, 5, 5), True)
    """
    if crop is not None and crop < 1:
        message = f"crop must be 1 or more, not {crop}"
        raise ValueError(message)
    exported = export_graph(model, example_inputs)
    end = _output_of(exported, layer, model)
    start = _input_of(exported, model) if onto is None else _output_of(exported, onto, model)
    run = Linearised(exported.module, start, end)
    run.run(*_given(exported))
    if run.result is None or run.origin is None or not run.result.requires_grad:
        raise SourceError(layer, f"it does not depend on {onto or 'the input'}", "name an earlier layer as onto")
    answer = _centre(run.result, end)
    axis = _channel_axis(run.origin, start)
    if run.origin.ndim > 4:
        raise SourceError(onto or "the input", "it has more than two axes of positions", "name another layer as onto")
    chosen = np.arange(len(answer)) if units is None else np.asarray(units, np.int64)
    if not chosen.size or chosen.min() < 0 or chosen.max() >= len(answer):
        given = f"{chosen.min()} to {chosen.max()}" if chosen.size else "none"
        message = f"units must be 0 to {len(answer) - 1}, one or more, not {given}"
        raise ValueError(message)
    pieces: list[_Piece] = []
    for part in _chunks(chosen, MEMORY // (4 * run.largest)):
        pieces.append(_gradients(answer, run.origin, part, axis))
        _check_size(layer, len(chosen), pieces[0])
    weight, box, notes = _together(pieces, crop)
    return ExpandedWeights(
        weight=weight.float(),
        exact=not (run.replaced or run.bent),
        layer=layer,
        onto=onto or "",
        units=chosen,
        box=box,
        notes=(*_said(run), *notes),
    )


def _given(exported: Exported) -> list[Any]:
    """Values for the graph's inputs: weights as they are, zeros for what the model is called with."""
    own = iter(exported.example)
    given: list[Any] = []
    for node in exported.module.graph.find_nodes(op="placeholder"):
        value = exported.state.get(node.name) if node.name in exported.state else next(own)
        if isinstance(value, torch.Tensor):
            value = value.detach()
            value = torch.zeros_like(value) if node.name in exported.inputs and value.is_floating_point() else value
        given.append(value)
    return given


def _input_of(exported: Exported, model: nn.Module) -> fx.Node:
    node: fx.Node
    for node in exported.module.graph.find_nodes(op="placeholder"):
        value = node.meta.get("val")
        if node.name in exported.inputs and isinstance(value, torch.Tensor) and value.is_floating_point():
            return node
    problem = "it has no input of real numbers"
    raise SourceError(type(model).__name__, problem, "name the layer whose output is to be weighed: onto=")


def _output_of(exported: Exported, path: str, model: nn.Module) -> fx.Node:
    """What a module gives: the last operator that is called within it, else the one that reads its weight."""
    found: fx.Node | None = None
    node: fx.Node
    user: fx.Node
    for node in exported.module.graph.nodes:
        if node.op == "call_function" and isinstance(node.meta.get("val"), torch.Tensor):
            called_in = {str(one[0]) for one in (node.meta.get("nn_module_stack") or {}).values()}
            found = node if path in called_in else found
    if found is not None:
        return found
    for node in exported.module.graph.find_nodes(op="placeholder"):
        if exported.names.get(node.name, "").rpartition(".")[0] == path:
            for user in node.users:
                if any(part in operator_name(user.target) for part in _READING):
                    return user
    raise SourceError(type(model).__name__, f"it calls no layer {path[:80]!r}", "name a layer by its module path")


def _channel_axis(value: torch.Tensor, node: fx.Node) -> int:
    """The axis of units: the last of a matrix product and of a sequence, else the second."""
    last = operator_name(node.target) in {"linear", "addmm", "matmul", "mm", "layer_norm", "embedding"}
    convolved = "conv" in operator_name(node.target) or node.op == "placeholder"
    return value.ndim - 1 if last or (value.ndim == 3 and not convolved) else min(1, value.ndim - 1)


def _centre(result: torch.Tensor, node: fx.Node) -> torch.Tensor:
    """(units,): the centre position of the first example."""
    maps = result.movedim(_channel_axis(result, node), 1)[0] if result.ndim > 1 else result
    while maps.ndim > 1:
        maps = maps.select(-1, maps.shape[-1] // 2)
    return maps


def _chunks(units: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Units in runs of bounded size; the first alone, so that what would be too large is seen at once."""
    size = max(1, size)
    return [units[:1], *(units[first : first + size] for first in range(1, len(units), size))]


def _check_size(layer: str, units: int, piece: _Piece) -> None:
    needed = 4 * units * piece.part.numel() // max(1, len(piece.part))
    if needed > LIMIT:
        problem = f"the kernels of its {units} units would take {needed / 2**30:.1f} GiB"
        raise SourceError(layer, problem, "name fewer units, smaller inputs, or a later layer as onto")


class _Piece(NamedTuple):
    """Gradients of some units, cut to what is not zero.

    Attributes:
        part: (units, channels, h, w).
        corner: first row and first column of the part, on the whole map.
        size: height and width of the whole map.
    """

    part: torch.Tensor
    corner: tuple[int, int]
    size: tuple[int, int]


def _gradients(answer: torch.Tensor, origin: torch.Tensor, units: NDArray[np.int64], axis: int) -> _Piece:
    chosen = torch.zeros((len(units), len(answer)), dtype=answer.dtype, device=answer.device)
    chosen[torch.arange(len(units)), torch.as_tensor(units)] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # vmap says where it falls back to a loop
        (whole,) = torch.autograd.grad(answer, origin, chosen, retain_graph=True, is_grads_batched=True)
    maps = whole.movedim(axis + 1, 2)[:, 0]
    maps = maps.reshape(*maps.shape[:2], *(1, 1, *maps.shape[2:])[-2:])
    size = int(maps.shape[2]), int(maps.shape[3])
    seen = maps.ne(0).any(0).any(0)
    rows, columns = (torch.nonzero(seen.any(1 - place)).reshape(-1).tolist() for place in (0, 1))
    if not rows:
        return _Piece(maps[:, :, :0, :0].cpu(), (0, 0), size)
    cut = maps[:, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _Piece(cut.cpu().clone(), (rows[0], columns[0]), size)


def _together(pieces: Sequence[_Piece], crop: int | None) -> tuple[torch.Tensor, tuple[int, int], list[str]]:
    """All units on one box: the smallest that holds all kernels, or `crop` positions about its centre."""
    seen = [piece for piece in pieces if piece.part.numel()]
    corners = np.array([piece.corner for piece in seen] or [(0, 0)])
    ends = np.array([np.add(piece.corner, piece.part.shape[2:]) for piece in seen] or [(1, 1)])
    first, last = corners.min(0), ends.max(0)
    size = np.array(pieces[0].size if pieces else (1, 1))
    notes = []
    if (((first == 0) | (last == size)) & (size > 1)).any():
        notes.append("the kernel reaches the border of the map: larger inputs would show all of it")
    if crop is not None:
        first = (first + last - crop) // 2
        last = first + crop
    height, width = (last - first).tolist()
    whole = []
    for piece in pieces:
        canvas = torch.zeros((*piece.part.shape[:2], height, width))
        top, left = np.subtract(piece.corner, first).tolist()
        source = piece.part[:, :, max(0, -top) : height - top, max(0, -left) : width - left]
        top, left = max(0, top), max(0, left)
        canvas[:, :, top : top + source.shape[2], left : left + source.shape[3]] = source
        whole.append(canvas)
    weight = torch.cat(whole) if whole else torch.zeros((0, 0, height, width))
    return weight, (int(first[0]), int(first[1])), notes


_SENTENCES: Final = {
    "max_pool": "max pooling became average pooling",
    "gate": "what gates a product was taken as 1",
    "pow": "squares became the identity",
    "square": "squares became the identity",
    "sqrt": "roots became the identity",
    "layer_norm": "layer norms became a centring",
    "rms_norm": "norms by the root of the mean square lost their division",
    "group_norm": "group norms became a centring",
}


def _said(run: Linearised) -> tuple[str, ...]:
    notes = [_SENTENCES.get(name, f"{name} became the identity") for name in run.replaced]
    notes += [f"{name} was linearised at zero" for name in run.bent]
    return tuple(dict.fromkeys(notes))
