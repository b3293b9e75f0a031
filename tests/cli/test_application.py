from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from weightatlas import __version__
from weightatlas.cli import application

if TYPE_CHECKING:
    from pathlib import Path

LAYER_FIELDS = ["layer", "tensor", "kind", "role", "shape", "dtype", "parameters", "bytes", "source", "skipped"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    path = tmp_path / "small.npz"
    generator = np.random.default_rng(0)
    arrays = {
        "conv1.weight": generator.normal(size=(16, 8, 3, 3)),
        "conv2.weight": generator.normal(size=(8, 16, 1, 1)),
        "fc.weight": generator.normal(size=(4, 8)),
        "fc.bias": np.zeros(4),
    }
    np.savez(path, allow_pickle=False, **{name: array.astype(np.float32) for name, array in arrays.items()})
    return str(path)


def rows_of(text: str) -> list[dict[str, object]]:
    rows = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert isinstance(rows, list)
    return rows


def test_layers_prints_flat_rows_with_one_schema(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert application.run(["layers", checkpoint, "--format", "json"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert [row["layer"] for row in rows] == ["conv1", "conv2", "fc", "fc"]
    assert all(list(row) == LAYER_FIELDS for row in rows)
    assert rows[0]["shape"] == [16, 8, 3, 3]
    assert rows[0]["dtype"] == "float32"


def test_banding_says_why_a_layer_has_no_score(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert application.run(["banding", checkpoint, "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["layer"] for row in rows] == ["conv1", "conv2", "fc"]
    assert rows[0]["direction"] == "none"
    assert rows[0]["skipped"] is None
    assert "1x1" in rows[1]["skipped"]
    assert rows[1]["score"] is None
    assert len({tuple(row) for row in rows}) == 1
    assert list(rows[0])[-1] == "skipped"


@pytest.mark.parametrize("table", ["layers", "units", "symmetries", "types", "profiles"])
def test_every_table_of_banding_prints(checkpoint: str, capsys: pytest.CaptureFixture[str], table: str) -> None:
    assert application.run(["banding", checkpoint, "--table", table, "--format", "json"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert len({tuple(row) for row in rows}) == 1
    measured = [row for row in rows if row["skipped"] is None]
    assert {row["layer"] for row in measured} == {"conv1"}


def test_the_same_seed_gives_the_same_bytes(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for jobs in ("1", "2"):
        assert application.run(["banding", checkpoint, "--format", "json", "--seed", "3", "--jobs", jobs]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


def test_one_bad_source_of_two_leaves_the_other_done(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert application.run(["layers", "absent.pt", checkpoint, "--format", "json"]) == 1
    printed = capsys.readouterr()
    assert len(rows_of(printed.out)) == 4
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("weightatlas: absent.pt: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["layers"],
        ["layers", "a.npz", "--format", "xml"],
        ["banding", "a.npz", "--jobs", "0"],
        ["banding", "a.npz", "--table", "steps"],
        ["banding", "a.npz", "--feature-map", "fc=3x3"],
        ["layers", "a.npz", "--bogus"],
        ["demo", "--output", "page.txt"],
        ["nonsense"],
    ],
)
def test_wrong_usage_is_told_from_bad_input(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert application.run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err


def test_output_goes_to_the_file_in_the_format_of_its_name(checkpoint: str, tmp_path: Path) -> None:
    for name in ("rows.csv", "rows.json", "rows.jsonl", "rows.txt", "arrays.npz", "chart.svg", "chart.png"):
        assert application.run(["banding", checkpoint, "--output", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 0
    header, first, *_ = (tmp_path / "rows.csv").read_text().splitlines()
    assert header.startswith("layer,tensor,shape,score,")
    assert first.startswith("conv1,conv1.weight,16x8x3x3,")


def test_an_output_without_a_known_suffix_is_wrong_usage(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert application.run(["layers", checkpoint, "--output", "rows.docx"]) == 2
    assert ".json" in capsys.readouterr().err


def test_interrupting_leaves_130(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("weightatlas.cli.layers.open_checkpoint", interrupt)
    assert application.run(["layers", checkpoint]) == 130
    assert capsys.readouterr().err == "weightatlas: interrupted\n"


def test_a_full_disk_is_one_line(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert application.run(["layers", checkpoint, "--output", "/proc/nowhere/rows.json"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_fully_connected_layer_is_scored_over_its_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fc.npz"
    weight = np.random.default_rng(0).normal(size=(12, 72)).astype(np.float32)
    np.savez(path, allow_pickle=False, **{"fc.weight": weight})
    assert application.run(["banding", str(path), "--feature-map", "fc=8x3x3", "--format", "json"]) == 0
    (row,) = rows_of(capsys.readouterr().out)
    assert row["units"] == 12
    assert application.run(["banding", str(path), "--feature-map", "head=8x3x3"]) == 1
    assert "no layer named head" in capsys.readouterr().err


def run_python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own code


@pytest.mark.parametrize("code", ["import weightatlas", "from weightatlas.cli import application"])
def test_importing_loads_neither_torch_nor_pandas(code: str) -> None:
    heavy = run_python(
        f"{code}\nimport sys; print(sorted({{'torch', 'pandas', 'numba', 'altair'}} & sys.modules.keys()))"
    )
    assert heavy.strip() == "[]"


def test_listing_loads_neither_torch_nor_pandas(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "model.safetensors"
    save_file({"conv1.weight": np.zeros((2, 1, 3, 3), np.float32)}, path)
    heavy = run_python(
        "import sys\nfrom weightatlas.cli import application\n"
        f"application.run(['layers', {str(path)!r}, '--format', 'json'])\n"
        "print(sorted({'torch', 'pandas', 'numba'} & sys.modules.keys()), file=sys.stderr)\n"
        "sys.exit({'torch', 'pandas', 'numba'} & sys.modules.keys() != set())"
    )
    assert json.loads(heavy)[0]["layer"] == "conv1"


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert application.run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__
