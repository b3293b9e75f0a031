from __future__ import annotations

import pytest
import torch

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.unpacking import MOST_ROWS, unpack

W = torch.ones(2)


def is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


@pytest.mark.parametrize(
    "container", ["state_dict", "model", "model_state_dict", "module", "ema", "state_dict_ema", "my_network"]
)
def test_the_dictionary_that_holds_the_weights_is_found(container: str) -> None:
    found = unpack({"epoch": 3, container: {"a.weight": W}, "optimizer": {"b": W}}, is_tensor)
    assert list(found.tensors) == ["a.weight"]
    assert found.metadata == {"epoch": "3"}
    assert [skipped.name for skipped in found.skipped] == ["optimizer"]
    assert container in found.notes[0]


def test_plain_weights_come_before_their_average_which_is_said() -> None:
    found = unpack({"ema": {"a.weight": 2 * W}, "checkpoint": {"model": {"a.weight": W}, "lr": 0.1}}, is_tensor)
    assert found.tensors["a.weight"] is W
    assert found.metadata == {"checkpoint.lr": "0.1"}
    assert "second set" in found.skipped[0].reason
    assert "checkpoint.model" in found.notes[0]


def test_networks_side_by_side_are_all_listed() -> None:
    checkpoint = open_checkpoint({"generator": {"a.weight": W}, "discriminator": {"a.weight": 2 * W}, "step": 4})
    assert [info.layer for info in checkpoint.info.values()] == ["generator.a", "discriminator.a"]
    assert "generator, discriminator" in checkpoint.notes[0]
    assert checkpoint.metadata == {"step": "4"}


def test_tensors_beside_other_things_are_the_weights() -> None:
    found = unpack({"a.weight": W, "_extra_state": [1], "config": {"w": W}, "version": None}, is_tensor)
    assert list(found.tensors) == ["a.weight"]
    assert {skipped.name for skipped in found.skipped} == {"_extra_state", "config"}
    assert found.metadata == {"version": "None"}


def test_dictionaries_that_share_their_parts_are_searched_once() -> None:
    layer: dict[object, object] = {"end": [1]}
    for _ in range(8):
        layer = {str(key): {**layer, "own": key} for key in range(30)}  # 30 to the power of 8 paths
    assert unpack({"a": layer, "b": layer}, is_tensor).tensors == {}
    assert unpack({"a": layer, "model": {"w": W}}, is_tensor).tensors == {"w": W}


def test_rows_of_what_is_set_aside_are_bounded() -> None:
    found = unpack({"w": W, **{str(key): [key] for key in range(MOST_ROWS + 5)}}, is_tensor)
    assert len(found.skipped) == MOST_ROWS + 1
    assert found.skipped[-1].reason == "5 more entries"


@pytest.mark.parametrize(
    "beside", ["best_acc1", "rng_state", "loss", "step", "global_step", "train_time", "torch_rng_state", "val_score"]
)
@pytest.mark.parametrize("container", ["state_dict", "model", "model_state_dict", "my_network"])
def test_a_tensor_beside_the_network_does_not_hide_it(container: str, beside: str) -> None:
    found = unpack({"epoch": 3, container: {"a.weight": W, "a.bias": W}, beside: torch.tensor(7.0)}, is_tensor)
    assert list(found.tensors) == ["a.weight", "a.bias"]
    assert [(skipped.name, skipped.reason) for skipped in found.skipped] == [(beside, "a tensor beside the weights")]


def test_nested_parts_and_the_tensors_beside_them_are_one_network() -> None:
    state: dict[object, object] = {
        "model": {"backbone": {"stem": {"weight": W}, "0.weight": W}, "head": {"weight": W}, "cls_token": W}
    }
    assert set(unpack(state, is_tensor).tensors) == {
        "backbone.stem.weight",
        "backbone.0.weight",
        "head.weight",
        "cls_token",
    }


def test_an_average_beside_plain_weights_at_the_top_is_set_aside() -> None:
    found = unpack({"a.weight": W, "ema": {"a.weight": 2 * W}}, is_tensor)
    assert found.tensors == {"a.weight": W}
    assert [skipped.name for skipped in found.skipped] == ["ema"]


@pytest.mark.parametrize("name", ["optimizer", "policy_optimizer", "g_optim", "optimizer_states", "trainer"])
def test_an_optimizer_is_no_network_whatever_it_is_called(name: str) -> None:
    optimizer = {"state": {0: {"exp_avg": W}}, "param_groups": []}
    found = unpack({"policy": {"a.weight": W}, name: optimizer}, is_tensor)
    assert list(found.tensors) == ["a.weight"]
