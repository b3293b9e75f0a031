"""`weightatlas atlas` with data: conditioning stands on the page too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conditioning.example_networks import QUICK, Small, save_run
from weightatlas import conditioning
from weightatlas.cli.application import run

MODEL = "tests.conditioning.example_networks:Small"


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A checkpoint, and a quicker survey than the page's own."""
    whole = conditioning.survey
    monkeypatch.setattr(conditioning, "survey", lambda source, **options: whole(source, **{**options, **QUICK}))
    save_run(tmp_path, {0: Small(dead=1)})
    return str(tmp_path / "step0.safetensors")


def test_data_bring_conditioning_to_the_page(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "atlas.html"
    assert run(["atlas", checkpoint, "--model", MODEL, "--data", "scenes", "--output", str(page), "--quiet"]) == 0
    assert "Three places where channels meet a nonlinearity" in page.read_text(encoding="utf-8")
    assert capsys.readouterr().err.count("no channel can be shown") == 1


def test_without_data_there_is_none(checkpoint: str, tmp_path: Path) -> None:
    page = tmp_path / "atlas.html"
    assert run(["atlas", checkpoint, "--model", MODEL, "--output", str(page), "--quiet"]) == 0
    assert "meet a nonlinearity" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--data", "scenes"], 2, "--model"),
        (["--data", "nonsense", "--model", MODEL], 1, "nonsense"),
        (["--data", "scenes", "--model", f"{MODEL}?classes=3"], 1, "does not fit"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    checkpoint: str, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    page = Path(checkpoint).with_name("atlas.html")
    assert run(["atlas", checkpoint, *arguments, "--output", str(page), "--quiet"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert not page.exists()
