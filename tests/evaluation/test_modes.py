from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from weightatlas.evaluation.modes import in_mode


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_every_module_is_in_the_mode_and_then_in_its_own(*, training: bool, fails: bool) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2).eval(), nn.ReLU()))
    before = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError) if fails else nullcontext(), in_mode(model, training=training):
        assert all(module.training is training for module in model.modules())
        model(torch.zeros(3, 5 if fails else 2))
    assert [module.training for module in model.modules()] == before


def test_an_exported_graph_which_refuses_eval_is_left_as_it_was() -> None:
    graph = torch.export.export(nn.Sequential(nn.Linear(2, 2)), (torch.zeros(3, 2),)).module()
    before = [module.training for module in graph.modules()]
    with in_mode(graph, training=not graph.training):
        graph(torch.zeros(3, 2))
    assert [module.training for module in graph.modules()] == before
