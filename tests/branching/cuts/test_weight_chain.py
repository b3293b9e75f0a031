from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from weightatlas.branching.cuts.weight_chain import weight_chain
from weightatlas.checkpoints import open_checkpoint

if TYPE_CHECKING:
    from weightatlas.anatomy.flow import ChannelFlow


def chain_of(*modules: nn.Module) -> ChannelFlow:
    return weight_chain(open_checkpoint(nn.Sequential(*modules)).layers)


def test_each_layer_reads_the_units_of_the_one_before() -> None:
    flow = chain_of(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1), nn.Flatten(), nn.Linear(20, 2))
    assert [layer.inputs.tolist() for layer in flow.layers[:2]] == [[0, 1, 2], [3, 4, 5, 6]]
    assert flow.layers[2].inputs.tolist() == [unit for unit in range(7, 12) for _ in range(4)]
    assert [layer.norm for layer in flow.layers] == ["1", None, None]
    assert [layer.kernel for layer in flow.layers] == [(3, 3), (1, 1), (1, 1)]
    assert flow.nodes == 14
    assert len(flow.notes) == 1


def test_grouped_and_depthwise_convolutions_read_in_groups() -> None:
    flow = chain_of(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 3, groups=2))
    assert [layer.groups for layer in flow.layers] == [1, 8, 2]
    assert flow.layers[2].inputs.tolist() == flow.layers[1].outputs.tolist()


def test_what_does_not_fit_starts_anew_and_is_said() -> None:
    flow = chain_of(nn.Conv2d(3, 4, 3), nn.Conv2d(7, 5, 3), nn.Linear(9, 2))
    assert flow.layers[1].inputs.tolist() == list(range(7, 14))
    assert flow.notes[1] == "2 of 3 weights do not fit the one before and start anew: 1, 2"


def test_a_norm_of_other_width_belongs_to_no_layer() -> None:
    assert chain_of(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(5)).layers[0].norm is None


def test_a_layer_norm_is_not_folded() -> None:
    assert chain_of(nn.Linear(3, 4), nn.LayerNorm(4)).layers[0].norm is None


def test_no_weights_are_an_empty_chain() -> None:
    flow = weight_chain(open_checkpoint({"bias": torch.ones(3)}).layers)
    assert flow.layers == ()
    assert flow.nodes == 0
