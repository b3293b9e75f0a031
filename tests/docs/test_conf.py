"""Docstrings as they stand become what Sphinx reads."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def render_mathematics() -> Callable[[str], str]:
    """The hook of `docs/conf.py`."""
    found: Callable[[str], str] = runpy.run_path(str(ROOT / "docs" / "conf.py"))["render_mathematics"]
    return found


@pytest.mark.parametrize(
    ("written", "rendered"),
    [
        (r"All \(2^n\) of them.", "All :math:`2^n` of them."),
        (r"The \(n\)th unit.", r"The :math:`n`\ th unit."),
        (r"With |B| and `a | b`.", r"With \|B\| and `a | b`."),
        (r"With \(|B| \ge x\) or |C|.", r"With :math:`|B| \ge x` or \|C\|."),
        ("One \\(a +\n    b\\) two.", "One :math:`a + b` two."),
    ],
)
def test_text_and_formulas_in_it(render_mathematics: Callable[[str], str], written: str, rendered: str) -> None:
    assert render_mathematics(written) == rendered


def test_displayed_formulas_keep_their_indent_and_their_bars(render_mathematics: Callable[[str], str]) -> None:
    found = render_mathematics("    Text.\n\n    \\[ p = |a|,\n       q = b \\]\n\n    More |B|.")
    lines = [line for line in found.splitlines() if line.strip()]
    assert lines == ["    Text.", "    .. math:: p = |a|,", "        q = b", r"    More \|B\|."]


def test_examples_are_left_alone(render_mathematics: Callable[[str], str]) -> None:
    example = "    >>> 6 | 1\n    7"
    assert render_mathematics(example) == example
