"""A digest by which data are known again: what a run was trained on, without keeping the data."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.data.examples import Examples

SAMPLE: Final = 64


def fingerprint_of(examples: Examples) -> str:
    """Digest all targets, the shape, and 64 inputs that are spread evenly from the first to the last.

    Inputs count as they are fetched, before augmentation and normalisation; one that cannot be read counts as absent.

    Returns:
        SHA-256, 64 hexadecimal digits.

    Example:
        >>> from weightatlas.data.examples import held_in_memory
        >>> one, other = (held_in_memory(name, torch.eye(3), torch.arange(3)) for name in "ab")
        >>> fingerprint_of(one) == fingerprint_of(other), len(fingerprint_of(one))
        (True, 64)
    """
    digest = hashlib.sha256(json.dumps([list(examples.shape), str(examples.targets.dtype)]).encode())
    _add(digest, examples.targets)
    count = len(examples)
    # Whole numbers, so that the places are the same on every machine.
    places = torch.tensor(sorted({place * (count - 1) // (SAMPLE - 1) for place in range(SAMPLE)}))
    inputs, read = examples.fetch(places)
    digest.update(str(inputs.dtype).encode())
    _add(digest, read)
    _add(digest, inputs)
    return digest.hexdigest()


def fingerprint_of_fields(fields: Mapping[str, Any]) -> str:
    """Digest plain values by their names: SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(dict(fields), sort_keys=True).encode()).hexdigest()


def _add(digest: hashlib._Hash, tensor: torch.Tensor) -> None:
    digest.update(tensor.contiguous().numpy().tobytes())
