from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.wrapping import MOST_ROWS, split_key, unpack, unwrap

W = torch.ones(2)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["module.a.weight", "module.b.weight"], ["a.weight", "b.weight"]),
        (["module._orig_mod.a.weight", "module._orig_mod.b.weight"], ["a.weight", "b.weight"]),
        (["_forward_module.model.a.weight"], ["a.weight"]),
        (["n_averaged", "module.a.weight"], ["n_averaged", "a.weight"]),
        (["model.a.weight", "model.b.weight"], ["a.weight", "b.weight"]),
        (["model.layers.0.weight", "lm_head.weight"], ["layers.0.weight", "lm_head.weight"]),
        (["model.layers.0.weight"], ["layers.0.weight"]),  # as above where the head is tied and not in the file
        (["model.model.layers.0.weight", "model.lm_head.weight"], ["layers.0.weight", "lm_head.weight"]),
        (["base_model.model.model.layers.0.q.lora_A.weight"], ["layers.0.q.lora_A.weight"]),
        (["model.layers.0.weight", "loss.weight"], ["model.layers.0.weight", "loss.weight"]),
        (["model.weight", "lm_head.weight", "weight"], ["model.weight", "lm_head.weight", "weight"]),
        (["model.a.weight", "logit_scale"], ["model.a.weight", "logit_scale"]),
        (["a._orig_mod.weight", "b.weight"], ["a.weight", "b.weight"]),
        (["a._orig_mod.weight", "a.weight"], ["a._orig_mod.weight", "a.weight"]),
        (["module.weight"], ["weight"]),
        (["module.", "module.a"], ["module.", "module.a"]),
        (["modules.a.weight"], ["modules.a.weight"]),
        ([], []),
    ],
)
def test_wrappers_come_off_and_the_networks_own_names_stay(keys: list[str], expected: list[str]) -> None:
    found, notes = unwrap(keys)
    assert list(found) == expected
    assert bool(notes) == (keys != expected)


parts = st.sampled_from(["module", "_orig_mod", "model", "net", "a", "b", "0", "weight", ""])


@given(st.lists(st.lists(parts, min_size=1, max_size=5).map(".".join), unique=True, max_size=8))
def test_names_never_collide_and_undoing_twice_is_undoing_once(keys: list[str]) -> None:
    once, _ = unwrap(keys)
    assert len(set(once)) == len(keys)
    assert unwrap(once)[0] == once


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a.b.weight", ("a.b", "weight")),
        ("blocks.0.gamma_1", ("blocks.0", "gamma_1")),
        ("cls_token", ("cls_token", "cls_token")),
        (".weight", (".weight", "weight")),
        ("a.", ("a.", "a.")),
        ("", ("", "")),
    ],
)
def test_a_key_is_a_path_and_a_parameter(key: str, expected: tuple[str, str]) -> None:
    assert split_key(key) == expected


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
