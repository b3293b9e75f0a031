"""Addition modulo p: a task that a small network first learns by heart, and later understands."""

from __future__ import annotations

import math
from typing import Final

import torch

from weightatlas.data.examples import Examples, held_in_memory
from weightatlas.data.seeds import derived_seed
from weightatlas.data.splits import choose_split

MODULUS: Final = 113
"""Of the published networks."""

FRACTION: Final = 0.3
"""Share of all sums that the published networks are trained on."""

DRAW: Final = 7
"""Marks the seed of the draw: none is that of the language's texts, 4 to 6."""


def modular_addition_examples(
    *, p: int = MODULUS, fraction: float = FRACTION, seed: int = 0, split: str | None = None
) -> Examples:
    r"""All sums modulo p, part of them to train on and the rest to test on.

    The inputs are the p^2 sequences of three symbols (a, b, =) with a and b from 0 to p - 1 and the number p for "=";
    the target is (a + b) mod p. A random order of all is drawn from the seed: its first floor(fraction p^2) are the
    training split, all others the test split.

    Args:
        p: the modulus, 2 or more; a prime in the published runs, which the task does not ask for.
        fraction: share of all sums in the training split, above 0 and below 1.
        seed: fixes which sums are trained on.
        split: "train" (taken if left out) or "test".

    Returns:
        Examples with inputs float32 (3,), whole numbers as all that is no image, and targets int64 (n,).

    Raises:
        NoSplitError: there is no such split.
        ValueError: the modulus or the fraction has no meaning, or leaves a split without a sum.

    **Source:** Power and others, Grokking (2022); in this form (p = 113, 30 %) Nanda and others, Progress Measures for
    Grokking via Mechanistic Interpretability (2023), whose networks Bushnaq and others, The Local Interaction Basis
    (2405.10928), measure. Theirs is one draw for all seeds; ours is one a seed.

    Example:
        >>> examples = modular_addition_examples(p=5, fraction=0.4, seed=1)
        >>> len(examples), len(modular_addition_examples(p=5, fraction=0.4, seed=1, split="test"))
        (10, 15)
        >>> inputs, _ = examples.fetch(torch.arange(10))
        >>> bool(((inputs[:, 0] + inputs[:, 1]) % 5 == examples.targets).all()), set(inputs[:, 2].tolist())
        (True, {5.0})
    """
    name = "modular-addition"
    if p < 2 or not 0 < fraction < 1:
        message = f"p must be 2 or more and the fraction between 0 and 1, not p={p} and fraction={fraction}"
        raise ValueError(message)
    trained = math.floor(fraction * p * p)
    if not 0 < trained < p * p:
        message = f"a fraction of {fraction} of {p * p} sums leaves one split empty"
        raise ValueError(message)
    chosen = choose_split(name, ["train", "test"], split)
    generator = torch.Generator().manual_seed(derived_seed(seed, DRAW))
    order = torch.randperm(p * p, generator=generator)
    numbers = order[:trained] if chosen == "train" else order[trained:]
    first, second = numbers // p, numbers % p
    inputs = torch.stack([first, second, torch.full_like(first, p)], dim=1).to(torch.float32)
    classes = tuple(str(answer) for answer in range(p))
    return held_in_memory(name, inputs, (first + second) % p, classes=classes, split=chosen)
