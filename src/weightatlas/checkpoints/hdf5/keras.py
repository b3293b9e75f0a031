"""HDF5 files of weights: Keras 1 and 2, Keras 3, and any other, whose arrays are taken by their paths.

Kernels are stored (h, w, in, out) and come out (out, in, h, w); weights take torch's names. The file is parsed by a
child process, and links that leave it are not followed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.contents import Contents, Header
from weightatlas.checkpoints.hdf5.hdf5_file import Hdf5, Part, has_signature, list_hdf5
from weightatlas.checkpoints.hdf5.keras2 import open_keras2, weights_group
from weightatlas.checkpoints.hdf5.keras3 import is_keras3, open_keras3

if TYPE_CHECKING:
    from weightatlas.checkpoints.places.blob import Blob


def detect_keras(_blob: Blob, head: bytes) -> bool:
    """Whether a file is HDF5."""
    return has_signature(head)


def open_keras(blob: Blob) -> Contents:
    """List the arrays of an HDF5 file, one layer after the other where Keras wrote it.

    Raises:
        SourceError: the file is truncated or corrupt, or its parser crashed or did not come back in time.
    """
    file = list_hdf5(Part(blob, 0, blob.size))
    group = weights_group(file)
    if group is not None:
        return open_keras2(file, group)
    return open_keras3(file) if is_keras3(file) else open_arrays(file)


def open_arrays(file: Hdf5) -> Contents:
    """List the arrays of an HDF5 file that Keras did not write."""
    skipped = [Skipped(name, reason) for name, reason in file.links.items()]
    headers: list[Header] = []
    for name, array in file.arrays.items():
        reason = file.reason(name)
        if reason is not None:
            skipped.append(Skipped(name, reason))
            continue
        headers.append(file.header(array, name, name.replace("/", ".")))
    note = "an HDF5 file that Keras did not write; its arrays are taken by their paths"
    return Contents("HDF5", headers, file.read, skipped=skipped, notes=[note])
