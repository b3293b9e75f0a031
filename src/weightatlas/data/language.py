"""A language with a known entropy: what comes next depends on the last few symbols, and on nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import torch

from weightatlas.data.examples import Examples, held_in_memory
from weightatlas.data.seeds import derived_seed
from weightatlas.data.splits import choose_split

Difficulty = Literal["easy", "medium", "hard"]
ORDERS: Final[dict[Difficulty, int]] = {"easy": 1, "medium": 2, "hard": 3}
"""On how many symbols the next depends."""

SYMBOLS: Final = "abcdefgh"
CHANCES: Final = (1 / 2, 1 / 4, 1 / 8, 1 / 8)
"""Of the symbols that may follow, in the order of the law."""

CONTEXT: Final = 64
COUNTS: Final = {"train": 16_384, "test": 2_048}
"""Texts of each split."""

LAW: Final = 4
"""Marks the seed of the law; the texts' are those of the splits, 5 and 6."""


@dataclass(frozen=True, slots=True)
class Language:
    r"""Draw texts from a Markov chain of order k over eight symbols, whose entropy is the same for every k.

    After each of the 8^k contexts four symbols may follow, with chances 1/2, 1/4, 1/8, 1/8; which four, and in which
    order, is drawn once for each context. So whatever the law of the contexts is, the next symbol has

    $$H = \tfrac12 \ln 2 + \tfrac14 \ln 4 + \tfrac28 \ln 8 = 1.75 \ln 2 = 1.2130 \text{ nats}$$

    and the best guess is right half the time. A model that knows only the last symbol gets there if k = 1; for k = 2
    and 3 it has to combine as many, and to know 64 and 512 contexts instead of 8. The task becomes harder, its optimum
    stays. The first k symbols of a text are uniform on all eight, so k - 1 of its T targets have an entropy of ln 8:
    the lowest loss over all is ((k - 1) ln 8 + (T - k + 1) H) / T.

    Attributes:
        difficulty: "easy" (k = 1), "medium" (2) or "hard" (3).
        seed: fixes the law and the texts.

    Raises:
        ValueError: the difficulty is unknown.

    **Source:** our own. That chains of higher order ask for more of a transformer than induction over the last symbol
    is known (Edelman and others, The Evolution of Statistical Induction Heads, 2024), whose chains differ from text to
    text; ours is one law, to be learned by heart.

    Example:
        >>> language = Language("medium", seed=1)
        >>> language.draw(2, 10, split="train").shape, round(language.entropy, 4)
        ((2, 10), 1.213)
    """

    difficulty: Difficulty = "easy"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.difficulty not in ORDERS:
            message = f"difficulty must be one of {', '.join(get_args(Difficulty))}, not {self.difficulty!r}"
            raise ValueError(message)

    @property
    def order(self) -> int:
        """On how many symbols the next depends, k."""
        return ORDERS[self.difficulty]

    @property
    def entropy(self) -> float:
        """Of the next symbol where its context is known, in nats."""
        return -sum(chance * math.log(chance) for chance in CHANCES)

    def lowest_loss(self, context: int = CONTEXT) -> float:
        """The mean entropy of the targets of a text, in nats: no model's expected loss lies below it."""
        free = self.order - 1
        return (free * math.log(len(SYMBOLS)) + (context - free) * self.entropy) / context

    def law(self) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """The four symbols that may follow each context, the likeliest first: (8^k, 4).

        The number of a context has its symbols as digits to the base 8, the last symbol the lowest.
        """
        generator = np.random.default_rng(derived_seed(self.seed, LAW))
        keys = generator.random((len(SYMBOLS) ** self.order, len(SYMBOLS)))
        followers: np.ndarray[tuple[int, int], np.dtype[np.int64]] = keys.argsort(axis=1)[:, : len(CHANCES)]
        return followers

    def draw(self, texts: int, length: int, *, split: str) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """Draw texts, each a chain of its own: (texts, length), numbers of symbols.

        Args:
            texts: how many; the first of them are the same however many there are.
            length: of each.
            split: "train" or "test".
        """
        law = self.law()
        generator = np.random.default_rng(derived_seed(self.seed, LAW + 1 + list(COUNTS).index(split)))
        chances = generator.random((texts, length))
        drawn = np.empty((texts, length), dtype=np.int64)
        context = np.zeros(texts, dtype=np.int64)
        choices = np.searchsorted(np.cumsum(CHANCES), chances, side="right").clip(max=len(CHANCES) - 1)
        for place in range(length):
            if place < self.order:
                drawn[:, place] = (chances[:, place] * len(SYMBOLS)).astype(np.int64)
            else:
                drawn[:, place] = law[context, choices[:, place]]
            context = (context * len(SYMBOLS) + drawn[:, place]) % len(law)
        return drawn


def language_examples(
    *, difficulty: Difficulty = "easy", seed: int = 0, split: str | None = None, context: int = CONTEXT
) -> Examples:
    """Texts of a `Language` as examples: each position's target is the symbol after it.

    Args:
        difficulty: of the language.
        seed: fixes the law and the texts.
        split: "train" (16,384 texts, taken if left out) or "test" (2,048).
        context: symbols of a text.

    Returns:
        Examples with inputs float32 (context,), whole numbers, and targets int64 (n, context).

    Raises:
        NoSplitError: there is no such split.
        ValueError: the difficulty is unknown.

    Example:
        >>> examples = language_examples(split="test", context=8)
        >>> inputs, _ = examples.fetch(torch.arange(2))
        >>> inputs[:, 1:].equal(examples.targets[:2, :-1].float()), examples.targets.shape
        (True, torch.Size([2048, 8]))
    """
    name = "text"
    chosen = choose_split(name, list(COUNTS), split)
    drawn = torch.from_numpy(Language(difficulty, seed).draw(COUNTS[chosen], context + 1, split=chosen))
    return next_symbols(name, drawn, classes=tuple(SYMBOLS), split=chosen)


def next_symbols(name: str, texts: torch.Tensor, *, classes: tuple[str, ...], split: str) -> Examples:
    """Examples of texts (n, context + 1): all symbols but the last as inputs, all but the first as targets.

    Inputs are whole numbers in floating point, as all that is no image.
    """
    inputs = texts[:, :-1].to(torch.float32)
    return held_in_memory(name, inputs, texts[:, 1:].to(torch.int64), classes=classes, split=split)
