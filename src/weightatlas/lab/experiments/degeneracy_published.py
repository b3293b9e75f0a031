"""Published edges of modular addition: how many must stay between two layers for the accuracy to stay."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MODULUS: Final = 113
"""Of the published networks; those of another are not compared with them."""

SEEDS: Final = (0, 1, 2, 3, 4)
"""Of the published networks; the draw of the data is the same for all."""

PAIRS: Final = MappingProxyType({"residual_pre": "ln1.0", "residual_mid": "ln2.0", "residual_post": "unembed"})
"""Our points, and what they are called there: the edges are those from a point to the next."""

PCA: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "residual_pre": (167, 76, 99, 115, 130),
        "residual_mid": (114, 53, 71, 71, 117),
        "residual_post": (682, 734, 598, 547, 752),
    }
)
"""Edges between principal components, seed by seed."""

LOCAL: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "residual_pre": (133, 80, 71, 58, 91),
        "residual_mid": (82, 75, 71, 60, 82),
        "residual_post": (633, 699, 610, 535, 694),
    }
)
"""Edges between directions of the Local Interaction Basis, seed by seed.

**Source:** results kept in the repository ApolloResearch/rib (MIT), `rib_scripts/rib_build/sample_configs_modadd/out/
*edge_ablation_results.json`, of networks of Bushnaq and others, The Local Interaction Basis (2405.10928): p = 113,
60,000 updates of full batches, accuracy within a tenth of a point. That code counts with the mask of its last proposal
in one setting; which setting made these files is not said.
"""
