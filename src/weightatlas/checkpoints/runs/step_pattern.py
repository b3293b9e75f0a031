"""The pattern by which a user says where the step stands in a name: a template or a regular expression."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.runs.steps import LONGEST, parse_number

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEP: Final = r"(?P<step>[0-9]+(?:\.[0-9]+)?(?:[eE]\+?[0-9]+|[kKmMbBtT]?))"
_DIGITS: Final = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class StepPattern:
    """Where the step stands.

    Attributes:
        text: as the user wrote it.
        expression: finds it in a name.
        inner: the file that a template names below the folder of a step: "model.pt" of "step{step}/model.pt".
    """

    text: str
    expression: re.Pattern[str]
    inner: str = ""

    def step(self, name: str) -> int | None:
        """The step in a name; None where the pattern does not match, or what it finds is no whole number."""
        match = self.expression.search(name)
        if match is None:
            return None
        found = match["step"] if "step" in self.expression.groupindex else match[1]
        return parse_number(found) if found else None


def compile_pattern(text: str) -> StepPattern:
    r"""Read a pattern: a template with `{step}` (and `*` for anything), else a regular expression.

    A regular expression has a group named `step`, or one group, and is searched for; a template is the whole name.

    Raises:
        ValueError: it is no regular expression, or none of its groups is the step.

    Example:
        >>> compile_pattern("model_{step}.pt").step("model_010.pt"), compile_pattern(r"n(\d+)").step("run-n7.pt")
        (10, 7)
    """
    if "{step}" in text:
        outer, slash, inner = text.partition("/")
        if "{step}" in inner or not slash:
            outer, inner = text, ""
        parts = [re.escape(part).replace(r"\*", ".*") for part in outer.split("{step}")]
        first, rest = parts[0] + _STEP, ".*".join(parts[1:])
        return StepPattern(text, re.compile(rf"(?:^|/){first}{rest}/?$"), inner)
    try:
        expression = re.compile(text)
    except re.error as error:
        message = f"pattern {text!r} is no regular expression ({error}) and has no {{step}}"
        raise ValueError(message) from error
    if "step" not in expression.groupindex and expression.groups != 1:
        message = f"pattern {text!r} must have a group named step, or one group, or be a template with {{step}}"
        raise ValueError(message)
    return StepPattern(text, expression)


def template_of(names: Sequence[str], others: Sequence[str] = ()) -> str | None:
    """The template that finds a step of its own in each of some names and in none of the others; None if none does.

    Example:
        >>> template_of(["G_1000.pth", "G_2000.pth"], ["D_1000.pth", "D_2000.pth"])
        'G_{step}.pth'
    """
    first = names[0]
    if len(first) > LONGEST or "{step}" in first or "*" in first:
        return None
    for digits in reversed(list(_DIGITS.finditer(first))):
        text = f"{first[: digits.start()]}{{step}}{first[digits.end() :]}"
        pattern = compile_pattern(text)
        steps = {pattern.step(name) for name in names}
        if (
            None not in steps
            and len(steps) == len(names)
            and not any(pattern.step(other) is not None for other in others)
        ):
            return text
    return None
