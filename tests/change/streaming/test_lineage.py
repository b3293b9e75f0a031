from __future__ import annotations

import pytest
import torch

from weightatlas.change.streaming.lineage import Lineage, Tensors, lineages
from weightatlas.checkpoints import open_checkpoint

CONV = torch.zeros(4, 3, 3, 3)


def followed(*states: dict[str, torch.Tensor], tensors: Tensors = "weights") -> dict[str, Lineage]:
    found, _ = lineages([open_checkpoint(state) for state in states], tensors)
    return {lineage.layer: lineage for lineage in found}


def test_weights_are_followed_in_the_order_of_the_latest_network_and_then_what_has_vanished() -> None:
    first = {"old.weight": CONV, "conv1.weight": CONV}
    last = {"conv1.weight": CONV, "conv2.weight": CONV, "fc.weight": torch.zeros(2, 4)}
    found = followed(first, last)
    assert list(found) == ["conv1", "conv2", "fc", "old"]
    assert found["conv1"].pairs == (1,)
    assert found["conv1"].names == ("conv1.weight", "conv1.weight")
    assert found["conv1"].reasons == {}
    assert found["fc"].reasons == {1: "new in this checkpoint"}
    assert found["old"].reasons == {1: "not in this checkpoint"}
    assert [found[name].pairs for name in ("conv2", "fc", "old")] == [(), (), ()]


def test_a_layer_that_comes_back_is_not_new() -> None:
    with_it, without = {"a.weight": CONV, "b.weight": CONV}, {"b.weight": CONV}
    found = followed(with_it, without, with_it, with_it)["a"]
    assert found.reasons == {1: "not in this checkpoint", 2: "not in the checkpoint before"}
    assert found.pairs == (3,)


def test_only_the_latest_shape_is_compared() -> None:
    small, large = {"emb.weight": torch.zeros(10, 4)}, {"emb.weight": torch.zeros(12, 4)}
    found = followed(small, small, large, large)["emb"]
    assert found.shape == (12, 4)
    assert found.pairs == (3,)
    assert found.reasons == {1: "its shape is 10x4, later 12x4", 2: "its shape changed from 10x4 to 12x4"}


def test_wrappers_do_not_change_what_a_layer_is_called() -> None:
    found = followed({"conv1.weight": CONV}, {"module.conv1.weight": CONV}, {"_orig_mod.module.conv1.weight": CONV})
    assert found["conv1"].names == ("conv1.weight", "module.conv1.weight", "_orig_mod.module.conv1.weight")
    assert found["conv1"].pairs == (1, 2)
    assert found["conv1"].tensor == "_orig_mod.module.conv1.weight"


def test_a_tensor_is_compared_in_any_floating_point_type_and_in_no_other() -> None:
    types = (torch.float32, torch.bfloat16, torch.int8, torch.int8, torch.float16)
    found = followed(*({"fc.weight": torch.zeros(2, 4, dtype=dtype)} for dtype in types))["fc"]
    assert found.pairs == (1,)
    assert found.reasons == {
        2: "it is of type int8 here, which is no floating-point number",
        3: "it is of type int8 here, which is no floating-point number",
        4: "it is of type int8 in the checkpoint before, which is no floating-point number",
    }


def test_a_network_that_was_quantised_at_the_end_keeps_its_rows() -> None:
    found = followed({"fc.weight": torch.zeros(2, 4)}, {"fc.weight": torch.zeros(2, 4, dtype=torch.int8)})
    assert list(found["fc"].reasons) == [1]


STATE = {
    "fc.weight": torch.zeros(2, 4),
    "fc.bias": torch.zeros(2),
    "bn.weight": torch.zeros(4),
    "bn.running_mean": torch.zeros(4),
    "bn.num_batches_tracked": torch.tensor(3),
    "codes.weight": torch.zeros(3, 3, dtype=torch.int64),
}


@pytest.mark.parametrize(
    ("tensors", "expected", "note"),
    [
        ("weights", ["fc.weight"], "five tensors left out: biases, norms, running statistics"),
        ("all", ["fc.weight", "fc.bias", "bn.weight", "bn.running_mean"], "two tensors left out: they hold no"),
    ],
)
def test_what_is_measured_and_what_is_left_out(tensors: Tensors, expected: list[str], note: str) -> None:
    checkpoint = open_checkpoint(STATE)
    found, notes = lineages([checkpoint, checkpoint], tensors)
    assert sorted(lineage.tensor for lineage in found) == sorted(expected)
    assert len(notes) == 1
    assert notes[0].startswith(note)


def test_a_tensor_without_elements_has_a_row_and_no_pairs() -> None:
    found = followed(*[{"empty.weight": torch.zeros(0, 3), "fc.weight": torch.zeros(2, 4)}] * 2)["empty"]
    assert (found.elements, found.pairs, found.reasons) == (0, (), {1: "it has no elements"})


def test_tied_weights_are_followed_under_each_of_their_names() -> None:
    shared = torch.zeros(5, 4)
    found = followed(*[{"embed.weight": shared, "head.weight": shared}] * 2)
    assert [lineage.pairs for lineage in found.values()] == [(1,), (1,)]


def test_two_tensors_of_a_layer_are_two_lineages() -> None:
    state = {"attn.in_proj_weight": torch.zeros(12, 4), "attn.out_weight": torch.zeros(4, 4)}
    checkpoint = open_checkpoint(state)
    found, _ = lineages([checkpoint, checkpoint], "weights")
    assert len({lineage.key for lineage in found}) == 2
