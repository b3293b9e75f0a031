from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, cast

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from weightatlas.change.recording.watched import watched
from weightatlas.checkpoints import Skipped, open_checkpoint
from weightatlas.evaluation import open_model

if TYPE_CHECKING:
    from weightatlas.anatomy import Layer

ZOO = ("torchvision:resnet18?pretrained=false", "timm:efficientnet_b0?pretrained=false", "weightatlas:alexnet")


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def layers(model: nn.Module, **options: object) -> list[str]:
    return [each.layer for each in watched(model, **options).watched]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ZOO)
def test_names_roles_and_order_are_those_of_a_survey_of_its_checkpoints(name: str) -> None:
    model = open_model(name)
    surveyed: list[Layer] = [layer for layer in open_checkpoint(model).layers if len(layer.shape) > 1]
    recorded = watched(model).watched
    assert [(each.layer, each.tensor, each.role, each.shape) for each in recorded] == [
        (layer.layer, layer.tensor, layer.role, layer.shape) for layer in surveyed
    ]
    parameters = dict(model.named_parameters())
    assert all(each.part.take().data_ptr() == parameters[each.tensor].data_ptr() for each in recorded)


def test_by_default_only_weights_of_more_than_one_dimension() -> None:
    assert layers(network()) == ["0", "3"]
    selection = watched(network(), tensors="all")
    assert [each.tensor for each in selection.watched] == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "3.weight",
        "3.bias",
    ]
    assert selection.names == tuple(each.tensor for each in selection.watched)
    assert watched(network()).names == ("0", "3")


def test_wrappers_are_undone_in_names_and_said() -> None:
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # compiling looks for what is not installed
        compiled = cast("nn.Module", torch.compile(nn.DataParallel(model)))
    selection = watched(compiled)
    assert [each.layer for each in selection.watched] == ["0", "3"]
    assert len(selection.notes) == 2
    part = nn.Sequential(cast("nn.Module", torch.compile(model[0])), *list(model)[1:])
    assert layers(part) == ["0", "3"]


def test_fabric_is_undone_too() -> None:
    fabric = pytest.importorskip("lightning_fabric").Fabric(accelerator="cpu", devices=1)
    model = network()
    prepared, _ = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert layers(prepared) == ["0", "3"]


def test_a_tied_parameter_is_recorded_once_under_its_first_name() -> None:
    model = nn.ModuleDict({"embedding": nn.Embedding(5, 4), "head": nn.Linear(4, 5, bias=False)})
    model["head"].weight = model["embedding"].weight
    assert layers(model) == ["embedding"]


def test_parametrized_weights_are_named_as_their_layers() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3)))
    selection = watched(model)
    assert [each.layer for each in selection.watched] == ["0", "0"]


def test_what_is_frozen_is_named_and_left_out_unless_it_is_asked_for() -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    selection = watched(model)
    assert [each.layer for each in selection.watched] == ["3"]
    assert selection.skipped == (Skipped("0.weight", "frozen: it requires no gradient"),)
    assert layers(model, frozen=True) == ["0", "3"]


def test_what_has_no_values_is_named_with_the_reason() -> None:
    with torch.device("meta"):
        on_meta = nn.Linear(3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lazy = nn.LazyLinear(2)
    whole = nn.Linear(3, 2)
    whole.weight = nn.Parameter(torch.zeros(2, 3, dtype=torch.int8), requires_grad=False)
    partitioned = nn.Linear(3, 2)
    partitioned.weight.data = torch.empty(0)
    partitioned.weight.ds_tensor, partitioned.weight.ds_shape = torch.zeros(3), torch.Size([2, 3])  # type: ignore[attr-defined]
    empty = nn.Linear(3, 1)
    empty.weight = nn.Parameter(torch.empty(0, 3))
    model = nn.ModuleDict(
        {
            "meta": on_meta,
            "lazy": lazy,
            "whole": whole,
            "partitioned": partitioned,
            "empty": empty,
            "ok": nn.Linear(3, 2),
        }
    )
    selection = watched(model, frozen=True)
    assert [each.layer for each in selection.watched] == ["ok"]
    assert {entry.name: entry.reason for entry in selection.skipped} == {
        "meta.weight": "on the meta device: it has a shape and no values",
        "lazy.weight": "it has no shape yet: run one batch, then record",
        "whole.weight": "its values are int8",
        "partitioned.weight": "DeepSpeed keeps its values elsewhere",
        "empty.weight": "it has no elements",
        "lazy.bias": "it has no shape yet: run one batch, then record",  # nor is it known to be a bias
    }


def test_a_model_without_parameters_has_nothing_to_record() -> None:
    assert watched(nn.Flatten()).watched == ()


def test_buffers_are_not_recorded() -> None:
    model = nn.Linear(3, 2)
    model.register_buffer("mask", torch.ones(2, 3))
    assert [each.tensor for each in watched(model, tensors="all").watched] == ["weight", "bias"]
