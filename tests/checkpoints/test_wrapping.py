from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.checkpoints.wrapping import split_key, unwrap


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
        (["model.layers.0.weight", "loss.weight"], ["layers.0.weight", "loss.weight"]),
        (["net.0.weight", "criterion.weight"], ["0.weight", "criterion.weight"]),
        (["net.0.weight", "encoder.weight"], ["net.0.weight", "encoder.weight"]),
        (["a.parametrizations.weight.original", "a.bias"], ["a.weight_orig", "a.bias"]),
        (["a.parametrizations.weight.0._u", "a.parametrizations.weight.0._v"], ["a.weight_u", "a.weight_v"]),
        (
            ["parametrizations.weight.original0", "parametrizations.weight.original1"],
            ["weight_g", "weight_v"],
        ),
        (["my_parametrizations.weight.original"], ["my_parametrizations.weight.original"]),
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


def test_many_wrappers_in_one_another_are_said_once_each() -> None:
    keys, notes = unwrap(["model." * 20 + "net." * 20 + "a.weight"])
    assert len(notes) == len(set(notes))
    assert keys[0].endswith("a.weight")


def test_a_prefix_that_not_every_name_has_is_not_said_to_be_on_every_name() -> None:
    _, notes = unwrap(["n_averaged", "module.a.weight"])
    assert notes == ("the prefix 'module.' was taken off the names",)
