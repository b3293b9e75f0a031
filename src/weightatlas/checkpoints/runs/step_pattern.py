"""The pattern by which a user says where the step stands in a name: a template or a regular expression."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.runs.steps import LONGEST, parse_number, read_name

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEP: Final = r"(?P<step>[0-9]+(?:\.[0-9]+)?(?:[eE]\+?[0-9]+|[kKmMbBtT]?))"
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:e\+?[0-9]+|[kmbt])?(?![a-z])|[0-9]+", re.IGNORECASE)


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

    Numbers beside the step become "*" where names differ in them, or where there is one name alone.

    Example:
        >>> template_of(["G_1000.pth", "G_2000.pth"], ["D_1000.pth", "D_2000.pth"])
        'G_{step}.pth'
        >>> template_of(["epoch=3-step=1000"])
        'epoch=*-step={step}'
    """
    first = names[0]
    if len(first) > LONGEST or "{" in first or "*" in first:
        return None
    told = read_name(first)
    for found in reversed(list(_NUMBER.finditer(first))):
        before, after = first[: found.start()], first[found.end() :]
        exact, starred = f"{before}{{step}}{after}", f"{_NUMBER.sub('*', before)}{{step}}{_NUMBER.sub('*', after)}"
        for text in (exact, starred) if len(names) > 1 else (starred,):
            pattern = compile_pattern(text)
            steps = [pattern.step(name) for name in names]
            if told.tells and steps[0] not in {told.step, told.epoch} - {None}:
                continue
            is_each_found = None not in steps and len(set(steps)) == len(names)
            if is_each_found and all(pattern.step(other) is None for other in others):
                return text
    return None
