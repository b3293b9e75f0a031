"""A survey is one row a tensor, the same whatever the order of the work, and loses nothing in silence."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
import torch

from weightatlas.anatomy import LayerSurvey, survey, weight_statistics
from weightatlas.checkpoints import Checkpoint, Skipped, TensorInfo
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def checkpoint(tensors: dict[str, torch.Tensor], *, skipped: tuple[Skipped, ...] = ()) -> Checkpoint:
    info = [
        TensorInfo(
            name,
            name.rpartition(".")[0],
            name.rpartition(".")[2],
            tuple(value.shape),
            str(value.dtype).removeprefix("torch."),
            value.numel() * value.element_size(),
            "model.pt",
        )
        for name, value in tensors.items()
    ]
    return Checkpoint("runs/model.pt", info, lambda tensor: tensors[tensor.name], skipped=skipped)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(8, 3, 3, 3, generator=generator),
        "bn.weight": torch.ones(8),
        "bn.running_mean": torch.zeros(8),
        "bn.num_batches_tracked": torch.tensor(3),
        "fc.weight": torch.randn(400, 300, generator=generator),
        "fc.bias": torch.zeros(400),
    }


@pytest.mark.parametrize("jobs", [1, 3])
def test_rows_follow_the_file_and_figures_the_tensors(tensors: dict[str, torch.Tensor], jobs: int) -> None:
    rows = survey(checkpoint(tensors), jobs=jobs).rows()
    assert [row["tensor"] for row in rows] == list(tensors)
    for row in rows:
        assert tuple(row) == LayerSurvey.tables["layers"]
        found = weight_statistics(tensors[row["tensor"]])
        for figure in ("norm", "std", "kurtosis", "stable_rank"):
            value = getattr(found, figure)
            assert row[figure] == (pytest.approx(value, rel=1e-5) if math.isfinite(value) else None)


def test_the_largest_tensor_is_measured_first(tensors: dict[str, torch.Tensor]) -> None:
    seen: list[tuple[int, int, str]] = []
    survey(checkpoint(tensors), jobs=1, progress=lambda *step: seen.append(step))
    assert seen[0] == (1, 6, "fc.weight")
    assert seen[-1] == (6, 6, "bn.num_batches_tracked")


def test_counters_and_unreadable_things_are_rows_with_the_reason(tensors: dict[str, torch.Tensor]) -> None:
    found = survey(checkpoint(tensors, skipped=(Skipped("epoch", "it is a number"),)))
    rows = {row["tensor"]: row for row in found.rows()}
    assert rows["bn.num_batches_tracked"]["skipped"] == "it holds int64, and only floating-point weights are measured"
    assert rows["bn.num_batches_tracked"]["norm"] is None
    assert rows["epoch"]["skipped"] == "it is a number"
    assert list(rows)[-1] == "epoch"


def test_a_tensor_that_fails_to_read_does_not_end_the_survey() -> None:
    def read(tensor: TensorInfo) -> torch.Tensor:
        if tensor.name == "a.weight":
            source = "model.pt"
            raise SourceError(source, "it is cut short", "download it again")
        message = "broken\nstorage"
        raise RuntimeError(message)

    info = [TensorInfo(name, name[0], "weight", (2, 2), "float32", 16, "f") for name in ("a.weight", "b.weight")]
    rows = survey(Checkpoint("model.pt", info, read)).rows()
    assert [row["skipped"] for row in rows] == [
        "it is cut short; download it again",
        "it cannot be read: broken storage",
    ]


def test_nothing_is_measured_where_nothing_is() -> None:
    assert survey(checkpoint({"conv.weight": torch.zeros(0, 3, 3, 3)})).rows()[0]["skipped"] == "it has no elements"
    assert survey(checkpoint({})).rows() == []


def test_the_saved_table_has_no_nan(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    tensors["fc.weight"][0, 0] = math.nan
    found = survey(checkpoint(tensors))
    rows = json.loads(found.save(tmp_path / "layers.json").read_text())
    assert rows == found.records()
    assert len(found.frame()) == len(tensors)


def test_an_unknown_table_is_named(tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(KeyError, match="there is layers"):
        survey(checkpoint(tensors)).rows("units")
