from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.cli.reporting import report

if TYPE_CHECKING:
    import pytest


def test_whatever_is_reported_is_one_line_that_prints(capsys: pytest.CaptureFixture[str]) -> None:
    report("net.pt: \x1b[31mred\x9b2J\u202e\u2028 holds\nno tensors; " + "x" * 10_000 + " give another")
    line = capsys.readouterr().err
    assert line.endswith(" give another\n")
    assert line.removesuffix("\n").isprintable()
    assert r"\x1b[31mred\x9b2J\u202e" in line
    assert "holds no tensors" in line
    assert len(line) < 2100
