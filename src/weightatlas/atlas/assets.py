"""What makes the page self-contained: our scripts as one module, the charts' library deflated, and the policy."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from functools import cache
from pathlib import Path
from typing import Any, Final

import vl_convert

FOLDER: Final = Path(__file__).parent / "assets"
MODULES: Final = (
    "dom.js",
    "csv.js",
    "tables.js",
    "pixels.js",
    "tissue.js",
    "inspector.js",
    "slides.js",
    "columns.js",
    "charts.js",
    "links.js",
    "main.js",
)
"""Our modules, each after those it imports from."""
ARRIVAL: Final = 'window.dispatchEvent(new CustomEvent("atlas:charts", { detail: vegaEmbed }));'
"""How the library hands itself over: an inline module tells nobody when it has run."""

_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


@cache
def script() -> str:
    """Our modules as one: in order, without the lines by which they name each other.

    The modules share one scope on the page, so no two may give the same name to different things.
    """
    parts = (_EXPORT.sub("", _IMPORT.sub("", (FOLDER / name).read_text(encoding="utf-8"))) for name in MODULES)
    return "".join(parts)


@cache
def style() -> str:
    """Our style sheet."""
    return (FOLDER / "atlas.css").read_text(encoding="utf-8")


@cache
def chart_library() -> tuple[str, str]:
    """Vega, Vega-Lite and vega-embed as the installed vl-convert bundles them: deflated in base64, and their hash."""
    bundle = vl_convert.javascript_bundle(ARRIVAL).encode()
    return base64.b64encode(zlib.compress(bundle, 9)).decode(), _hash(bundle)


def policy(scripts: list[str]) -> str:
    """The page's Content-Security-Policy: the scripts of these hashes run, pictures are inline, nothing connects.

    Example:
        >>> policy(["sha256-abc="]).split("; ")[:2]
        ["default-src 'none'", "script-src 'sha256-abc='"]
    """
    allowed = " ".join(f"'{item}'" for item in scripts)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {allowed}",
            "style-src 'unsafe-inline'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def script_hash(text: str) -> str:
    """The hash by which the policy knows a script."""
    return _hash(text.encode())


def embedded_json(data: Any) -> str:  # noqa: ANN401 - any JSON
    r"""JSON that is safe inside a script element whatever it holds.

    Example:
        >>> embedded_json({"layer": "</script>"})
        '{"layer":"\\u003c/script>"}'
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash(content: bytes) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}"
