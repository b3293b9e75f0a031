from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from tests.atlas.plates_for_tests import HOSTILE, Given, chart, row, slide, slides, small, table
from weightatlas.atlas import write_atlas
from weightatlas.plate import Finding, Subject

if TYPE_CHECKING:
    from pathlib import Path


class Page(HTMLParser):
    """Elements, text and script contents of a page, as a browser would see them."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: dict[str, str] = {}
        self.text = ""
        self._script = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        self._script = found.get("id", tag) if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._script = ""

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]


def page(tmp_path: Path, *results: Given, **options: Any) -> Page:  # noqa: ANN401 - write_atlas's own options
    return Page(write_atlas(results, tmp_path / "atlas.html", **options))


def test_the_cover_says_the_findings_in_order_with_evidence_and_plate(tmp_path: Path) -> None:
    made = page(tmp_path, small())
    first = made.text.index("One layer is banded: conv3.")
    assert first < made.text.index("No other layer prefers a direction.") < made.text.index("From raw kernels.")
    assert "q < .001" in made.text
    assert {"href": "#plate/banding"} in made.all("a")


def test_every_link_of_the_page_leads_somewhere_and_no_two_elements_share_an_id(tmp_path: Path) -> None:
    made = page(tmp_path, small("a"), small("b", HOSTILE), Given("c", (table([row("only here", 0.1)]),)))
    assert len(made.ids) == len(set(made.ids))
    links = [attributes["href"].removeprefix("#") for attributes in made.all("a")]
    assert {link for link in links if link not in made.ids} == set()
    assert "chapter-3/layer/only%20here" in made.ids


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_everywhere(tmp_path: Path, name: str) -> None:
    harmless = page(tmp_path, Given("a", (Subject("t", ("t",)), finding_of("t"), *figures("t"))))
    plates = (Subject(name, (name,)), finding_of(name), *figures(name))
    hostile = page(tmp_path, Given(name, plates), title=name, note=name, seed_note=name)
    count = [tag for tag, _ in hostile.elements]
    assert count.count("script") == [tag for tag, _ in harmless.elements].count("script")
    assert not {"b", "i", "img"} & {tag for tag, attributes in hostile.elements if attributes.get("src") == "x"}
    assert not any(key.startswith("on") for _, attributes in hostile.elements for key in attributes)
    assert hostile.text.count(name) >= 5
    data = json.loads(hostile.scripts["data-1"])
    assert data["rows"][0][0] == name


def finding_of(text: str) -> Finding:
    return Finding(text, (text,), "banding")


def figures(name: str) -> tuple[Any, ...]:
    rows = [row(name, 0.6), {"layer": name + "2", "skipped": name}]
    return table(rows, marked=(True, False)), chart(rows[:1]), slides([slide(name, marked=True)])


def test_nothing_on_the_page_is_fetched(tmp_path: Path) -> None:
    made = page(tmp_path, small())
    addresses = [
        attributes[key]
        for _, attributes in made.elements
        for key in ("src", "href", "srcset", "action")
        if key in attributes
    ]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    text = (tmp_path / "atlas.html").read_text(encoding="utf-8")
    assert "@import" not in text
    assert "url(" not in text.split("<script", 1)[0]


def test_the_policy_stands_before_everything_that_could_load_and_names_our_script(tmp_path: Path) -> None:
    made = page(tmp_path, small())
    tags = [tag for tag, _ in made.elements]
    (policy,) = [meta["content"] for meta in made.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert tags.index("meta") < min(tags.index(tag) for tag in ("style", "script", "img", "link"))
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    assert policy.count("'sha256-") == 2


def test_a_page_without_charts_carries_no_library(tmp_path: Path) -> None:
    made = page(tmp_path, Given("a", (table([row("x", 0.1)]),)))
    assert "chart-library" not in made.ids
    assert (tmp_path / "atlas.html").stat().st_size < 120_000


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first = write_atlas(small(), tmp_path / "first.html").read_bytes()
    assert write_atlas([small()], tmp_path / "second.html").read_bytes() == first


def test_several_sources_are_chapters_named_on_the_cover(tmp_path: Path) -> None:
    made = page(tmp_path, small("a"), small("b"))
    assert "Network a and Network b" in made.text
    assert "2 chapters" in re.sub(r"\s+", " ", made.text)
    assert "chapter-2" in made.ids
    assert "Plate 6" in made.text
    cover = made.text[: made.text.index("Chapter 1")]
    assert cover.count("Network b") >= 3


def test_a_title_that_is_given_stands(tmp_path: Path) -> None:
    assert "What we saw" in page(tmp_path, small(), title="What we saw").text


def test_no_findings_is_said_with_what_was_looked_at(tmp_path: Path) -> None:
    made = page(tmp_path, Given("a", (table([]), slides([]))))
    assert "Nothing stands out." in made.text
    assert "Banding begins late" in made.text
    assert "No row has figures" in made.text
    assert "No layer of this network can be drawn as tissue" in made.text


def test_no_results_at_all_is_a_page_too(tmp_path: Path) -> None:
    assert "Nothing was looked at" in page(tmp_path).text


def test_skipped_rows_are_folded_with_their_reason(tmp_path: Path) -> None:
    rows = [row("a", 0.1), {"layer": "b", "skipped": "A linear layer has no kernel."}]
    made = page(tmp_path, Given("s", (table(rows),)))
    assert "1 row without figures" in made.text
    assert "A linear layer has no kernel." in made.text


def test_many_findings_fold_after_the_most_important(tmp_path: Path) -> None:
    made = page(tmp_path, Given("s", tuple(Finding(f"Finding {place}.", importance=-place) for place in range(30))))
    assert "21 more findings" in made.text
    assert made.text.index("Finding 8.") < made.text.index("21 more findings") < made.text.index("Finding 9.")


def test_layers_link_to_every_plate_that_shows_them(tmp_path: Path) -> None:
    rows = [row("x", 0.1)]
    made = page(tmp_path, Given("s", (table(rows), table(rows, key="more"), slides([slide("x")]))))
    hrefs = [attributes["href"] for attributes in made.all("a")]
    assert {"#row/banding/x", "#row/more/x", "#layer/x"} <= set(hrefs)


def test_a_page_of_a_resnets_size_stays_small(tmp_path: Path) -> None:
    units = [64, *[64] * 3, *[128] * 4, *[256] * 6, *[512] * 3]
    names = [f"layer{place}.conv2" for place in range(len(units))]
    layers = [slide(name, count, 3, seed=count) for name, count in zip(names, units, strict=True)]
    rows = [row(f"{name}.{place}", 0.1) for name in names for place in range(10)]
    charts = [chart(rows, key=f"chart{place}") for place in range(4)]
    path = write_atlas(Given("resnet", (table(rows), *charts, slides(layers))), tmp_path / "atlas.html")
    assert path.stat().st_size < 1_500_000


def test_an_old_page_stays_when_the_new_one_fails(tmp_path: Path) -> None:
    path = write_atlas(small(), tmp_path / "atlas.html")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="marks 2 rows"):
        write_atlas(Given("a", (table([row("x", 0.1)], marked=(True, False)),)), path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["atlas.html"]


def test_the_page_needs_no_torch_and_no_pandas() -> None:
    code = "import sys, weightatlas.atlas; print({'torch', 'pandas', 'sklearn', 'altair'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "set()"


def test_text_is_escaped_once_only(tmp_path: Path) -> None:
    path = write_atlas(Given("a", (Subject("R&D <net>"),)), tmp_path / "atlas.html")
    assert html.escape("R&D <net>") in path.read_text(encoding="utf-8")
    assert "R&D <net>" in Page(path).text
    assert "&amp;amp;" not in path.read_text(encoding="utf-8")
