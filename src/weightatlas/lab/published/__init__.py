"""Recipes as they were published: networks that train with one or two images, and the figures beside them."""

from __future__ import annotations

from weightatlas.lab.published.catalogue import PUBLISHED, network, open_recipe
from weightatlas.lab.published.configurations import configuration_of, differences
from weightatlas.lab.published.figures import PublishedFigure
from weightatlas.lab.published.recipe import PublishedRecipe
from weightatlas.lab.published.tasks import Classification, Detection, Segmentation, Task
from weightatlas.lab.published.temporal_shift import ShiftedResNet50, TemporalShift

__all__ = [
    "PUBLISHED",
    "Classification",
    "Detection",
    "PublishedFigure",
    "PublishedRecipe",
    "Segmentation",
    "ShiftedResNet50",
    "Task",
    "TemporalShift",
    "configuration_of",
    "differences",
    "network",
    "open_recipe",
]
