"""A numpy archive with `inputs` and `targets`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weightatlas.checkpoints.opening import open_checkpoint
from weightatlas.data.examples import Examples, held_in_memory
from weightatlas.data.splits import NoSplitError
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def read_arrays(path: Path, *, split: str | None = None) -> Examples:
    """Open an `.npz` archive that holds `inputs` (n, ...) and `targets` (n, ...).

    Bytes of three or four dimensions are images: (n, h, w), (n, h, w, c) or (n, c, h, w), where c is 1 or 3 and the
    last axis counts first. Everything else becomes float32 as it is. Integer targets become int64, others float32. An
    array that is stored uncompressed is mapped: batches read what they need of it. With a split, the names are
    `SPLIT_inputs` and `SPLIT_targets`.

    Args:
        path: the archive.
        split: prefix of the two names; None is no prefix, or "train" where there are only names with one.

    Raises:
        NoSplitError: it holds neither name of the split.
        SourceError: it is no archive, lacks one of the two, or they do not have the same length.
    """
    archive = open_checkpoint(path, layout="oihw")
    if split is None and "inputs" not in archive and "train_inputs" in archive:
        split = "train"
    prefix = "" if split is None else f"{split}_"
    names = (f"{prefix}inputs", f"{prefix}targets")
    absent = [name for name in names if name not in archive]
    if absent:
        listed = ", ".join(key[:40] for key in list(archive)[:8])
        kind = NoSplitError if split is not None and len(absent) == 2 else SourceError
        raise kind(path, f"no array {absent[0][:80]!r}", f"save it with that name; there is {listed}")
    inputs, targets = (archive[name] for name in names)
    if inputs.ndim < 1 or targets.ndim < 1 or len(inputs) != len(targets) or not len(inputs):
        problem = f"inputs of {list(inputs.shape)} and targets of {list(targets.shape)}"
        raise SourceError(path, problem, "save as many targets as inputs, one or more")
    if inputs.dtype == torch.uint8:
        inputs = _as_images(inputs)
    whole = not (targets.is_floating_point() or targets.is_complex())
    return held_in_memory(str(path), inputs, targets.to(torch.int64 if whole else torch.float32), split=split)


def _as_images(inputs: torch.Tensor) -> torch.Tensor:
    """Bytes with the channels in front, as a view."""
    if inputs.ndim == 3:
        return inputs[:, None]
    if inputs.ndim == 4 and inputs.shape[3] in {1, 3}:
        return inputs.permute(0, 3, 1, 2)
    return inputs
