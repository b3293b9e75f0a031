"""Whether checkpoints are of one network: the same layers, parameters and shapes, whatever the format or wrapping."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.checkpoints.checkpoint import Checkpoint

Signature = frozenset[tuple[str, str, tuple[int, ...]]]
"""Layer, parameter and shape of every tensor."""

SHARED: Final = 0.9
"""The least part of all tensors that checkpoints of one network share, shapes included: a buffer or a tied tensor may
come and go, a vocabulary grow."""

DISTINCT: Final = 64
"""The most networks that are compared each with each."""

OPTIMIZER_STATE: Final = frozenset(
    {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "acc_delta", "exp_inf", "step", "sum"}
)
"""What torch's optimizers keep for each parameter."""


def signature(checkpoint: Checkpoint) -> Signature:
    """Layer, parameter and shape of every tensor of a checkpoint, from its headers."""
    return frozenset((tensor.layer, tensor.parameter, tensor.shape) for tensor in checkpoint.info.values())


def is_optimizer(found: Signature) -> bool:
    """Whether tensors are an optimizer's state alone: all but a few are named for its moments."""
    named = sum(parameter in OPTIMIZER_STATE for _, parameter, _ in found)
    return named > SHARED * len(found)


def leading(signatures: Sequence[Signature]) -> list[Signature]:
    """The network that most are of; several where as many are of each, the earliest first."""
    counts = Counter(signatures)
    distinct = [found for found, _ in counts.most_common(DISTINCT)]
    alike = [sum(counts[other] for other in distinct if is_same_network(other, found)) for found in distinct]
    leaders: list[Signature] = []
    for found, count in zip(distinct, alike, strict=True):
        if count == max(alike) and not any(is_same_network(found, leader) for leader in leaders):
            leaders.append(found)
    return leaders


def difference(found: Signature, reference: Signature) -> str:
    """How a network differs from another, in words; empty if it does not.

    Example:
        >>> conv, fc = ("conv1", "weight", (8, 3, 5, 5)), ("fc", "weight", (10, 8))
        >>> difference(frozenset([conv, ("fc", "weight", (100, 8))]), frozenset([conv, fc]))
        'fc.weight is 100×8, not 10×8'
        >>> difference(frozenset([conv]), frozenset([conv, fc]))
        'without fc.weight'
    """
    shapes = {tensor[:2]: tensor[2] for tensor in reference}
    reshaped = sorted(tensor for tensor in found - reference if tensor[:2] in shapes)
    extra = sorted(tensor[:2] for tensor in found if tensor[:2] not in shapes)
    missing = sorted(shapes.keys() - {tensor[:2] for tensor in found})
    parts = []
    if missing:
        parts.append(f"without {_first(missing)}")
    if extra:
        parts.append(f"with {_first(extra)}" + ("" if missing or reshaped else " besides"))
    if reshaped:
        layer, parameter, shape = reshaped[0]
        others = f" and {len(reshaped) - 1} more shapes differ" if len(reshaped) > 1 else ""
        parts.append(f"{_name(layer, parameter)} is {_shape(shape)}, not {_shape(shapes[layer, parameter])}{others}")
    return "; ".join(parts)


def is_same_network(found: Signature, reference: Signature) -> bool:
    """Whether two signatures are of one network: nearly all tensors are in both, with the same shapes."""
    names = {tensor[:2] for tensor in found | reference}
    return len(found & reference) >= SHARED * len(names)


def _first(tensors: Sequence[tuple[str, str]]) -> str:
    rest = f" and {len(tensors) - 1} more" if len(tensors) > 1 else ""
    return f"{_name(*tensors[0])}{rest}"


def _name(layer: str, parameter: str) -> str:
    return printable(layer if layer == parameter else f"{layer}.{parameter}", limit=80)


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a scalar"
