"""How many directions of a network's weights are free, which basis it computes in, and which modules remain.

counts(model, data).exact
basis = interaction_basis(model, data, at=["fc1", "fc2", "output"])
modules(interactions(model, data, basis)).count
"""

from __future__ import annotations

from weightatlas.degeneracy.ablation import EdgeAblation, NodeAblation, edge_ablation, node_ablation
from weightatlas.degeneracy.block_directions import block_directions
from weightatlas.degeneracy.counts import Counts, LayerCounts, counts
from weightatlas.degeneracy.gauss_newton import GaussNewtonRank, gauss_newton_rank
from weightatlas.degeneracy.grams import LayerGrams, layer_grams
from weightatlas.degeneracy.heads import head_directions, head_pairs, shift_directions
from weightatlas.degeneracy.hessian_bracket import HessianRank, hessian_bracket, hessian_rank
from weightatlas.degeneracy.interaction_basis import InteractionBasis, interaction_basis
from weightatlas.degeneracy.interactions import Interactions, LayerEdges, interactions
from weightatlas.degeneracy.jacobian import JacobianRank, RankCurve, jacobian_rank
from weightatlas.degeneracy.layer_gram import LayerGram
from weightatlas.degeneracy.learning_coefficient import LearningCoefficient, learning_coefficient
from weightatlas.degeneracy.modules import Modules, modules
from weightatlas.degeneracy.point_basis import PointBasis
from weightatlas.degeneracy.rectified import RectifiedLayer, rectified_layers
from weightatlas.degeneracy.spectra import Spectrum
from weightatlas.degeneracy.streams import Stream, Streams, streams
from weightatlas.degeneracy.structure import Structure
from weightatlas.degeneracy.structure_points import structure_points
from weightatlas.degeneracy.survey import Degeneracy, survey
from weightatlas.degeneracy.synchrony import Synchrony, synchrony
from weightatlas.degeneracy.temperatures import asymptotic_coefficient
from weightatlas.degeneracy.wiring.consumers import Consumer
from weightatlas.degeneracy.wiring.head_pairs import HeadPair

__all__ = [
    "Consumer",
    "Counts",
    "Degeneracy",
    "EdgeAblation",
    "GaussNewtonRank",
    "HeadPair",
    "HessianRank",
    "InteractionBasis",
    "Interactions",
    "JacobianRank",
    "LayerCounts",
    "LayerEdges",
    "LayerGram",
    "LayerGrams",
    "LearningCoefficient",
    "Modules",
    "NodeAblation",
    "PointBasis",
    "RankCurve",
    "RectifiedLayer",
    "Spectrum",
    "Stream",
    "Streams",
    "Structure",
    "Synchrony",
    "asymptotic_coefficient",
    "block_directions",
    "counts",
    "edge_ablation",
    "gauss_newton_rank",
    "head_directions",
    "head_pairs",
    "hessian_bracket",
    "hessian_rank",
    "interaction_basis",
    "interactions",
    "jacobian_rank",
    "layer_grams",
    "learning_coefficient",
    "modules",
    "node_ablation",
    "rectified_layers",
    "shift_directions",
    "streams",
    "structure_points",
    "survey",
    "synchrony",
]
