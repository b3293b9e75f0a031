from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

import weightatlas
from weightatlas.lab.experiments import keeping
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.keeping import ALONE, TOGETHER, measured_once
from weightatlas.lab.records import MANIFEST, RESULT

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Run


@dataclass
class FinishedRun:
    """As much of a run as keeping asks for."""

    folder: Path


class Counted:
    """A measure that counts its calls, as a function of this package or of another one."""

    def __init__(self, module: str = "weightatlas.lab.experiments.made_up") -> None:
        self.calls = 0
        self.__module__ = module
        self.__qualname__ = "measure"

    def __call__(self, *runs: object) -> Measurement:
        self.calls += 1
        figures = {"score": np.float64(0.1) + self.calls, "none": None, "nan": float("nan"), "name": "ä", "yes": True}
        return Measurement(cast("Any", figures), {"curve": np.arange(3.0) * len(runs), "names": np.array(["a", "bc"])})


def finished(folder: Path, result: str = "{}") -> Run:
    """A folder with a manifest and a result."""
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_text("{}")
    (folder / RESULT).write_text(result)
    return cast("Run", FinishedRun(folder))


def test_a_run_is_measured_once(tmp_path: Path) -> None:
    measure, run = Counted(), finished(tmp_path)
    first, second = (measured_once(measure, [run], ALONE) for _ in range(2))
    assert measure.calls == 1
    np.testing.assert_equal(dict(second.figures), dict(first.figures))
    assert {key: type(value) for key, value in second.figures.items()}["score"] is float
    assert second.arrays.keys() == first.arrays.keys()
    for key, value in first.arrays.items():
        np.testing.assert_array_equal(second.arrays[key], value)


def test_a_pair_is_kept_with_its_second_run_and_apart_from_what_that_is_alone(tmp_path: Path) -> None:
    measure, runs = Counted(), [finished(tmp_path / "a"), finished(tmp_path / "b")]
    alone = measured_once(measure, runs[1:], ALONE)
    pair = [measured_once(measure, runs, TOGETHER) for _ in range(2)]
    assert measure.calls == 2
    assert alone.arrays["curve"].tolist() == [0, 1, 2]
    assert [one.arrays["curve"].tolist() for one in pair] == [[0, 2, 4], [0, 2, 4]]
    finished(tmp_path / "a", '{"steps": 2}')
    measured_once(measure, runs, TOGETHER)
    assert measure.calls == 3


def changed_result(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    finished(folder, '{"steps": 2}')


def changed_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del folder
    monkeypatch.setattr(keeping, "_code", lambda: "other")


def cut_short(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    os.truncate(folder / ALONE, 100)


def emptied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    os.truncate(folder / ALONE, 0)


def pickled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    np.savez(folder / ALONE, stamp=np.array([print], dtype=object))


@pytest.mark.parametrize("change", [changed_result, changed_code, cut_short, emptied, pickled])
def test_it_is_measured_anew(change: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    measure, run = Counted(), finished(tmp_path)
    measured_once(measure, [run], ALONE)
    change(tmp_path, monkeypatch)
    assert measured_once(measure, [run], ALONE).figures["score"] == 2.1
    assert measured_once(measure, [run], ALONE).figures["score"] == 2.1
    assert measure.calls == 2


def test_what_a_function_of_others_measures_is_not_kept(tmp_path: Path) -> None:
    measure = Counted("somebody.elses")
    for _ in range(2):
        measured_once(measure, [finished(tmp_path)], ALONE)
    assert measure.calls == 2
    assert not (tmp_path / ALONE).exists()


def test_objects_are_not_written(tmp_path: Path) -> None:
    class Odd(Counted):
        def __call__(self, *runs: object) -> Measurement:
            del runs
            return Measurement({}, {"odd": np.array([print], dtype=object)})

    measured_once(Odd(), [finished(tmp_path)], ALONE)
    assert not (tmp_path / ALONE).exists()


def test_each_file_of_the_package_is_in_the_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    file = package / "__init__.py"
    digests = []
    for content in ("a = 1", "a = 2"):
        file.write_text(content)
        monkeypatch.setattr(weightatlas, "__file__", str(file))
        keeping._code.cache_clear()
        digests.append(keeping._code())
    monkeypatch.undo()
    keeping._code.cache_clear()
    assert digests[0] != digests[1]
