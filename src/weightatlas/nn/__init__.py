"""Layers and networks to build with: poolings, heads, coordinates, and the papers' networks."""

from __future__ import annotations

from weightatlas.nn.alexnet import AlexNet
from weightatlas.nn.branched import BRANCHES, BranchedNetwork
from weightatlas.nn.coordinates import CoordConv2d, coordinate_channels
from weightatlas.nn.film import SpatialFilm
from weightatlas.nn.heads import HEADS, HeadName, build_head
from weightatlas.nn.hidden_heads import ChannelGroups, GlobalMaxHidden
from weightatlas.nn.language_model import LanguageModel
from weightatlas.nn.map_head import MapHead
from weightatlas.nn.networks import ARTICLE, SMALL, Group, SimplifiedNetwork
from weightatlas.nn.parallel_branches import ParallelBranches
from weightatlas.nn.pooling import L2Pool2d
from weightatlas.nn.position_means import AllPositions, ColumnMeans, GlobalMean, RowAndColumnMeans, RowMeans
from weightatlas.nn.position_weights import FullMask, PositionAttention, SpatialMasks
from weightatlas.nn.residual import DEPTHS, ResidualNetwork
from weightatlas.nn.synchronised import synchronised

__all__ = [
    "ARTICLE",
    "BRANCHES",
    "DEPTHS",
    "HEADS",
    "SMALL",
    "AlexNet",
    "AllPositions",
    "BranchedNetwork",
    "ChannelGroups",
    "ColumnMeans",
    "CoordConv2d",
    "FullMask",
    "GlobalMaxHidden",
    "GlobalMean",
    "Group",
    "HeadName",
    "L2Pool2d",
    "LanguageModel",
    "MapHead",
    "ParallelBranches",
    "PositionAttention",
    "ResidualNetwork",
    "RowAndColumnMeans",
    "RowMeans",
    "SimplifiedNetwork",
    "SpatialFilm",
    "SpatialMasks",
    "build_head",
    "coordinate_channels",
    "synchronised",
]
