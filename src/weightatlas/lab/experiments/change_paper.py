"""What WeightScale reports of its own runs."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

TOPS: Final = MappingProxyType(
    {
        "train_accuracy": "train top-1",
        "train_top5": "train top-5",
        "test_accuracy": "test top-1",
        "test_top5": "test top-5",
    }
)
"""The columns of the paper's table 2 and their labels, by the names of a run's figures."""

ACCURACIES: Final = tuple(TOPS)

TABLE_2: Final = MappingProxyType(
    {
        "resnet34.cifar10": (0.961, 0.999, 0.900, 0.9975),
        "resnet34.cifar100": (0.924, 0.998, 0.624, 0.871),
        "resnet34.svhn": (0.989, 0.999, 0.945, 0.993),
        "efficientnet-b4.cifar10": (0.979, 0.999, 0.891, 0.996),
        "efficientnet-b4.cifar100": (0.951, 0.999, 0.623, 0.867),
        "efficientnet-b4.svhn": (0.987, 0.999, 0.953, 0.994),
    }
)
"""The paper's table 2 by the names of our variants; what it calls ResNet50 is a ResNet-34."""

EPOCHS: Final = 25
LEARNING_RATE: Final = 1e-3
BATCH: Final = 128
"""Of its table 1; its text says 32 for EfficientNet."""

SEEDS: Final = (0, 42, 123, 1000, 1234)
"""Of the earlier paper by the same authors, which has five; WeightScale has one."""
