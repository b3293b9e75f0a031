"""Names that attack whoever shows them: a terminal, a spreadsheet, a page."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import sys
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.hostile.safetensors_lies import NAMES
from weightatlas.cli import application

if TYPE_CHECKING:
    from pathlib import Path

HALF = "half \ud800 a character.weight"
HOSTILE = [
    f"{name}.{number}.weight" for number, name in enumerate(NAMES.values()) if len(name) < 1000 and "\ud800" not in name
]
PLAIN = [f"layer.{number}.weight" for number in range(len(HOSTILE))]


def write(path: Path, names: list[str]) -> str:
    """A file of small convolutions of these names."""
    data = np.random.default_rng(0).normal(size=(len(names), 4, 3, 3, 3)).astype("<f4")
    size = data[0].nbytes
    entries = {
        name: {"dtype": "F32", "shape": [4, 3, 3, 3], "data_offsets": [size * place, size * (place + 1)]}
        for place, name in enumerate(names)
    }
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data.tobytes())
    return str(path)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file whose every name is hostile."""
    return write(tmp_path_factory.mktemp("names") / "model.safetensors", [*HOSTILE, HALF])


@pytest.mark.parametrize("command", [["layers"], ["banding", "--no-slides", "--quiet"]], ids=lambda words: words[0])
class TestCommands:
    def test_a_table_shows_what_a_terminal_would_obey(
        self, command: list[str], hostile: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert application.run([*command, hostile, "--format", "table"]) == 0
        printed = capsys.readouterr()
        assert all(line.isprintable() for line in printed.out.splitlines())
        assert all(line.isprintable() for line in printed.err.splitlines())
        assert r"\x1b[2J" in printed.out
        assert r"\u202e" in printed.out

    @pytest.mark.parametrize("format_", ["json", "jsonl"])
    def test_json_gives_every_name_exactly(
        self, command: list[str], hostile: str, format_: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert application.run([*command, hostile, "--format", format_]) == 0
        text = capsys.readouterr().out
        assert all(line.isprintable() for line in text.split("\n"))
        rows = json.loads(text) if format_ == "json" else [json.loads(line) for line in text.splitlines()]
        listed = [row["tensor"] for row in rows if not (row["skipped"] and "UTF-8" in row["skipped"])]
        assert sorted(listed) == sorted(HOSTILE)

    def test_csv_gives_every_name_exactly(
        self, command: list[str], hostile: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert application.run([*command, hostile, "--format", "csv"]) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
        assert sorted(row["tensor"] for row in rows if "UTF-8" not in row["skipped"]) == sorted(HOSTILE)

    def test_a_file_of_rows_can_be_written(self, command: list[str], hostile: str, tmp_path: Path) -> None:
        for suffix in ("json", "jsonl", "csv", "txt"):
            assert application.run([*command, hostile, "--output", str(tmp_path / f"rows.{suffix}")]) == 0
            assert (tmp_path / f"rows.{suffix}").stat().st_size > 0


class Elements(HTMLParser):
    """Counts the elements of a page with the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "wbr":  # stands in long names, wherever they may break
            self.found[tag, tuple(name for name, _ in attrs)] += 1


def elements(source: str, page: Path) -> Counter[tuple[str, tuple[str, ...]]]:
    assert application.run(["atlas", source, "--output", str(page), "--title", "Names", "--quiet"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    parser = Elements()
    parser.feed(text)
    return parser.found


def test_a_hostile_name_makes_no_element_on_the_page(hostile: str, tmp_path: Path) -> None:
    """The page of hostile names has the elements of the page of plain names, no more and no others."""
    plain = elements(write(tmp_path / "plain.safetensors", [*PLAIN, HALF]), tmp_path / "plain.html")
    assert elements(hostile, tmp_path / "hostile.html").keys() <= plain.keys()


@pytest.mark.skipif(sys.platform == "darwin", reason="the system refuses such a name itself")
def test_a_file_whose_name_is_no_utf_8_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / os.fsdecode(b"model\xff\x1b.safetensors"), PLAIN)
    for format_ in ("table", "json", "jsonl", "csv"):
        assert application.run(["layers", source, source, "--format", format_]) == 0
        assert capsys.readouterr().out.encode()
    assert application.run(["atlas", source, "--output", str(tmp_path / "atlas.html"), "--quiet"]) == 0
    assert (tmp_path / "atlas.html").read_text(encoding="utf-8")
