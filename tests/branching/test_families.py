from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from weightatlas.branching import families as module
from weightatlas.branching.families import families_from_tuning, frequency_families, read_families
from weightatlas.branching.specialization import specialization
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

NESTED = {"conv1": {"curve": [3, 1], "line": []}, "conv2": {"curve": [0]}}


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_json_by_layer_is_read_as_published(tmp_path: Path) -> None:
    path = write(tmp_path, "families.json", json.dumps(NESTED))
    assert read_families(path) == {"conv1": {"curve": (3, 1), "line": ()}, "conv2": {"curve": (0,)}}
    assert read_families(path, layer="conv2") == {"conv2": {"curve": (0,)}}


def test_flat_json_needs_its_layer(tmp_path: Path) -> None:
    path = write(tmp_path, "families.json", json.dumps(NESTED["conv1"]))
    assert read_families(path, layer="stem") == {"stem": {"curve": (3, 1), "line": ()}}
    with pytest.raises(SourceError, match="families without a layer"):
        read_families(path)


def test_csv_gives_the_same_as_json(tmp_path: Path) -> None:
    rows = "\ufefflayer,unit,family,note\r\nconv1,3,curve,x\r\nconv1,1,curve,\r\nconv2,0,curve,\r\n"
    assert read_families(write(tmp_path, "a.csv", rows)) == {"conv1": {"curve": (3, 1)}, "conv2": {"curve": (0,)}}
    flat = write(tmp_path, "b.csv", "family,unit\ncurve,3\n")
    assert read_families(flat, layer="conv1") == {"conv1": {"curve": (3,)}}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.json", "{", "its JSON cannot be read"),
        ("a.json", "[1]", "no families in it"),
        ("a.json", "{}", "no families in it"),
        ("a.json", '{"conv1": {"f": 3}}', "family 'f' of conv1 is no list of units"),
        ("a.json", '{"conv1": 3}', "'conv1' holds no families"),
        ("a.json", '{"conv1": {"f": [1.5]}}', "names 1.5, which is no unit"),
        ("a.json", '{"conv1": {"f": [true]}}', "names True, which is no unit"),
        ("a.json", '{"conv1": {"f": [-1]}}', "names -1, which is no unit"),
        ("a.json", '{"conv1": {"f": [99999999999]}}', "names 99999999999, which is no unit"),
        ("a.json", '{"conv1": {"f": [1], "f": [2]}}', "a name stands twice"),
        ("a.json", json.dumps({"conv1": {"f" * 2000: [1]}}), "a name in it has 2000 characters"),
        ("a.csv", "unit,family\n1,f\n", "its first line names no column layer"),
        ("a.csv", "layer\n1\n", "names no column unit and family"),
        ("a.csv", "", "names no column layer, unit and family"),
        ("a.csv", "layer,unit,family\n", "no rows in it"),
        ("a.csv", "layer,unit,family\nconv1,1\n", "line 2 has an empty cell"),
        ("a.csv", "layer,unit,family\nconv1,one,f\n", "names 'one', which is no unit"),
        ("a.csv", "layer,unit,family\nconv1,²,f\n", "which is no unit"),
        ("a.csv", b"layer,unit,family\n\xff\xfe,1,f\n", "cannot be read as CSV"),
        ("a.csv", 'layer,unit,family\n"conv1,1,f\n', "cannot be read as CSV"),
        ("a.csv", "layer,unit,family\n" + "x" * 200_000 + ",1,f\n", "cannot be read as CSV"),
        ("a.txt", "conv1", "neither .json nor .csv"),
    ],
)
def test_files_that_hold_no_families_are_refused(tmp_path: Path, name: str, text: str | bytes, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        read_families(write(tmp_path, name, text))


def test_files_that_are_not_there_or_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_families(tmp_path / "none.json")
    with pytest.raises(SourceError, match="cannot be read"):
        read_families(tmp_path)
    path = write(tmp_path, "a.json", json.dumps(NESTED))
    with pytest.raises(SourceError, match="no families of 'conv3' in it \\(it has conv1 and conv2\\)"):
        read_families(path, layer="conv3")
    monkeypatch.setattr(module, "SIZE_LIMIT", 10)
    with pytest.raises(SourceError, match="more than 10"):
        read_families(path)


@pytest.mark.reference
def test_the_published_taxonomy_is_read(reference: Path) -> None:
    found = read_families(reference / "distill" / "inceptionv1_unit_taxonomy.json")
    assert len(found["mixed3a"]["High-Low Frequency"]) == 15
    assert sum(map(len, found["conv2d0"].values())) == 64
    sizes = {"1x1": range(192), "3x3": range(192, 396), "5x5": range(396, 444), "pool": range(444, 508)}
    tested = specialization(found["mixed4a"], sizes, layer="mixed4a", permutations=9)
    assert "family 'mixed4a_any_boundary' names 356 twice: counted once" in tested.notes


def tuned(**figures: object) -> SimpleNamespace:
    """What `families_from_tuning` reads of a layer of five units, the last one zero."""
    chroma = np.array([0.2, 0.21, 0.9, 0.0, np.nan])
    frequency = np.array([0.1, 0.4, 0.2, 0.3, np.nan])
    classes = ("Gabor", "colour contrast", "other", "Gabor", "other")
    return SimpleNamespace(chroma=chroma, frequency=frequency, classes=classes, skipped={4: "zero"}, **figures)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("colour", {"colour": [1, 2], "black-and-white": [0, 3]}),
        ("frequency", {"low": [0, 2], "high": [1, 3]}),
        ("class", {"Gabor": [0, 3], "colour contrast": [1], "other": [2]}),
    ],
)
def test_tuning_makes_families(by: str, expected: dict[str, list[int]]) -> None:
    found = families_from_tuning(tuned(), by=by)  # type: ignore[arg-type]
    assert {name: units.tolist() for name, units in found.items()} == expected
    assert specialization(found, {"a": [0, 1], "b": [2, 3, 4]}, permutations=9).units == 4


@pytest.mark.parametrize("parts", [2, 3])
def test_quantiles_are_of_equal_size_whatever_the_scale(parts: int) -> None:
    values = np.random.default_rng(0).lognormal(size=60)
    found = frequency_families(values, parts=parts)
    assert [len(units) for units in found.values()] == [60 // parts] * parts
    again = frequency_families(3 * values + 1, parts=parts)
    assert all(np.array_equal(found[name], again[name]) for name in found)
    highs = [values[units].max() for units in found.values()]
    assert highs == sorted(highs)


def test_families_without_units_are_left_out() -> None:
    grey = SimpleNamespace(chroma=np.zeros(3), frequency=np.full(3, np.nan), classes=("other",) * 3, skipped={})
    assert list(families_from_tuning(grey)) == ["black-and-white"]
    assert families_from_tuning(grey, by="frequency") == {}
    same = SimpleNamespace(chroma=np.zeros(3), frequency=np.ones(3), classes=("other",) * 3, skipped={})
    assert list(families_from_tuning(same, by="frequency")) == ["low"]


@pytest.mark.parametrize(
    ("options", "problem"), [({"by": "hue"}, "by must be"), ({"by": "frequency", "parts": 4}, "parts")]
)
def test_options_that_are_none_are_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        families_from_tuning(tuned(), **options)  # type: ignore[arg-type]
