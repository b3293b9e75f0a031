"""A survey aligns, measures lines and layers, and says what it could not do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.connectivity.example_networks import QUICK, Small, Unexportable, labelled, reordered, save
from weightatlas.connectivity import Connection, survey
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_only_reordered_is_joined_once_aligned(planted: Connection) -> None:
    pair = planted.pairs[0]
    assert pair.matching is not None
    assert pair.matching.distance == pytest.approx(0, abs=1e-5)
    aligned = pair.line(aligned=True, recalibrated=False)
    plain = pair.line(aligned=False, recalibrated=False)
    assert aligned is not None
    assert plain is not None
    assert aligned.barrier.loss_barrier.height == pytest.approx(0, abs=1e-5)
    assert aligned.barrier.errors.max() == 0
    assert plain.barrier.error_barrier.height > 0.2


def test_lines_come_unaligned_first_and_recalibrated_last(planted: Connection) -> None:
    kinds = [(line.aligned, line.recalibrated) for line in planted.pairs[0].lines]
    assert kinds == [(False, False), (False, True), (True, False), (True, True)]
    assert planted.pairs[0].best is planted.pairs[0].lines[-1]
    assert planted.pairs[0].plain is planted.pairs[0].lines[1]


def test_every_table_has_its_columns_and_plain_values(planted: Connection, blind: Connection) -> None:
    for found in (planted, blind):
        for table, columns in Connection.tables.items():
            rows = found.rows(table)
            assert rows, table
            assert all(tuple(row) == columns for row in rows), table
            json.dumps(rows, allow_nan=False)


def test_the_plane_goes_through_the_aligned_networks(planted: Connection) -> None:
    assert planted.plane is not None
    distances = [pair.matching.distance for pair in planted.pairs[1:] if pair.matching is not None]
    assert [float(np.hypot(*point)) for point in planted.plane.points] == pytest.approx([0, *distances], rel=1e-4)


def test_networks_that_are_one_span_no_plane() -> None:
    network = Small()
    same = survey(network, reordered(network), reordered(network, 2), data=labelled(network), layers=False, **QUICK)
    assert same.plane is None


def test_without_data_there_is_an_alignment_and_a_reason(blind: Connection) -> None:
    assert blind.plane is None
    assert [row["skipped"] for row in blind.rows("path")] == ["no data was given to run the networks on"]
    assert blind.pairs[0].matching is not None
    assert blind.pairs[0].matching.null_similarity.shape == (2,)
    assert blind.pairs[0].matching.similarity > blind.pairs[0].matching.null_similarity.max()


def test_what_is_live_stays_as_it_was() -> None:
    network, other, data = Small().train(), Small(seed=3), labelled(Small())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    survey(network, other, data=data, layers=False, **{**QUICK, "layer_examples": 8})
    assert network.training
    assert not other.training
    assert data.epoch == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_files_are_loaded_into_the_model_that_is_named(tmp_path: Path) -> None:
    network = Small()
    names = [save(network, tmp_path / "a.pt"), save(reordered(network), tmp_path / "b.pt")]
    found = survey(*names, model=Small(seed=9), data=labelled(network), layers=False, **QUICK)
    assert found.source == names[0]
    assert found.others == (names[1],)
    aligned = found.pairs[0].line(aligned=True, recalibrated=False)
    assert aligned is not None
    assert aligned.barrier.errors.max() == 0


def test_one_that_cannot_be_used_is_a_row_and_the_others_are_measured() -> None:
    network = Small()
    found = survey(network, Small(classes=4), reordered(network), data=labelled(network), layers=False, **QUICK)
    assert [pair.unjoined for pair in found.pairs] == [True, False]
    reason = found.rows("barriers")[0]["skipped"]
    assert "head.weight" in reason
    assert "(5, 12)" in reason
    assert "(4, 12)" in reason


def test_none_that_can_be_used_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"head\.weight"):
        survey(Small(), Small(classes=4), data=labelled(Small()), **QUICK)
    with pytest.raises(ValueError, match="two networks"):
        survey(Small())


def test_a_model_that_cannot_be_exported_is_not_aligned() -> None:
    data = labelled(Small())
    found = survey(Unexportable(), Unexportable(seed=2), data=data, layers=False, **QUICK)
    assert found.symmetries is None
    assert any(note.startswith("not aligned: ") for note in found.notes)
    assert found.pairs[0].lines
    assert not any(line.aligned for line in found.pairs[0].lines)
    assert found.rows("groups")[0]["skipped"].startswith("not aligned: ")


def test_identical_networks_have_no_barrier() -> None:
    network = Small()
    found = survey(network, Small(), data=labelled(network), layers=False, **QUICK)
    matching, best = found.pairs[0].matching, found.pairs[0].best
    assert matching is not None
    assert matching.moved == 0
    assert best is not None
    assert best.barrier.loss_barrier.height == pytest.approx(0, abs=1e-9)


def test_arrays_hold_permutations_lines_and_the_plane(planted: Connection) -> None:
    arrays = planted.arrays()
    assert planted.pairs[0].matching is not None
    for name, order in planted.pairs[0].matching.permutations.items():
        assert np.array_equal(arrays[f"pair 1/permutations/{name}"], order)
    assert arrays["pair 1/line 4/losses"].shape == arrays["pair 1/line 4/alphas"].shape
    assert arrays["plane/losses"].ndim == 2


@pytest.mark.parametrize("suffix", ["svg", "html", "csv", "json", "npz"])
def test_it_is_saved_in_every_format(planted: Connection, blind: Connection, tmp_path: Path, suffix: str) -> None:
    for number, found in enumerate((planted, blind)):
        assert found.save(tmp_path / f"found-{number}.{suffix}").stat().st_size > 100
