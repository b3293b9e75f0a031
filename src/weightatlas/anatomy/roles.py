"""Tell what each part of a network is for, once it is known what each part is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.anatomy.attention import attention_roles
from weightatlas.anatomy.convolutions import convolution_roles
from weightatlas.anatomy.naming import STATISTICS
from weightatlas.anatomy.squeeze_excite import squeeze_excite_roles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.anatomy.vocabulary import Kind, Part, Role

_BY_KIND: Final[dict[Kind, Role]] = {
    "convolution": "dense",
    "linear": "linear",
    "embedding": "embedding",
    "norm": "norm",
    "bias": "bias",
    "buffer": "other",
    "other": "other",
}


def roles_of(parts: Sequence[Part]) -> list[Role]:
    """The role of every part, in the order given, which is taken for the order of the network."""
    found = attention_roles(parts)
    found |= squeeze_excite_roles(parts, found)
    found |= convolution_roles(parts, found)
    return [
        found.get(index, "statistic" if part.parameter in STATISTICS else _BY_KIND[part.kind])
        for index, part in enumerate(parts)
    ]
