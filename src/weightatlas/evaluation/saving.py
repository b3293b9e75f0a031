"""A model's weights into a file that `open_checkpoint` and every other reader of safetensors can open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from safetensors.torch import save_model

from weightatlas.errors import SourceError
from weightatlas.files import replacing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from torch import nn

SUFFIX: Final = ".safetensors"


def save_weights(model: nn.Module, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write the parameters and buffers of a model to a `.safetensors` file, whole or not at all.

    A tensor that stands under several names is written once; its other names are kept in the file's metadata.

    Args:
        model: the model.
        path: ends in `.safetensors`.
        metadata: texts to keep with the weights.

    Returns:
        The path.

    Raises:
        SourceError: the path has another suffix, or a tensor holds no values (the meta device).

    Example:
        >>> import tempfile
        >>> from torch import nn
        >>> from weightatlas.checkpoints import open_checkpoint
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = save_weights(nn.Linear(3, 2), f"{folder}/model.safetensors")
        ...     sorted(open_checkpoint(written))
        ['bias', 'weight']
    """
    target = Path(path)
    if target.suffix.lower() != SUFFIX:
        raise SourceError(target, "weights are written as safetensors", f"end the name in {SUFFIX}")
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise SourceError(target, "the model has no values to write", "build it on a device that holds them")
    with replacing(target) as temporary:
        save_model(model, str(temporary), metadata=dict(metadata or {}))
    return target
