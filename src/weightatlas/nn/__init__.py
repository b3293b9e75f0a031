"""Layers and networks to build with: poolings, heads, coordinates, and the papers' networks."""

from __future__ import annotations

from weightatlas.nn.alexnet import AlexNet
from weightatlas.nn.batch_channel_norm import BatchChannelNorm1d, BatchChannelNorm2d, BatchChannelNorm3d, group_count
from weightatlas.nn.branched import BRANCHES, BranchedNetwork
from weightatlas.nn.conversion.report import Conversion, Folding
from weightatlas.nn.convert import convert
from weightatlas.nn.coordinates import CoordConv2d, coordinate_channels
from weightatlas.nn.film import SpatialFilm
from weightatlas.nn.folding import fold
from weightatlas.nn.heads import HEADS, HeadName, build_head
from weightatlas.nn.hidden_heads import ChannelGroups, GlobalMaxHidden
from weightatlas.nn.language_model import LanguageModel
from weightatlas.nn.map_head import MapHead
from weightatlas.nn.modular_addition import ModularAdditionTransformer
from weightatlas.nn.networks import ARTICLE, SMALL, Group, SimplifiedNetwork
from weightatlas.nn.parallel_branches import ParallelBranches
from weightatlas.nn.perceptron import Perceptron
from weightatlas.nn.pooling import L2Pool2d
from weightatlas.nn.position_means import AllPositions, ColumnMeans, GlobalMean, RowAndColumnMeans, RowMeans
from weightatlas.nn.position_weights import FullMask, PositionAttention, SpatialMasks
from weightatlas.nn.residual import DEPTHS, ResidualNetwork
from weightatlas.nn.segmentation import Segmenter
from weightatlas.nn.standardization import STANDARDIZATIONS, Standardization, standardize
from weightatlas.nn.synchronised import synchronised
from weightatlas.nn.update_rate import accumulation_rate, follow_learning_rate, set_update_rate
from weightatlas.nn.ws_conv import (
    WSConv1d,
    WSConv2d,
    WSConv3d,
    WSConvTranspose1d,
    WSConvTranspose2d,
    WSConvTranspose3d,
)
from weightatlas.nn.ws_parametrization import standardized_parametrization

__all__ = [
    "ARTICLE",
    "BRANCHES",
    "DEPTHS",
    "HEADS",
    "SMALL",
    "STANDARDIZATIONS",
    "AlexNet",
    "AllPositions",
    "BatchChannelNorm1d",
    "BatchChannelNorm2d",
    "BatchChannelNorm3d",
    "BranchedNetwork",
    "ChannelGroups",
    "ColumnMeans",
    "Conversion",
    "CoordConv2d",
    "Folding",
    "FullMask",
    "GlobalMaxHidden",
    "GlobalMean",
    "Group",
    "HeadName",
    "L2Pool2d",
    "LanguageModel",
    "MapHead",
    "ModularAdditionTransformer",
    "ParallelBranches",
    "Perceptron",
    "PositionAttention",
    "ResidualNetwork",
    "RowAndColumnMeans",
    "RowMeans",
    "Segmenter",
    "SimplifiedNetwork",
    "SpatialFilm",
    "SpatialMasks",
    "Standardization",
    "WSConv1d",
    "WSConv2d",
    "WSConv3d",
    "WSConvTranspose1d",
    "WSConvTranspose2d",
    "WSConvTranspose3d",
    "accumulation_rate",
    "build_head",
    "convert",
    "coordinate_channels",
    "fold",
    "follow_learning_rate",
    "group_count",
    "set_update_rate",
    "standardize",
    "standardized_parametrization",
    "synchronised",
]
