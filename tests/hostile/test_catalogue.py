"""Every hostile file, one by one, through the command line: refused in one line, or a row with the reason."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.hostile.case import Hostile, ran
from tests.hostile.catalogue import CATALOGUE
from weightatlas.checkpoints import open_checkpoint
from weightatlas.cli import application
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_catalogue_is_large_and_its_names_differ() -> None:
    assert len(CATALOGUE) >= 200
    assert len({case.name for case in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("case", CATALOGUE, ids=lambda case: case.name)
def test_a_hostile_file_is_refused_in_one_line_or_a_row(
    case: Hostile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = tmp_path / "f"
    inside.mkdir()
    path = case.build(inside)
    code = application.run(["layers", str(path), "--format", "json"])
    printed = capsys.readouterr()
    assert not ran(inside), "something in the file ran"
    assert "Traceback" not in printed.err
    lines = printed.err.splitlines()
    assert all(line.startswith("weightatlas: ") and line.isprintable() for line in lines)
    if code == 1:
        assert len(lines) == 1
        said = printed.err.replace(str(tmp_path), "")
    else:
        assert code == 0
        rows = json.loads(printed.out)
        assert rows
        said = " ".join(row["skipped"] or "" for row in rows)
    if case.when == "read" and code == 0:
        with pytest.raises(SourceError) as refusal:
            _read_all(path)
        said = str(refusal.value)
    assert re.search(case.says, said, re.IGNORECASE | re.DOTALL), said[:400]
    assert not ran(inside)


def _read_all(path: Path) -> None:
    checkpoint = open_checkpoint(path)
    for name in checkpoint:
        checkpoint[name].clone()
