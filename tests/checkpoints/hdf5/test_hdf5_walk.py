from __future__ import annotations

import math
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.checkpoints.hdf5 import hdf5_walk
from weightatlas.checkpoints.hdf5.hdf5_walk import HostileError, boxes, walk

if TYPE_CHECKING:
    from pathlib import Path

Case = tuple[tuple[int, ...], tuple[int, ...] | None]


@st.composite
def shapes_and_chunks(draw: st.DrawFn) -> Case:
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=4)))
    chunks = tuple(draw(st.integers(1, 5)) for _ in shape)
    return shape, draw(st.sampled_from((None, chunks)))


@given(case=shapes_and_chunks(), piece=st.integers(1, 200))
def test_boxes_cover_every_element_once_and_cut_no_chunk(case: Case, piece: int) -> None:
    shape, chunks = case
    counts = np.zeros(shape, int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5_walk, "PIECE", piece)
        for box in boxes(shape, chunks, 4):
            counts[tuple(slice(start, stop) for start, stop in box)] += 1
            size = 4 * math.prod(stop - start for start, stop in box)
            assert size <= max(piece, 4 * math.prod(chunks or ()))
            for (start, stop), length, chunk in zip(box, shape, chunks or (1,) * len(shape), strict=True):
                assert start % chunk == 0
                assert stop % chunk == 0 or stop == length
    assert (counts == 1).all()


def test_more_objects_than_any_network_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_walk, "OBJECT_LIMIT", 20)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for number in range(18):
            file[f"{number % 3}/{number}"] = np.ones(2)
        with pytest.raises(HostileError, match="more than 20 groups and arrays"):
            walk(file)


def test_texts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_walk, "TEXT_LIMIT", 100)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["model_config"] = "x" * 101
        with pytest.raises(HostileError, match="letters of text"):
            walk(file)


def test_a_path_counts_for_every_name_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_walk, "TEXT_LIMIT", 50_000)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        group = file.create_group("g" * 10_000)
        for number in range(9):
            group[str(number)] = np.ones(2)
        with pytest.raises(HostileError, match="more names than any network"):
            walk(file)
