"""Residual blocks taken for parallel branches: do units of one kind gather in some of them?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.branching.gathering.information import entropy, mutual_information, permuted_tables
from weightatlas.branching.measured import measured_tuning
from weightatlas.branching.responses.preferences import LABELS
from weightatlas.evaluation import open_model
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.records import RunFolder
from weightatlas.nn.residual import BasicBlock, Bottleneck

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from torch import nn

    from weightatlas.branching.measured import LayerResponses
    from weightatlas.lab.experiments.experiment import Figure
    from weightatlas.lab.running import Run

    Counts = npt.NDArray[np.int64]
    Values = npt.NDArray[np.float64]

PERMUTATIONS: Final = 999

PICTURE: Final = 32
"""Side of the pictures that units are asked with: about that of the images they were trained on."""

COLOUR: Final = LABELS.index("colour")

Stages = Mapping[str, Sequence[Sequence[str]]]
"""For each stage its blocks in order, for each block the families of its units."""


def measure_blocks(run: Run) -> Measurement:
    r"""Measure what the residual blocks of a finished run took.

    A unit of a block is one of the convolution within it that looks at space: what the block computes before it adds to
    the stream. Each is labelled by `measured_tuning`: colour, black-and-white, curve, high-low frequency, other; its
    colour score, how much more it answers to colour than to grey, needs no threshold.

    Raises:
        SourceError: the run's checkpoints cannot be read.
    """
    answers = block_answers(run, run.checkpoint)
    stages = {stage: [block.labels for block in blocks] for stage, blocks in answers.items()}
    colour = {stage: [block.family_scores[:, COLOUR] for block in blocks] for stage, blocks in answers.items()}
    figures = block_figures(stages) | {"block_separation": block_separation(colour)}
    start = RunFolder(run.folder).checkpoint(0)
    if start.is_file():
        first = block_answers(run, start)
        untrained = {stage: [block.labels for block in blocks] for stage, blocks in first.items()}
        figures["block_start"] = gathering(tables_of(untrained)).excess
    return Measurement(figures, block_arrays(stages))


def block_answers(run: Run, checkpoint: Path) -> dict[str, list[LayerResponses]]:
    """What the units of every residual block answer to, by stage."""
    model = open_model(run.configuration.model, checkpoint=checkpoint, seed=run.configuration.seed)
    layers = inner_layers(model)
    names = [name for blocks in layers.values() for name in blocks]
    found = measured_tuning(model, names, size=PICTURE, source=str(run.folder))
    return {stage: [found.layers[name] for name in blocks] for stage, blocks in layers.items()}


def inner_layers(model: nn.Module) -> dict[str, list[str]]:
    """The convolution that looks at space first in each residual block, by stage, in the order of the network."""
    found: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        if isinstance(module, BasicBlock | Bottleneck):
            inner = "conv1" if isinstance(module, BasicBlock) else "conv2"
            found.setdefault(name.rpartition(".")[0], []).append(f"{name}.{inner}")
    return found


def block_separation(stages: Mapping[str, Sequence[Values]]) -> float:
    r"""Share of the variance of a score within stages that lies between blocks, less what chance gives.

    \[ 1 - \frac{W / (n - B)}{T / (n - S)} \]

    for n units in B blocks of S stages, W the sum of squares about the means of blocks and T about those of stages: 0
    on average where blocks are permuted among the units of each stage.

    Args:
        stages: for each stage its blocks, for each block a score for every unit; NaN is left out.

    Example:
        >>> block_separation({"layer1": [np.array([0.0, 0.0]), np.array([1.0, 1.0])]})
        1.0
    """
    known = [[block[np.isfinite(block)] for block in blocks] for blocks in stages.values()]
    blocks = [block for stage in known for block in stage if block.size]
    wholes = [np.concatenate(stage) for stage in known if sum(block.size for block in stage)]
    units = sum(block.size for block in blocks)
    within, total = (sum(float(((part - part.mean()) ** 2).sum()) for part in parts) for parts in (blocks, wholes))
    if total == 0 or units <= len(blocks):
        return math.nan
    return 1 - within / total * (units - len(wholes)) / (units - len(blocks))


@dataclass(frozen=True, slots=True)
class Gathering:
    """Information of family and block, within stages, beside its null.

    Attributes:
        information: bits, the mean over units.
        null_mean: where blocks are permuted among the units of their stage.
        p_value: of as much or more there.
        family_entropy: bits of the families within stages: no information is larger.
    """

    information: float
    null_mean: float
    p_value: float
    family_entropy: float

    @property
    def excess(self) -> float:
        """Bits beyond what chance gives."""
        return self.information - self.null_mean


def tables_of(stages: Stages) -> list[Counts]:
    """The units of each family in each block, (families, blocks), a table a stage; families in alphabetical order.

    Example:
        >>> tables_of({"layer1": [["curve", "other"], ["other", "other"]]})
        [array([[1, 0],
               [1, 2]])]
    """
    families = sorted({family for blocks in stages.values() for block in blocks for family in block})
    return [
        np.array([[list(block).count(family) for block in blocks] for family in families], dtype=np.int64)
        for blocks in stages.values()
    ]


def gathering(tables: Sequence[Counts], *, permutations: int = PERMUTATIONS, seed: int = 0) -> Gathering:
    r"""How much the block of a unit tells of its family, where its stage is known.

    \[ I(F; B \mid S) = \sum_s \frac{n_s}{n} I_s \]

    with I_s the mutual information in the n_s units of stage s. Stages have units and resolutions of their own, so only
    blocks of one stage are alike. **Null:** blocks are permuted among the units of each stage.

    Args:
        tables: (families, blocks) of each stage.
        permutations: drawn; the smallest p is one in one more.
        seed: of the draws.

    Example:
        >>> found = gathering([np.array([[8, 0], [0, 8]])])
        >>> round(found.information, 9), found.p_value
        (1.0, 0.001)
    """
    sizes = np.array([table.sum() for table in tables], dtype=np.float64)
    shares = sizes / max(float(sizes.sum()), 1.0)
    own = sum(share * float(mutual_information(table)) for share, table in zip(shares, tables, strict=True))
    seeds = np.random.SeedSequence(seed).generate_state(len(tables)).tolist()
    null: Values = np.zeros(permutations)
    for share, table, each in zip(shares, tables, seeds, strict=True):
        drawn = np.concatenate([mutual_information(some) for some in permuted_tables(table, permutations, seed=each)])
        null += share * drawn
    hits = int(np.count_nonzero(null >= own - 1e-9))
    whole = sum(share * entropy(table.sum(axis=1)) for share, table in zip(shares, tables, strict=True))
    return Gathering(float(own), float(null.mean()), (1 + hits) / (1 + permutations), float(whole))


def block_figures(stages: Stages) -> dict[str, Figure]:
    """The figures of a residual network from the families of the units of its blocks."""
    tables = tables_of(stages)
    found = gathering(tables)
    neighbours = [table[:, [block, other]] for table in tables for block, other in pairwise(range(table.shape[1]))]
    close = gathering(neighbours)
    return {
        "block_excess": found.excess,
        "block_share": found.excess / found.family_entropy if found.family_entropy else None,
        "block_p": found.p_value,
        "neighbour_excess": close.excess,
        "families": len(tables[0]),
    }


def block_arrays(stages: Stages) -> dict[str, npt.NDArray[Any]]:
    """What plates show: units of each family in each block."""
    tables = tables_of(stages)
    names = [f"{stage}.{number}" for stage, blocks in stages.items() for number in range(len(blocks))]
    families = sorted({family for blocks in stages.values() for block in blocks for family in block})
    return {
        "blocks/units": np.concatenate(tables, axis=1).T,
        "blocks/names": np.array(names, dtype=np.str_),
        "blocks/families": np.array(families, dtype=np.str_),
    }
