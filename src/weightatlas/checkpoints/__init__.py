"""Where weights come from: places, formats, and runs of many. Untrusted input: nothing in it runs.

`open_checkpoint` tells what a source is and hands it to the format that reads it; `open_trajectory` puts the
checkpoints of a training run in order. What needs more than headers loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from weightatlas.checkpoints.checkpoint import Checkpoint, Skipped, TensorInfo
from weightatlas.checkpoints.opening import open_checkpoint

if TYPE_CHECKING:
    from weightatlas.checkpoints.runs.opening_run import open_trajectory
    from weightatlas.checkpoints.runs.trajectory import Trajectory
    from weightatlas.checkpoints.torchvision_operators import import_torchvision
    from weightatlas.checkpoints.writing.write_like import Written, write_like
    from weightatlas.checkpoints.zoo import zoo_model

__all__ = [
    "Checkpoint",
    "Skipped",
    "TensorInfo",
    "Trajectory",
    "Written",
    "import_torchvision",
    "open_checkpoint",
    "open_trajectory",
    "write_like",
    "zoo_model",
]

_MODULES = {
    "Trajectory": "runs.trajectory",
    "Written": "writing.write_like",
    "import_torchvision": "torchvision_operators",
    "open_trajectory": "runs.opening_run",
    "write_like": "writing.write_like",
    "zoo_model": "zoo",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - known to type checkers from the imports above
    if name in _MODULES:
        return getattr(import_module(f"weightatlas.checkpoints.{_MODULES[name]}"), name)
    message = f"module 'weightatlas.checkpoints' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
