"""Handwritten digits of 8 x 8 pixels that come with scikit-learn, alone or in pairs."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import torch

from weightatlas.data.examples import Examples, held_in_memory
from weightatlas.data.seeds import derived_seed
from weightatlas.data.splits import choose_split

WHITE: Final = 16
"""The largest value of a pixel."""

TESTED: Final = 5
"""Every fifth digit is tested on."""

PAIRING: Final = 8
"""Marks the seed of the pairs."""

CLASSES: Final = tuple("0123456789")


def digit_examples(*, split: str | None = None) -> Examples:
    """The 1,797 digits of scikit-learn's `load_digits`.

    They lie in the order in which they were written; every fifth is tested on (360), all others are trained on (1,437).
    Both splits have digits of the same 13 writers: held-out accuracy is that on known hands.

    Args:
        split: "train" (taken if left out) or "test".

    Returns:
        Examples with inputs float32 (1, 8, 8) between 0 and 1, and targets int64 (n,).

    Raises:
        NoSplitError: there is no such split.

    **Source:** Alpaydin and Kaynak, Optical Recognition of Handwritten Digits (1998), the test set of the UCI
    repository, CC BY 4.0, as scikit-learn ships it.

    Example:
        >>> examples = digit_examples(split="test")
        >>> len(examples), examples.shape
        (360, (1, 8, 8))
    """
    chosen = choose_split("digits", ["train", "test"], split)
    images, targets = _digits(chosen)
    return held_in_memory("digits", images[:, None], targets, classes=CLASSES, split=chosen)


def digit_pair_examples(*, seed: int = 0, split: str | None = None) -> Examples:
    """Pairs of digits, both to be named: two tasks that have nothing to do with each other.

    Each digit of a split is the first of one pair and the second of another; which two meet is drawn from the seed.

    Args:
        seed: fixes which digits meet.
        split: "train" (taken if left out) or "test".

    Returns:
        Examples with inputs float32 (2, 8, 8) between 0 and 1, and targets int64 (n, 2): a position a task.

    Raises:
        NoSplitError: there is no such split.

    Example:
        >>> examples = digit_pair_examples(split="test")
        >>> examples.shape, examples.targets.shape
        ((2, 8, 8), torch.Size([360, 2]))
    """
    chosen = choose_split("digit-pairs", ["train", "test"], split)
    images, targets = _digits(chosen)
    generator = torch.Generator().manual_seed(derived_seed(seed, PAIRING, int(chosen == "test")))
    partners = torch.randperm(len(targets), generator=generator)
    pairs = torch.stack([images, images[partners]], dim=1)
    answers = torch.stack([targets, targets[partners]], dim=1)
    return held_in_memory("digit-pairs", pairs, answers, classes=CLASSES, split=chosen)


@lru_cache(maxsize=2)
def _digits(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    from sklearn.datasets import load_digits  # only now: it takes as long to import as all of this package

    found = load_digits()
    tested = np.arange(len(found.target)) % TESTED == 0
    chosen = tested if split == "test" else ~tested
    images = torch.from_numpy((found.images[chosen] / WHITE).astype(np.float32))
    return images, torch.from_numpy(found.target[chosen].astype(np.int64))
