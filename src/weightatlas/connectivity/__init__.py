"""Whether two networks are joined by a straight line, once aligned, and what predicts the barrier between them.

found = symmetries(model, example_inputs)
matching = match(model, a, b, found)
barrier(model, a, matching.align(b), data).loss_barrier.height
"""

from __future__ import annotations

from weightatlas.anatomy.symmetry import (
    PermutationGroup,
    Pinned,
    Symmetries,
    TensorAxis,
    from_git_re_basin,
    symmetries,
    to_git_re_basin,
)
from weightatlas.connectivity.barrier import Barrier, barrier
from weightatlas.connectivity.curvature import PathCurvature, path_curvature
from weightatlas.connectivity.forking import ForkedPair, ForkGeometry, fork_geometry, forked_pairs
from weightatlas.connectivity.landscape import Plane, plane
from weightatlas.connectivity.layer_groups import layer_groups
from weightatlas.connectivity.layerwise import LayerBarrier, layer_barriers
from weightatlas.connectivity.line import interpolate
from weightatlas.connectivity.logits import LogitDecomposition, logit_decomposition
from weightatlas.connectivity.matching import Matching, match
from weightatlas.connectivity.merge import Merged, merge
from weightatlas.connectivity.prediction import predicted_barriers
from weightatlas.connectivity.rank_agreement import RankAgreement, rank_agreement
from weightatlas.connectivity.scoring.heights import Height
from weightatlas.connectivity.survey import Connection, survey
from weightatlas.connectivity.toy import ToyForks, ToyLandscape, ridge, toy_forks

__all__ = [
    "Barrier",
    "Connection",
    "ForkGeometry",
    "ForkedPair",
    "Height",
    "LayerBarrier",
    "LogitDecomposition",
    "Matching",
    "Merged",
    "PathCurvature",
    "PermutationGroup",
    "Pinned",
    "Plane",
    "RankAgreement",
    "Symmetries",
    "TensorAxis",
    "ToyForks",
    "ToyLandscape",
    "barrier",
    "fork_geometry",
    "forked_pairs",
    "from_git_re_basin",
    "interpolate",
    "layer_barriers",
    "layer_groups",
    "logit_decomposition",
    "match",
    "merge",
    "path_curvature",
    "plane",
    "predicted_barriers",
    "rank_agreement",
    "ridge",
    "survey",
    "symmetries",
    "to_git_re_basin",
    "toy_forks",
]
