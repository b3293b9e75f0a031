"""How well a network is conditioned: smooth along its training, away from dead channels.

found = survey("model.safetensors", model="timm:resnet50", data=open_data("imagenet/val"))
singularities(model, data).points
smoothness(model, data).gradient_lipschitz
"""

from __future__ import annotations

from weightatlas.conditioning.gradient_terms import GradientTerms, gradient_terms
from weightatlas.conditioning.singularities import ChannelStatistics, Singularities, singularities
from weightatlas.conditioning.smoothness import Smoothness, smoothness
from weightatlas.conditioning.snapshots import Snapshot
from weightatlas.conditioning.survey import Conditioning, survey

__all__ = [
    "ChannelStatistics",
    "Conditioning",
    "GradientTerms",
    "Singularities",
    "Smoothness",
    "Snapshot",
    "gradient_terms",
    "singularities",
    "smoothness",
    "survey",
]
