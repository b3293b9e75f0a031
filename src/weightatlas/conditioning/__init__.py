"""How well a network is conditioned: smooth along its training, away from dead channels.

found = survey("model.safetensors", model="timm:resnet50", data=open_data("imagenet/val"))
singularities(model, data).points
smoothness(model, data).gradient_lipschitz
"""

from __future__ import annotations

from weightatlas.conditioning.callbacks import lightning_callback, transformers_callback
from weightatlas.conditioning.distances import Distance
from weightatlas.conditioning.gradient_terms import GradientTerms, gradient_terms
from weightatlas.conditioning.recorder import Recorder, SingularityWarning
from weightatlas.conditioning.records import read_rows
from weightatlas.conditioning.singularities import ChannelStatistics, Singularities, singularities
from weightatlas.conditioning.smoothness import Smoothness, smoothness
from weightatlas.conditioning.snapshots import Snapshot
from weightatlas.conditioning.survey import Conditioning, survey
from weightatlas.recording.schedules import log_spaced

__all__ = [
    "ChannelStatistics",
    "Conditioning",
    "Distance",
    "GradientTerms",
    "Recorder",
    "Singularities",
    "SingularityWarning",
    "Smoothness",
    "Snapshot",
    "gradient_terms",
    "lightning_callback",
    "log_spaced",
    "read_rows",
    "singularities",
    "smoothness",
    "survey",
    "transformers_callback",
]
