from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.pages import section, table_rows
from weightatlas.cli import application, devices, doctor

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]


def rows_of(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    assert application.run(["doctor", "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return {row["item"]: row for row in json.loads(printed.out)}


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Versions that the doctor is told instead of those installed; None is not installed."""
    told: dict[str, str | None] = {}
    real = metadata.version

    def version(name: str) -> str:
        if name not in told:
            return real(name)
        answer = told[name]
        if answer is None:
            raise metadata.PackageNotFoundError(name)
        return answer

    monkeypatch.setattr(metadata, "version", version)
    return told


def test_every_row_has_the_fields_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(capsys)
    assert all(tuple(row) == doctor.COLUMNS for row in rows.values())
    assert {row["kind"] for row in rows.values()} == {"package", "extra", "device", "tool"}
    assert rows["torch"]["version"] == metadata.version("torch")
    assert rows["numpy"] | {"version": ""} == {
        "item": "numpy",
        "kind": "package",
        "version": "",
        "needed_for": "arrays",
        "remedy": None,
        "skipped": None,
    }
    assert rows["cpu"]["kind"] == "device"


def test_every_field_is_described_and_no_other() -> None:
    rows = table_rows(section(ROOT / "docs" / "cli.md", "### doctor"))[2:]
    assert [re.findall(r"`(\w+)`", row[0]) for row in rows] == [[column] for column in doctor.COLUMNS]


def test_every_declared_package_has_its_purpose() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [
        *project["dependencies"],
        *(text for extra in project["optional-dependencies"].values() for text in extra),
    ]
    names = {re.split(r"[\[>=<~! ]", text)[0].lower().replace("_", "-") for text in declared}
    assert names - doctor.PURPOSES.keys() == set()


def test_what_is_missing_comes_first_with_its_pip_line(
    versions: dict[str, str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    versions |= {"timm": None, "numba": None}
    rows = rows_of(capsys)
    assert {"timm", "numba"} <= set(list(rows)[:4])
    assert rows["timm"]["skipped"] == rows["numba"]["skipped"] == "not installed"
    assert rows["timm"]["version"] is None
    assert rows["timm"]["remedy"] == "pip install 'weightatlas[zoo]'"
    assert re.fullmatch(r"pip install 'numba>=[\d.]+'", rows["numba"]["remedy"])


def test_the_table_shows_the_pip_line_beside_what_is_missing(
    versions: dict[str, str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    versions["timm"] = None
    assert application.run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if "timm" in line)
    assert "not installed" in line
    assert line.endswith("pip install 'weightatlas[zoo]'")
    assert lines.index(line) < next(place for place, text in enumerate(lines) if "numpy" in text)


@pytest.mark.parametrize(("version", "enough"), [("2.5.9", False), ("2.6", True), ("2.13.0+cpu", True), ("10.0", True)])
def test_a_package_that_is_too_old_is_said(
    versions: dict[str, str | None], capsys: pytest.CaptureFixture[str], version: str, enough: bool
) -> None:
    versions["torch"] = version
    row = rows_of(capsys)["torch"]
    assert row["version"] == version
    assert (row["skipped"] is None) == enough
    if not enough:
        assert row["skipped"] == "2.5.9 is installed, 2.6 or later is needed"
        assert row["remedy"] == "pip install 'torch>=2.6'"


@pytest.mark.parametrize(
    ("torch", "torchvision", "said"),
    [("2.13.0+cpu", "0.28.0", True), ("2.13.0+cpu", "0.28.0+cpu", False), ("2.13.0", "0.28.0", False)],
)
def test_torchvision_beside_a_torch_without_cuda_is_explained(
    versions: dict[str, str | None], capsys: pytest.CaptureFixture[str], torch: str, torchvision: str, said: bool
) -> None:
    versions |= {"torch": torch, "torchvision": torchvision}
    row = rows_of(capsys)["torchvision"]
    assert row["skipped"] is None
    assert (row["remedy"] is not None) == said
    if said:
        assert "operators do not load" in row["remedy"]


def test_a_torch_that_cannot_be_imported_is_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    rows = rows_of(capsys)
    assert "core" in rows["cpu"]["version"]
    assert "cannot be imported" in rows["torch"]["skipped"]
    assert rows["torch"]["remedy"].startswith("pip install")


def pretend_torch(*, devices: Mapping[str, float], cuda: str | None, apple: bool) -> Any:  # noqa: ANN401 - a module
    found = [SimpleNamespace(name=name, total_memory=size) for name, size in devices.items()]
    return SimpleNamespace(
        cuda=SimpleNamespace(device_count=lambda: len(found), get_device_properties=lambda number: found[number]),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: apple)),
        version=SimpleNamespace(cuda=cuda),
    )


def test_accelerators_are_named_with_their_memory() -> None:
    torch = pretend_torch(devices={"H200": 150e9, "A10": 24e9}, cuda="12.8", apple=False)
    found = [(device.item, device.description) for device in devices.accelerators(torch)]
    assert found == [("cuda:0", "H200, 150.0 GB"), ("cuda:1", "A10, 24.0 GB")]
    (apple,) = devices.accelerators(pretend_torch(devices={}, cuda=None, apple=True))
    assert (apple.item, apple.skipped) == ("mps", None)


@pytest.mark.parametrize(("cuda", "reason"), [("12.8", "sees no CUDA device"), (None, "built for the processor alone")])
def test_no_accelerator_is_a_row_that_says_why(cuda: str | None, reason: str) -> None:
    (device,) = devices.accelerators(pretend_torch(devices={}, cuda=cuda, apple=False))
    assert reason in str(device.skipped)
    assert device.remedy


def test_memory_is_what_the_container_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "CGROUP", tmp_path / "memory.max")
    whole = devices.memory_size()
    (tmp_path / "memory.max").write_text("max\n")
    assert devices.memory_size() == whole
    (tmp_path / "memory.max").write_text("1000000\n")
    assert devices.memory_size() == 1_000_000


def test_a_system_that_names_no_processor_still_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "absent")
    assert devices.processor_name()
