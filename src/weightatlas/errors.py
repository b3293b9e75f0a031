"""What the package raises when an input cannot be used: one sentence that says what, one that says what to do."""

from __future__ import annotations


def visible(text: str) -> str:
    r"""A text on one line, with Python's escape in place of whatever does not print.

    Example:
        >>> print(visible("conv\x1b[31m1\n"))
        conv\x1b[31m1\n
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


class WeightatlasError(Exception):
    """Base of every error that the package raises on purpose."""


class SourceError(WeightatlasError, ValueError):
    """An input cannot be used.

    Attributes:
        source: the name the user gave: a path, a URL, a zoo name.
        problem: what is wrong with it.
        remedy: what the user can do about it.
    """

    def __init__(self, source: object, problem: str, remedy: str) -> None:
        """Join the three parts into one line; whatever of a file's names does not print stands as an escape."""
        self.source = str(source)
        self.problem = problem
        self.remedy = remedy
        super().__init__(visible(f"{source}: {problem}; {remedy}"))

    def __reduce__(self) -> tuple[type[SourceError], tuple[str, str, str]]:
        """Survive the trip back from a worker process."""
        return type(self), (self.source, self.problem, self.remedy)


class NotFiniteError(WeightatlasError, ValueError, ArithmeticError):
    """Numbers that must be finite are NaN or infinite: weights, what reaches a layer, a loss or its derivatives."""


class MissingDependencyError(SourceError, ImportError):
    """An optional package is needed and not installed; the remedy is the pip line that installs it."""

    def __init__(self, need: object, package: str, extra: str) -> None:
        """Name what was asked for, the package it needs and the extra of weightatlas that brings it."""
        super().__init__(need, f"{package} is not installed", f"pip install 'weightatlas[{extra}]'")
        self._made_of = (str(need), package, extra)

    def __reduce__(self) -> tuple[type[MissingDependencyError], tuple[str, str, str]]:
        """Survive the trip back from a worker process."""
        return type(self), self._made_of
