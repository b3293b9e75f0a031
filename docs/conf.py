# ruff: noqa: INP001
r"""How the pages are built: MyST Markdown, and docstrings as they stand, mathematics in \( \) and \[ \]."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import weightatlas

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "weightatlas"
author = "The weightatlas authors"
release = weightatlas.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build"]
default_role = "code"
html_theme = "furo"
html_title = "weightatlas"
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "groupwise"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

_DISPLAYED: Final = re.compile(r"^([ \t]*)\\\[(.*?)\\\]", re.DOTALL | re.MULTILINE)
_INLINE: Final = re.compile(r"\\\((.+?)\\\)", re.DOTALL)
_LITERAL: Final = re.compile(r"(:math:`[^`]*`(?:\\ )?|`[^`]*`)")
_TEXT_BAR: Final = re.compile(r"(?<!\\)\|")


def render_mathematics(docstring: str) -> str:
    r"""Turn `\( \)` and `\[ \]` into what reStructuredText reads, and keep a bar in the text a bar.

    Example:
        >>> print(render_mathematics("Where |B| is \\(2^n\\)."))
        Where \|B\| is :math:`2^n`.
    """
    docstring = _DISPLAYED.sub(_block, docstring)
    docstring = _INLINE.sub(_role, docstring)
    return "\n\n".join(
        paragraph if ">>>" in paragraph or paragraph.lstrip().startswith(".. math::") else _with_bars(paragraph)
        for paragraph in docstring.split("\n\n")
    )


def _block(match: re.Match[str]) -> str:
    indent = match[1]
    lines = [f"{indent}    {line.strip()}" for line in match[2].strip().splitlines() if line.strip()]
    return f"\n{indent}.. math:: {lines[0].strip()}\n" + "\n".join(lines[1:]) + "\n"


def _role(match: re.Match[str]) -> str:
    after = match.string[match.end() : match.end() + 1]
    return f":math:`{' '.join(match[1].split())}`" + ("\\ " if after.isalnum() else "")


def _with_bars(paragraph: str) -> str:
    """Escape the bars of running text, which would else name substitutions."""
    parts = _LITERAL.split(paragraph)
    return "".join(part if place % 2 else _TEXT_BAR.sub(r"\|", part) for place, part in enumerate(parts))


def process_docstring(_app: Sphinx, _what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Rewrite a docstring in place, before napoleon reads its sections."""
    lines[:] = render_mathematics("\n".join(lines)).splitlines()


def setup(app: Sphinx) -> None:
    """Hook into autodoc ahead of napoleon, which listens at 500."""
    app.connect("autodoc-process-docstring", process_docstring, priority=400)
