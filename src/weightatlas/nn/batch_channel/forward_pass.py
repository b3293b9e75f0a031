"""What a forward pass runs in: eagerly, under a compiler or a transformation, or a second time."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad


def is_eager(values: torch.Tensor) -> bool:
    """Whether kernels run as they are called, on numbers that are there.

    Not so under `torch.compile`, `torch.export`, `torch.jit.trace` and `torch.func`, in forward-mode differentiation,
    on the meta device and with fake tensors: those are given plain operators.
    """
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:  # noqa: SLF001 - no public name
        return False
    return type(values) is torch.Tensor and not values.is_meta and not _is_transformed()


def is_repeated() -> bool:
    """Whether another forward pass sees the same values, so that what counts batches must leave this one out.

    So in a checkpoint's second pass, which runs inside the backward pass, and under `torch.func` and forward-mode
    differentiation, where a function must not write to its buffers. A compiled graph has each write once, whatever is
    computed twice.
    """
    if torch.compiler.is_compiling():
        return False
    return torch._C._current_graph_task_id() != -1 or _is_transformed()  # noqa: SLF001 - as torch's checkpoint asks


def _is_transformed() -> bool:
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0  # noqa: SLF001 - no public name
