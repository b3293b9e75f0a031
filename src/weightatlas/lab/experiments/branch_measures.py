"""What Branch Specialization's experiment measures of a run: what its branches took, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from weightatlas.checkpoints import open_checkpoint
from weightatlas.evaluation import open_model
from weightatlas.lab.experiments.branch_blocks import measure_blocks
from weightatlas.lab.experiments.branch_first_layer import (
    branch_figures,
    course,
    first_layer,
    hidden_branches,
    layer_arrays,
    signed_figures,
)
from weightatlas.lab.experiments.experiment import Measure, Measurement
from weightatlas.nn import ParallelBranches, ResidualNetwork

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from weightatlas.lab.experiments.experiment import Figure
    from weightatlas.lab.running import Run

SEPARATE: Final = (
    Measure(
        "separation",
        "colour between branches",
        compared=True,
        description="share of the variance of chroma that lies between branches, less chance",
    ),
    Measure(
        "excess",
        "information, bits",
        compared=True,
        description="of colour (chroma above .2) and branch, less chance",
    ),
    Measure(
        "frequency_separation",
        "frequency between branches",
        compared=True,
        description="share of the variance of frequency that lies between branches, less chance",
    ),
)
"""The primary measures of the first layer; of a network without branches, of the halves of its hidden axis."""

SIGNED: Final = tuple(
    Measure(f"{figure}_{which}", f"{figure}, {label}", compared=True, description=f"mean {figure} of {told}")
    for figure in ("chroma", "frequency")
    for which, label, told in (
        ("narrow", "narrow less wide", "the narrow branch less that of the wide one"),
        ("large", "large less small kernels", "the branch of large kernels less that of small ones"),
    )
)
"""Which branch took what; the primary ones of width crossed with kernel size."""

BLOCKS: Final = (
    Measure(
        "block_separation",
        "colour between blocks",
        compared=True,
        description="share of the variance of units' colour scores within stages that lies between blocks, less chance",
    ),
    Measure(
        "block_excess",
        "information of blocks, bits",
        compared=True,
        description="of a unit's family and its residual block, within stages, less chance",
    ),
    Measure(
        "neighbour_excess",
        "information of neighbouring blocks",
        compared=True,
        description="the same of each two blocks that follow each other: no drift with depth",
    ),
)
"""The primary measures of residual blocks."""

MEASURES: Final = (
    *SEPARATE,
    *SIGNED,
    *BLOCKS,
    Measure("information", "information, raw", "number", description="of colour and branch, chance included"),
    Measure("p_value", "p", "probability", description="of as much information by chance"),
    Measure("colour_share", "colour units", "share", description="units of chroma above .2"),
    Measure("purity", "in one branch", "share", description="colour units in the branch that has most of them"),
    Measure("chroma_gap", "chroma, most less least", "number", description="between the means of branches"),
    Measure(
        "frequency_of_colour",
        "frequency of the colour branch",
        description="mean frequency of the branch of most chroma less that of least",
    ),
    Measure(
        "chroma_middle",
        "chroma of the middle, large less small",
        description="of kernels cut to the smaller size: no rim of a large kernel counts",
    ),
    Measure("onset", "onset, of the run", "share", description="from when on colour and branch depend (q < .05)"),
    Measure("start_separation", "colour between, at the start", description="of the first weights: chance"),
    Measure("hidden_p", "hidden axis: p", "probability", description="of the first hidden axis"),
    Measure("hidden_second_p", "second axis: p", "probability", description="of the second"),
    Measure("hidden_chroma", "hidden axis: |rho|, chroma", "number", description="rank correlation with chroma"),
    Measure("hidden_chroma_p", "its p", "probability", description="by permutation of the units"),
    Measure("hidden_frequency", "hidden axis: |rho|, frequency", "number", description="and with frequency"),
    Measure("hidden_second_chroma", "second axis: |rho|, chroma", "number", description="of the second axis"),
    Measure("hidden_second_frequency", "second axis: |rho|, frequency", "number", description="and with frequency"),
    Measure("block_share", "share of families' entropy", "share", description="information of what there is to know"),
    Measure("block_p", "blocks: p", "probability", description="of as much information of blocks by chance"),
    Measure("block_start", "blocks at the start", description="information of blocks of the first weights"),
    Measure("families", "families of units", "integer", description="in residual blocks"),
)
"""The figures of each run, the primary ones first."""


def measure_branches(run: Run) -> Measurement:
    """Measure what the branches of a finished run took.

    Of a network with branches, its first layer: information of colour and branch (chroma above .2) and `separation`
    of chroma, which needs no threshold, and of frequency. Of one without, the same of the halves of its first hidden
    axis (`implicit`, balanced), so that a branched network and its twin are compared like with like. Of two branches
    that may differ, which took what, signed. Of a residual network, the families of the units within its blocks.

    Chroma is a share of a kernel's energy and free of its size; frequency is not, so kernels of different size are cut
    to the smallest about their centres before it is measured.

    Arrays: `first/chroma`, `first/frequency`, `first/branch`, `first/names`, `kernels/0`, ... (pictures of the kernels
    of each branch), `hidden/axes`, `onset/step`, `onset/excess` and `onset/separation`; of residual networks
    `blocks/units`, (blocks, families) counts, with `blocks/names` and `blocks/families`.

    Raises:
        SourceError: the run's checkpoints cannot be read.
    """
    with torch.device("meta"):
        model = open_model(run.configuration.model, seed=run.configuration.seed)
    if isinstance(model, ResidualNetwork):
        return measure_blocks(run)
    checkpoint = open_checkpoint(str(run.checkpoint))
    branches = None if isinstance(model, ParallelBranches) else _groups(model)
    layer = first_layer(checkpoint, branches)
    arrays: dict[str, npt.NDArray[Any]] = {}
    figures: dict[str, Figure] = {}
    if branches == 1:
        first, second = checkpoint["conv1.weight"], checkpoint["conv2.weight"]
        layer, figures, arrays["hidden/axes"] = hidden_branches(first, second, layer)
    else:
        figures, arrays = course(str(run.folder), branches, steps=run.steps)
    if isinstance(model, ParallelBranches):
        figures |= signed_figures(layer)
    return Measurement(branch_figures(layer) | figures, arrays | layer_arrays(layer))


def _groups(model: nn.Module) -> int:
    """In how many branches the second layer reads the first."""
    second = model.get_submodule("conv2")
    if not isinstance(second, torch.nn.Conv2d):
        message = f"{type(model).__name__} has no convolution conv2"
        raise TypeError(message)
    return second.groups
