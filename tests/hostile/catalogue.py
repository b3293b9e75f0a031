"""All hostile files, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.hostile import (
    archive_lies,
    distributed_lies,
    folder_lies,
    foreign_files,
    gguf_lies,
    hdf5_lies,
    onnx_lies,
    pickle_bombs,
    pickle_routes,
    safetensors_lies,
    truncated_files,
)

if TYPE_CHECKING:
    from tests.hostile.case import Hostile

CATALOGUE: Final[tuple[Hostile, ...]] = (
    *pickle_routes.cases(),
    *pickle_bombs.cases(),
    *safetensors_lies.cases(),
    *archive_lies.cases(),
    *distributed_lies.cases(),
    *folder_lies.cases(),
    *foreign_files.cases(),
    *hdf5_lies.cases(),
    *gguf_lies.cases(),
    *onnx_lies.cases(),
    *truncated_files.cases(),
)
