from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from weightatlas.branching.pictures.tap import centre, device_of, find_layer, image_channels, trunk, unit_axis
from weightatlas.errors import SourceError


class Forbidden(nn.Module):
    def forward(self, _inputs: torch.Tensor) -> torch.Tensor:
        message = "what lies behind the layer was computed"
        raise AssertionError(message)


class ChannelsLast(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.permute(0, 2, 3, 1)


class Pair(nn.Module):
    def forward(self, inputs: torch.Tensor) -> Any:  # noqa: ANN401
        return inputs, None


class Nothing(nn.Module):
    def forward(self, _inputs: torch.Tensor) -> str:
        return "nothing"


class Swallows(nn.Module):
    """A model that goes on whatever its parts raise."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Conv2d(3, 2, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        try:
            return self.part(inputs)  # type: ignore[no-any-return]
        except Exception:  # noqa: BLE001 - as some models do
            return inputs


def with_trunk(model: nn.Module, layer: str, images: torch.Tensor) -> torch.Tensor:
    with trunk(model, layer) as run:
        return run(images)


def test_it_gives_what_the_layer_gives_and_goes_no_further() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Forbidden())
    images = torch.rand(2, 3, 8, 8)
    with trunk(model, "0") as run:
        found = run(images)
    assert torch.equal(found, model[0](images))


def test_it_gives_what_the_layer_reads() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Forbidden())
    images = torch.rand(2, 3, 8, 8)
    with trunk(model, "2", at="input") as run, torch.no_grad():
        assert torch.equal(run(images), model[0](images).relu())


def test_the_model_and_torch_are_left_as_they_were() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)).train()
    model[2].eval()
    model[3].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    with trunk(model, "3") as run:
        assert not any(part.training for part in model.modules())
        torch.rand(3)
        run(torch.rand(2, 3, 8, 8)).sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in model] == [True, True, False, True]
    assert model.training
    assert not model[3].weight.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model[3]._forward_hooks


def test_the_model_is_put_back_after_an_error() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Pair()).train()
    with pytest.raises(SourceError, match=r"it does not take images \[2, 5, 8, 8\] \(RuntimeError: .*; give the size"):
        with_trunk(model, "1", torch.rand(2, 5, 8, 8))
    assert model.training
    assert not model[1]._forward_hooks


def test_a_layer_that_draws_random_numbers_draws_the_same_every_time() -> None:
    class Noisy(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs + torch.rand_like(inputs)

    answers = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with trunk(Noisy(), "") as run:
            answers.append(run(torch.zeros(1, 3, 2, 2)))
    assert torch.equal(*answers)


def test_the_first_tensor_of_a_tuple_counts() -> None:
    with trunk(nn.Sequential(Pair()), "0") as run:
        assert run(torch.zeros(1, 3, 4, 4)).shape == (1, 3, 4, 4)


def test_units_are_brought_to_the_second_axis() -> None:
    with trunk(nn.Sequential(nn.Conv2d(3, 5, 3), ChannelsLast()), "1") as run:
        assert run(torch.zeros(1, 3, 8, 8)).shape == (1, 5, 6, 6)


@pytest.mark.parametrize(
    ("module", "shape", "axis"),
    [
        (nn.Conv2d(3, 4, 1), (2, 4, 4, 5), 1),
        (nn.BatchNorm1d(4), (2, 4), 1),
        (nn.Linear(3, 4), (2, 4), 1),
        (nn.Linear(3, 4), (2, 6, 6, 4), 3),
        (nn.LayerNorm(8), (2, 7, 8), 2),
        (nn.Identity(), (2, 7, 8), 2),
        (nn.Identity(), (2, 8, 6, 6), 1),
        (nn.Identity(), (2, 6, 6, 8), 3),
        (nn.Identity(), (2, 6, 6, 6), 1),
        (nn.Identity(), (2,), 0),
    ],
)
def test_the_axis_of_units(module: nn.Module, shape: tuple[int, ...], axis: int) -> None:
    assert unit_axis(module, torch.zeros(shape)) == axis


def test_a_handler_of_the_models_own_does_not_stop_us() -> None:
    with trunk(Swallows(), "part") as run:
        assert run(torch.zeros(1, 3, 4, 4)).shape == (1, 2, 4, 4)


def test_a_compiled_model_runs_as_its_original() -> None:
    compiled = nn.Identity()  # as torch.compile wraps what it is given
    compiled._orig_mod = nn.Sequential(nn.Conv2d(3, 4, 3), Forbidden())
    with trunk(compiled, "0") as run:
        assert run(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)


def test_unknown_layers_are_refused_with_near_names() -> None:
    model = nn.ModuleDict({"layer1": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    with pytest.raises(SourceError, match=r"layer1\.conv: ModuleDict has no such layer; did you mean layer1\?"):
        find_layer(model, "layer1.conv")
    with pytest.raises(SourceError, match="xyz: ModuleDict has no such layer; there is layer1, head"):
        find_layer(model, "xyz")


def test_the_second_name_of_a_shared_layer_is_known() -> None:
    shared = nn.ReLU()
    model = nn.Sequential(shared, nn.Conv2d(3, 2, 1), shared)
    assert find_layer(model, "2") is shared


def test_layers_that_are_not_called_or_give_no_tensor_are_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1))
    model.extra = nn.Linear(2, 2)
    model.forward = model[0].forward  # type: ignore[method-assign]
    with pytest.raises(SourceError, match="extra: Sequential does not call it"):
        with_trunk(model, "extra", torch.zeros(1, 3, 4, 4))
    with pytest.raises(SourceError, match="0: it gives a str, no tensor"):
        with_trunk(nn.Sequential(Nothing()), "0", torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("positions", "place"), [((), ()), ((5, 8), (2, 4)), ((16,), (10,)), ((17,), (11,)), ((1,), (0,))]
)
def test_the_centre(positions: tuple[int, ...], place: tuple[int, ...]) -> None:
    assert centre(positions) == place


def test_what_a_model_is_made_of() -> None:
    assert image_channels(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1))) == 1
    assert image_channels(nn.Linear(2, 2)) == 3
    assert device_of(nn.Linear(2, 2).double()) == (torch.device("cpu"), torch.float64)
    assert device_of(nn.ReLU()) == (torch.device("cpu"), torch.float32)
