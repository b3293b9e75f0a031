"""The rows of `weightatlas layers`: what is in a checkpoint, from headers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.anatomy.layers import Layer

COLUMNS: Final = ("layer", "tensor", "kind", "role", "shape", "dtype", "parameters", "bytes", "skipped")


class Unreadable(Protocol):
    """Something in a source that is no tensor; `checkpoints.Skipped` is one."""

    @property
    def name(self) -> str: ...  # noqa: D102 - described where it is set
    @property
    def reason(self) -> str: ...  # noqa: D102


class Listed(Protocol):
    """What a listing needs of a checkpoint; `checkpoints.Checkpoint` is one."""

    @property
    def layers(self) -> tuple[Layer, ...]: ...  # noqa: D102 - described where they are set
    @property
    def skipped(self) -> Sequence[Unreadable]: ...  # noqa: D102


def layer_rows(checkpoint: Listed) -> list[dict[str, Any]]:
    """One row a tensor, in the order of the file, then one for each thing that cannot be read, with the reason.

    The fields are `layer, tensor, kind, role, shape, dtype, parameters, bytes, skipped`; nothing is read but headers,
    and neither torch nor pandas is loaded.
    """
    rows = [layer_row(layer) for layer in checkpoint.layers]
    return rows + [unreadable_row(COLUMNS, entry) for entry in checkpoint.skipped]


def layer_row(layer: Layer) -> dict[str, Any]:
    """What a header says of one tensor, as a row."""
    return {
        "layer": layer.layer,
        "tensor": layer.tensor,
        "kind": layer.kind,
        "role": layer.role,
        "shape": list(layer.shape),
        "dtype": layer.dtype,
        "parameters": layer.parameters,
        "bytes": layer.nbytes,
        "skipped": layer.skipped,
    }


def unreadable_row(columns: Sequence[str], entry: Unreadable) -> dict[str, Any]:
    """A row for something that is in the source and is no tensor: its name, the reason, and nothing else."""
    layer = entry.name.removesuffix(".weight")
    return dict.fromkeys(columns) | {"layer": layer, "tensor": entry.name, "skipped": entry.reason}
