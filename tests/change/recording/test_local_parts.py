from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from weightatlas.change.recording.local_parts import Whole, flat_parts, is_dtensor, local_part

if TYPE_CHECKING:
    import pytest

    from weightatlas.change.recording.local_parts import LocalPart


def part_of(module: nn.Linear) -> LocalPart:
    return local_part(cast("nn.Parameter", module.weight), module, "weight")


def test_a_plain_parameter_is_whole_and_not_copied() -> None:
    module = nn.Linear(3, 2)
    part = part_of(module)
    assert isinstance(part, Whole)
    assert (part.is_sharded, part.counts) == (False, True)
    assert part.take().data_ptr() == module.weight.data_ptr()
    assert not part.take().requires_grad


def test_a_parameter_in_its_place_is_followed() -> None:
    module = nn.Linear(3, 2)
    part = part_of(module)
    module.load_state_dict({"weight": torch.ones(2, 3), "bias": torch.ones(2)}, assign=True)
    assert part.take().tolist() == [[1, 1, 1], [1, 1, 1]]


def test_one_that_was_moved_by_pruning_is_still_found() -> None:
    module = nn.Linear(3, 2)
    part = part_of(module)
    original = cast("nn.Parameter", module.weight)
    del module.weight
    module.register_parameter("weight_orig", original)
    module.weight = original.detach() * 0
    assert part.take().data_ptr() == original.data_ptr()


def test_a_plain_module_has_no_flat_parts() -> None:
    assert list(flat_parts(nn.Linear(3, 2))) == []


def test_of_a_whole_parameter_the_first_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        assert part_of(nn.Linear(3, 2)).counts == (rank == 0)


def test_only_a_dtensor_is_one() -> None:
    assert not is_dtensor(torch.ones(2))
    assert not is_dtensor(DTensor)
