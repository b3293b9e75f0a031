"""After which steps of a training something is recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal

Schedule = Callable[[int], int]
"""Gives the first step to be recorded after a given one."""

Every = int | Literal["log"] | Schedule

NEAR: Final = 3
"""How many candidates around the exact place of a step on the logarithmic scale are looked at."""


def schedule(every: Every) -> Schedule:
    """Give the schedule that a user names: a number of steps, "log" for 1, 2, 4, 8 and so on, or one made already.

    Raises:
        ValueError: it is none of these.

    Example:
        >>> following = schedule("log")
        >>> following(0), following(1), following(5)
        (1, 2, 8)
    """
    if every == "log":
        return _doubling
    if callable(every):
        return every
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        message = f'every must be a number of steps, "log", or a schedule as log_spaced gives it, not {every!r}'
        raise ValueError(message)
    return lambda step: (step // every + 1) * every


def log_spaced(per_decade: float) -> Schedule:
    """Record so many steps between 1 and 10, as many between 10 and 100, and so on, evenly on a logarithmic scale.

    They are the numbers 10^(k / per_decade) rounded to whole steps, k = 0, 1, 2, ...; those that fall on one are one.

    Raises:
        ValueError: `per_decade` is not a positive number.

    Example:
        >>> following, steps = log_spaced(3), [0]
        >>> while steps[-1] < 1000:
        ...     steps.append(following(steps[-1]))
        >>> steps
        [0, 1, 2, 5, 10, 22, 46, 100, 215, 464, 1000]
    """
    if not (math.isfinite(per_decade) and per_decade > 0):
        message = f"per_decade must be a positive number, not {per_decade!r}"
        raise ValueError(message)

    def following(step: int) -> int:
        if step < 1:
            return 1
        place = math.floor(math.log10(step) * per_decade)
        while True:
            for candidate in range(place, place + NEAR):
                value = round(10 ** (candidate / per_decade))
                if value > step:
                    return value
            place += NEAR

    return following


def forward(step: int, *, after: int | None) -> int:
    """Give a step that a recorder is called with, if it does not lie before the step of the call before.

    Raises:
        ValueError: it does.

    Example:
        >>> forward(3, after=2)
        3
    """
    if after is not None and step < after:
        message = f"steps go forward: {step} came after {after}"
        raise ValueError(message)
    return step


def _doubling(step: int) -> int:
    return 1 << max(step, 0).bit_length()
