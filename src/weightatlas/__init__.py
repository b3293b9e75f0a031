"""The atlas of a neural network's weights: large-scale structure, measured against null models and drawn.

The names below load on first use, so that `import weightatlas` alone is light: neither torch nor pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightatlas import (
        anatomy,
        atlas,
        banding,
        branching,
        change,
        checkpoints,
        conditioning,
        connectivity,
        data,
        degeneracy,
        evaluation,
        lab,
        nn,
    )
    from weightatlas.atlas import write_atlas
    from weightatlas.checkpoints import open_checkpoint, open_trajectory

__version__ = "0.1.0"
__all__ = [
    "anatomy",
    "atlas",
    "banding",
    "branching",
    "change",
    "checkpoints",
    "conditioning",
    "connectivity",
    "data",
    "degeneracy",
    "evaluation",
    "lab",
    "nn",
    "open_checkpoint",
    "open_trajectory",
    "write_atlas",
]

_ROOMS = (
    "anatomy",
    "atlas",
    "banding",
    "branching",
    "change",
    "checkpoints",
    "conditioning",
    "connectivity",
    "data",
    "degeneracy",
    "evaluation",
    "lab",
    "nn",
)
_NAMES = {
    "open_checkpoint": "weightatlas.checkpoints",
    "open_trajectory": "weightatlas.checkpoints",
    "write_atlas": "weightatlas.atlas",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a room or a function, known to type checkers from the imports above
    if name in _ROOMS:
        return import_module(f"weightatlas.{name}")
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    message = f"module 'weightatlas' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
