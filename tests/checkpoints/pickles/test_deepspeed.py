from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def save(folder: Path, *names: str) -> Path:
    for name in names:
        torch.save({"module": {"fc.weight": torch.ones(2, 3)}, "dp_world_size": 2}, folder / name)
    return folder


def refusal(folder: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(folder)
    return caught.value


def test_one_process_holds_all_weights(tmp_path: Path) -> None:
    save(tmp_path, "mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt")
    checkpoint = open_checkpoint(tmp_path)
    assert list(checkpoint) == ["fc.weight"]
    assert checkpoint.metadata["dp_world_size"] == "2"


def test_pieces_of_zero_3_are_refused_with_the_way_out(tmp_path: Path) -> None:
    save(tmp_path, *(f"bf16_zero_pp_rank_{rank}_mp_rank_00_model_states.pt" for rank in range(2)))
    error = refusal(tmp_path)
    assert "2 processes hold its weights in pieces" in error.problem
    assert "zero_to_fp32.py" in error.remedy


def test_model_and_pipeline_parallel_weights_are_refused(tmp_path: Path) -> None:
    save(tmp_path, "mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt")
    assert "2 model-parallel processes" in refusal(tmp_path).problem
    save(tmp_path, "layer_00-model_states.pt", "layer_01-model_00-model_states.pt")
    assert "2 files" in refusal(tmp_path).problem


def test_a_whole_model_beside_the_pieces_is_taken(tmp_path: Path) -> None:
    save(tmp_path, "zero_pp_rank_0_mp_rank_00_model_states.pt")
    torch.save({"fc.weight": torch.zeros(2, 3)}, tmp_path / "pytorch_model.bin")
    assert list(open_checkpoint(tmp_path)) == ["fc.weight"]
