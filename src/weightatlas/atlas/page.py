"""The atlas: one self-contained HTML page that says its findings first and shows every plate."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2
from markupsafe import Markup, escape

from weightatlas.atlas import assets
from weightatlas.atlas.cells import axis_label, json_rows, plain
from weightatlas.atlas.chapters import gather
from weightatlas.atlas.charts import compound, facet_theme, faceted, prepared, theme
from weightatlas.atlas.colours import css_variables, page_colours
from weightatlas.atlas.columns import branch_specimens, columns_view
from weightatlas.atlas.slides import frontispiece, slide_anchors, slides_view
from weightatlas.atlas.tables import FOLD_AT, table_view
from weightatlas.files import replacing
from weightatlas.plate import Chart, Columns, Slides, Table

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from weightatlas.atlas.chapters import Chapter, HasPlates, NumberedPlate
    from weightatlas.atlas.slides import Specimen

NOTE: Final = (
    "Every score stands beside its null: what chance alone would give. Grey marks the range of the null; one colour "
    "marks what the findings speak of. All else is ink, so that colour is left for the weights."
)
CHART_ROWS_SHOWN: Final = 200
"""Rows of a chart's data that are written out under it; the CSV has all."""
COVER_FINDINGS: Final = 9
"""Findings that stand on the cover before the rest fold."""


def write_atlas(
    results: HasPlates | Iterable[HasPlates],
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    note: str = NOTE,
    seed_note: str = "",
) -> Path:
    """Write the atlas of one or more results as one HTML file that opens from disk and asks the network for nothing.

    Results of one source form a chapter; with several, the cover lists the findings of all. The same results give the
    same bytes.

    Args:
        results: one result or several, each with `.source` and `.plates()`.
        path: the file to write; written whole or not at all.
        title: of the page; by default the subject's title, or the sources' names.
        note: stands beside the findings.
        seed_note: stands at the foot, for example "Seed 0."

    Returns:
        The path written.

    Raises:
        ValueError: two plates of a source share a key; marks, measures or orders do not fit their rows or units.
        TypeError: a result gives something that is no plate.

    Example:
        >>> import pathlib, tempfile
        >>> from weightatlas.plate import Finding, Subject
        >>> class Result:
        ...     source = "model.safetensors"
        ...     def plates(self):
        ...         return [Subject("SqueezeNet 1.1"), Finding("Two layers are banded.")]
        >>> page = write_atlas(Result(), pathlib.Path(tempfile.mkdtemp()) / "atlas.html")
        >>> "Two layers are banded." in page.read_text(encoding="utf-8")
        True
    """
    text = _render(gather(results), title, note, seed_note)
    target = Path(path)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")  # a path may be no UTF-8
    return target


def _render(chapters: list[Chapter], title: str | None, note: str, seed_note: str) -> str:
    script = assets.script()
    has_charts = any(isinstance(plate.figure, Chart) for chapter in chapters for plate in chapter.plates)
    library, library_hash = assets.chart_library() if has_charts else ("", "")
    hashes = [assets.script_hash(script)] + ([library_hash] if library else [])
    findings = [(finding, chapter) for chapter in chapters for finding in chapter.findings]
    findings.sort(key=lambda pair: -pair[0].importance)
    settings = {"colours": page_colours(), "themes": _themes()}
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title or _title(chapters),
            chapters=[_chapter_view(chapter) for chapter in chapters],
            findings=findings,
            cover_findings=COVER_FINDINGS,
            several=len(chapters) > 1,
            note=note,
            seed_note=seed_note,
            fold_at=FOLD_AT,
            policy=assets.policy(hashes),
            script=Markup(script),  # noqa: S704 - our own files, and the library that vl-convert brings
            style=Markup(css_variables() + assets.style()),  # noqa: S704
            library=library,
            settings=_json(settings),
        )
    )


def _title(chapters: list[Chapter]) -> str:
    titles = [chapter.subject.title for chapter in chapters]
    if not titles:
        return "An empty atlas"
    if len(titles) <= 3:
        return " and ".join([", ".join(titles[:-1]), titles[-1]] if len(titles) > 1 else titles)
    return f"{titles[0]} and {len(titles) - 1} others"


