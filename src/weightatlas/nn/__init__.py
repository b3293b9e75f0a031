"""Layers and networks to build with: L2 pooling and the papers' networks."""

from __future__ import annotations

from weightatlas.nn.networks import ARTICLE, HEADS, SMALL, Group, Head, SimplifiedNetwork
from weightatlas.nn.pooling import L2Pool2d

__all__ = ["ARTICLE", "HEADS", "SMALL", "Group", "Head", "L2Pool2d", "SimplifiedNetwork"]
