"""A model on data: open a model by name, load a checkpoint into it, open data by name, score one on the other.

model = open_model("torchvision:resnet18", checkpoint="resnet18.safetensors")
for inputs, targets in open_data("cifar10:data?split=test"): ...
"""

from __future__ import annotations

from weightatlas.evaluation.batches import Data
from weightatlas.evaluation.curvature import HessianEigenvalues, hessian_eigenvalues
from weightatlas.evaluation.datasets import open_data
from weightatlas.evaluation.example import example_inputs, image_size
from weightatlas.evaluation.feeds import feed_of
from weightatlas.evaluation.load_report import Cast, LoadReport, Reshaped
from weightatlas.evaluation.loading import load_checkpoint
from weightatlas.evaluation.models import open_model
from weightatlas.evaluation.nonlinearities import Point, nonlinearities
from weightatlas.evaluation.overlap import Overlap, mean_overlap
from weightatlas.evaluation.saving import save_weights
from weightatlas.evaluation.scoring import Score, evaluate

__all__ = [
    "Cast",
    "Data",
    "HessianEigenvalues",
    "LoadReport",
    "Overlap",
    "Point",
    "Reshaped",
    "Score",
    "evaluate",
    "example_inputs",
    "feed_of",
    "hessian_eigenvalues",
    "image_size",
    "load_checkpoint",
    "mean_overlap",
    "nonlinearities",
    "open_data",
    "open_model",
    "save_weights",
]
