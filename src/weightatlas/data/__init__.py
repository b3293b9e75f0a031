"""Images and texts to train and measure on: built in, and readers of the layouts that people have.

The readers need nothing for training; `weightatlas.evaluation.open_data` chooses one by name and makes batches.
"""

from __future__ import annotations

from weightatlas.data.arrays import read_arrays
from weightatlas.data.augmentation import Augmentation
from weightatlas.data.cifar import read_cifar
from weightatlas.data.decoding import Fit, decode_image
from weightatlas.data.digits import digit_examples, digit_pair_examples
from weightatlas.data.examples import Examples
from weightatlas.data.feed import Feed
from weightatlas.data.image_folder import read_image_folder
from weightatlas.data.language import Language, language_examples
from weightatlas.data.modular_addition import modular_addition_examples
from weightatlas.data.normalisation import NORMALIZATIONS, Normalization, normalised
from weightatlas.data.parquet import read_parquet
from weightatlas.data.prefetch import Prefetched
from weightatlas.data.resident_feed import ResidentFeed
from weightatlas.data.scene_feed import SceneFeed
from weightatlas.data.scenes import Scenes
from weightatlas.data.splits import NoSplitError
from weightatlas.data.streamed_feed import StreamedFeed
from weightatlas.data.svhn import read_svhn
from weightatlas.data.text import read_text

__all__ = [
    "NORMALIZATIONS",
    "Augmentation",
    "Examples",
    "Feed",
    "Fit",
    "Language",
    "NoSplitError",
    "Normalization",
    "Prefetched",
    "ResidentFeed",
    "SceneFeed",
    "Scenes",
    "StreamedFeed",
    "decode_image",
    "digit_examples",
    "digit_pair_examples",
    "language_examples",
    "modular_addition_examples",
    "normalised",
    "read_arrays",
    "read_cifar",
    "read_image_folder",
    "read_parquet",
    "read_svhn",
    "read_text",
]
