from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.anatomy.graph.example_walks import Called
from weightatlas.anatomy.graph.exporting import export_graph
from weightatlas.anatomy.graph.linearised import Linearised, functional_form, operator_name

MAPS = (1, 3, 6, 6)


def linear_map(call: Any, shape: tuple[int, ...], **layers: nn.Module) -> tuple[torch.Tensor, Linearised]:  # noqa: ANN401
    """The matrix (outputs, inputs) of a function's linear stand-in, and the run that gave it."""
    torch.manual_seed(0)
    exported = export_graph(Called(call, **layers), torch.randn(shape))
    graph = exported.module.graph
    start = next(node for node in graph.find_nodes(op="placeholder") if node.name == exported.inputs[0])
    end = graph.output_node().args[0][0]  # type: ignore[index]
    assert isinstance(end, torch.fx.Node)
    run = Linearised(exported.module, start, end)
    given = {node.name: exported.state.get(node.name) for node in graph.find_nodes(op="placeholder")}
    run.run(*(exported.example[0] if name == start.name else value for name, value in given.items()))
    assert run.result is not None
    assert run.origin is not None
    rows = [torch.autograd.grad(one, run.origin, retain_graph=True)[0].flatten() for one in run.result.flatten()]
    assert float(run.result.detach().abs().max()) < 1e-6, "nothing is added: zeros give zeros"
    return torch.stack(rows), run


def expected_of(call: Any, shape: tuple[int, ...]) -> torch.Tensor:  # noqa: ANN401
    """The matrix of a function that is linear, column by column."""
    size = torch.Size(shape).numel()
    return torch.stack([call(one.reshape(shape)).flatten() for one in torch.eye(size)], 1).detach()


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def seeded(layer: nn.Module) -> Any:  # noqa: ANN401 - the same layer
    generator = torch.Generator().manual_seed(1)
    for name, value in layer.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + (0.5 if "var" in name else -0.5))
    return layer.eval()


@pytest.mark.parametrize("axes", [1, 2])
def test_convolutions_lose_their_bias(axes: int) -> None:
    layer = seeded((nn.Conv1d, nn.Conv2d)[axes - 1](3, 2, 3, padding=1))
    convolve = (functional.conv1d, functional.conv2d)[axes - 1]
    shape = (1, 3, *[4] * axes)
    found, run = linear_map(lambda self, x: self.layer(x), shape, layer=layer)
    close(found, expected_of(lambda x: convolve(x, layer.weight, padding=1), shape))
    assert (run.replaced, run.bent) == ({}, {})


@pytest.mark.parametrize("name", ["relu", "gelu", "hardswish", "silu", "tanh", "sigmoid", "leaky_relu", "relu_"])
def test_activations_are_the_identity(name: str) -> None:
    found, run = linear_map(lambda _, x: getattr(functional, name, getattr(torch, name, None))(x + 0), (1, 4))  # type: ignore[misc]
    close(found, torch.eye(4))
    assert list(run.replaced) == [name.rstrip("_")]


POOLS: list[tuple[Any, Any]] = [
    (lambda x: functional.max_pool2d(x, 2), lambda x: functional.avg_pool2d(x, 2)),
    (lambda x: functional.max_pool2d(x, 3, 2, 1), lambda x: functional.avg_pool2d(x, 3, 2, 1)),
    (lambda x: functional.max_pool2d(x, (1, 3), 1), lambda x: functional.avg_pool2d(x, (1, 3), 1)),
    (lambda x: functional.adaptive_max_pool2d(x, 2), lambda x: functional.adaptive_avg_pool2d(x, 2)),
    (lambda x: functional.max_pool1d(x[:, :, 0], 2), lambda x: functional.avg_pool1d(x[:, :, 0], 2)),
]


@pytest.mark.parametrize(("maximum", "average"), POOLS)
def test_max_pooling_is_the_mean_of_its_windows(maximum: Any, average: Any) -> None:  # noqa: ANN401
    found, run = linear_map(lambda _, x: maximum(x), MAPS)
    close(found, expected_of(average, MAPS))
    assert list(run.replaced) == ["max_pool"]


def test_a_rounded_up_window_has_as_many_places_as_with_torch() -> None:
    for size, stride, padding, length in [(3, 2, 0, 6), (2, 3, 0, 7), (3, 2, 1, 5), (2, 2, 1, 5), (3, 3, 1, 6)]:
        pool = nn.MaxPool2d(size, stride, padding, ceil_mode=True)
        _, run = linear_map(lambda self, x: self.pool(x), (1, 1, length, length), pool=pool)
        assert run.result is not None
        assert run.result.shape == pool(torch.zeros(1, 1, length, length)).shape


def test_norms_keep_their_scale() -> None:
    norm = seeded(nn.BatchNorm2d(3))
    found, run = linear_map(lambda self, x: self.norm(x), (1, 3, 2, 2), norm=norm)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    close(found, torch.diag(scale.detach().repeat_interleave(4)))
    assert run.replaced == {}, "it is affine, and exact"

    norm = seeded(nn.LayerNorm(4))
    found, run = linear_map(lambda self, x: self.norm(x), (1, 4), norm=norm)
    close(found, norm.weight.detach()[:, None] * (torch.eye(4) - 0.25))
    assert list(run.replaced) == ["layer_norm"]

    found, _ = linear_map(lambda self, x: self.norm(x), (1, 4, 2), norm=nn.GroupNorm(2, 4))
    close(found, torch.kron(torch.eye(2), torch.eye(4) - 0.25))


def test_a_gate_is_one_whichever_side_it_stands_on() -> None:
    for call in (
        lambda _, x: x * torch.sigmoid(x),
        lambda _, x: torch.sigmoid(x) * x,
        lambda _, x: x * x.mean(1, keepdim=True),
        lambda _, x: x.mean(1, keepdim=True) * x,
        lambda _, x: x / (1 + x),
    ):
        found, run = linear_map(call, (1, 4))
        close(found, torch.eye(4))
        assert "gate" in run.replaced


def test_a_constant_factor_stays() -> None:
    found, run = linear_map(lambda _, x: x * torch.tensor([1.0, 2.0, 3.0]) / 2, (1, 3))
    close(found, torch.diag(torch.tensor([0.5, 1.0, 1.5])))
    assert run.replaced == {}


def test_the_rest_is_linearised_at_zero_and_named() -> None:
    found, run = linear_map(lambda _, x: torch.sin(3 * x) + torch.atan(x), (1, 3))
    close(found, 4 * torch.eye(3))
    assert set(run.bent) == {"sin", "atan"}


def test_only_what_leads_to_the_end_is_run() -> None:
    def call(self: Any, x: torch.Tensor) -> Any:  # noqa: ANN401
        return self.layer(x), self.wide(x).sin()

    layer = nn.Linear(3, 2)
    found, run = linear_map(call, (1, 3), layer=layer, wide=nn.Linear(3, 50))
    close(found, layer.weight.detach())
    assert (run.bent, run.largest) == ({}, 2)


def test_operators_go_by_one_name_in_place_or_not() -> None:
    assert operator_name(torch.ops.aten.relu_.default) == operator_name(torch.ops.aten.relu.default) == "relu"
    assert operator_name(len) == "len"
    assert functional_form(torch.ops.aten.add_.Tensor) is torch.ops.aten.add.Tensor
    assert functional_form(torch.ops.aten.relu.default) is torch.ops.aten.relu.default
    x = torch.tensor([-1.0])
    functional_form(torch.ops.aten.relu_.default)(x)
    assert x.tolist() == [-1.0]
