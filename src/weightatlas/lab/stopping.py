"""Stop a run before its last update, once what is held out is answered well enough."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from weightatlas.evaluation.scoring import Score

SCORES: Final = {"test_accuracy": "accuracy", "test_loss": "loss", "test_top5": "top5"}
"""What a rule may be about, by the name that metrics have, and the field of a `Score`."""

RULE: Final = re.compile(rf"({'|'.join(SCORES)})\s*([<>])\s*(\d+\.?\d*|\.\d+)")
EXAMPLES: Final = "a rule such as test_accuracy>0.999 or test_loss<0.1"


@dataclass(frozen=True, slots=True)
class StopRule:
    """When a run has come far enough.

    Attributes:
        score: field of a `Score` that is looked at.
        above: whether it must be above the border; below it else.
        border: what it must pass; the border itself does not do.
        every: updates between two looks.
        held: looks in a row that must find it so.

    Example:
        >>> from weightatlas.evaluation.scoring import Score
        >>> rule = StopRule.parsed("test_accuracy>0.9", every=10, held=2)
        >>> [rule.looks(step) for step in (0, 5, 10)], rule.count(1, Score(0.3, 0.95, 1.0, 100))
        ([False, False, True], 2)
    """

    score: str
    above: bool
    border: float
    every: int = 100
    held: int = 1

    @classmethod
    def parsed(cls, text: str, *, every: int = 100, held: int = 1) -> StopRule:
        """Read a rule as flags and TOML have it.

        Raises:
            ValueError: it is no such rule.
        """
        found = RULE.fullmatch(text.strip())
        if found is None:
            message = f"stop must be {EXAMPLES}, not {text!r}"
            raise ValueError(message)
        name, sign, border = found.groups()
        return cls(SCORES[name], sign == ">", float(border), every, held)

    def looks(self, step: int) -> bool:
        """Whether it is time to look after so many updates."""
        return step > 0 and step % self.every == 0

    def count(self, before: int, score: Score) -> int:
        """How many looks in a row have found it so, after one more; 0 where this one has not."""
        value = getattr(score, self.score)
        return before + 1 if (value > self.border if self.above else value < self.border) else 0