def _chapter_view(chapter: Chapter) -> dict[str, Any]:
    """A chapter for the template: every plate with the view of its kind, and the specimens of the cover."""
    slides: dict[str, str] = {}
    specimens: list[Specimen] = []
    layers = 0
    branches: list[Specimen] = []
    columns_plate = 0
    for plate in sorted(chapter.plates, key=lambda plate: isinstance(plate.figure, Columns)):
        if not isinstance(plate.figure, Slides | Columns):
            continue
        names = _drawn_layers(plate.figure)
        anchors = slide_anchors(plate, names, chapter)
        if isinstance(plate.figure, Columns) and not branches:
            branches, columns_plate = branch_specimens(plate.figure, anchors), plate.number
        elif isinstance(plate.figure, Slides) and not specimens:
            specimens, layers = frontispiece(plate.figure, anchors), len(names)
        for name, anchor in zip(names, anchors, strict=True):
            slides.setdefault(name, anchor)
    addressable = set(slides)
    plates = [_plate_view(plate, chapter, slides, addressable) for plate in chapter.plates]
    return {
        "chapter": chapter,
        "plates": plates,
        "specimens": specimens or branches,
        "by_branch": not specimens,
        "columns_plate": columns_plate,
        "layers": layers,
        "shown_on": _shown_on(plates),
    }


def _drawn_layers(figure: Slides | Columns) -> list[str]:
    """The names of the layers whose units a plate draws."""
    return [part.layer for part in (figure.layers if isinstance(figure, Slides) else figure.groups)]


def _shown_on(plates: list[dict[str, Any]]) -> dict[str, list[tuple[int, str]]]:
    """For every layer, the numbers and links of the table rows that show it, the first of each table."""
    shown: dict[str, list[tuple[int, str]]] = {}
    for plate in plates:
        if plate["kind"] != "table":
            continue
        for row in plate["view"].rows:
            name = next((cell.text for cell in row.cells if cell.column.form == "layer"), "")
            places = shown.setdefault(name, [])
            if not places or places[-1][0] != plate["number"]:
                places.append((plate["number"], row.anchor))
    return shown


def _plate_view(
    plate: NumberedPlate, chapter: Chapter, slides: dict[str, str], addressable: set[str]
) -> dict[str, Any]:
    figure = plate.figure
    marks = isinstance(figure, Table) and bool(figure.marked)
    base = {"marks": marks, "number": plate.number, "anchor": plate.anchor, "heading": figure.heading}
    if isinstance(figure, Table):
        table = table_view(figure, chapter, slides, addressable)
        return {**base, "kind": "table", "view": table, "data": _json(table.data)}
    if isinstance(figure, Chart):
        rows = json_rows(figure.rows, ())
        data = {
            **rows,
            "name": figure.heading.key,
            "spec": prepared(figure.spec, fluid=True),
            "compound": compound(figure.spec),
            "theme": _theme_of(figure),
        }
        return {**base, "kind": "chart", "view": rows, "shown": CHART_ROWS_SHOWN, "data": _json(data)}
    if isinstance(figure, Columns):
        columns = columns_view(plate, figure, chapter)
        data = {"name": figure.heading.key, "groups": [group.data for group in columns.layers]}
        return {**base, "kind": "columns", "view": columns, "data": _json(data)}
    view = slides_view(plate, figure, chapter)
    data = {"name": figure.heading.key, "layers": [layer.data for layer in view.layers]}
    return {**base, "kind": "slides", "view": view, "data": _json(data)}


def _themes() -> dict[str, Any]:
    """Every configuration that a chart of the page may need, by name."""
    plain = {"light": theme(), "dark": theme(dark=True)}
    return plain | {"light facets": facet_theme(), "dark facets": facet_theme(dark=True)}


def _theme_of(chart: Chart) -> str:
    """What follows "light" or "dark" in the name of a chart's configuration."""
    return " facets" if faceted(chart.spec) else ""


def _json(data: Any) -> Markup:  # noqa: ANN401 - any JSON
    return Markup(assets.embedded_json(data))  # noqa: S704 - no "<" is left in it


def _breakable(name: str) -> Markup:
    """A module path that may break after its dots and slashes."""
    return Markup(re.sub(r"([./_])(?=.)", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped, then <wbr> added


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(path=_breakable, axis=axis_label, plain=plain)
    return environment
