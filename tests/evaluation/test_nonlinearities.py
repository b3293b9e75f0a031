from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from weightatlas.errors import SourceError
from weightatlas.evaluation import open_model
from weightatlas.evaluation.elementwise import GATES, NONLINEARITIES
from weightatlas.evaluation.nonlinearities import Point, nonlinearities
from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d

if TYPE_CHECKING:
    from collections.abc import Callable

Told = list[tuple[Point, torch.Tensor]]


def told(model: nn.Module, inputs: torch.Tensor, *, gates: bool = False) -> Told:
    found: Told = []
    with nonlinearities(model, lambda point, given: found.append((point, given.clone())), gates=gates):
        model(inputs)
    return found


def names(found: Told) -> list[str]:
    return [point.layer for point, _ in found]


def is_untouched(model: nn.Module) -> bool:
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
    return hooks == 0 and not torch._C._len_torch_function_stack()


class Applied(nn.Module):
    """A function behind a convolution."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.function = function

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.function(self.conv(inputs))


class Residual(nn.Module):
    """Convolution, norm, relu, convolution, sum in place, relu."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(4, 4, 1), norm, nn.Conv2d(4, 4, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        out = self.last(functional.relu(self.norm(self.conv(inputs))))
        out += inputs
        return torch.relu(out)


MAPS = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
IMAGES = MAPS[:, :3]

FUNCTIONS: list[tuple[Callable[[torch.Tensor], torch.Tensor], str]] = [
    (functional.relu, "relu"),
    (torch.relu_, "relu"),
    (lambda x: x.relu(), "relu"),
    (lambda x: functional.relu(x, inplace=True), "relu"),
    (lambda x: x.clamp(min=0), "relu"),
    (lambda x: x.clamp_min_(0), "relu"),
    (functional.relu6, "relu6"),
    (functional.leaky_relu, "leaky_relu"),
    (lambda x: functional.leaky_relu_(x, 0.1), "leaky_relu"),
    (functional.elu, "elu"),
    (functional.selu, "selu"),
    (functional.celu, "celu"),
    (functional.gelu, "gelu"),
    (functional.silu, "silu"),
    (functional.mish, "mish"),
    (functional.hardswish, "hardswish"),
    (functional.hardtanh, "hardtanh"),
    (functional.softplus, "softplus"),
    (functional.logsigmoid, "logsigmoid"),
    (torch.tanh, "tanh"),
    (lambda x: x.tanh_(), "tanh"),
    (lambda x: functional.prelu(x, torch.tensor([0.25])), "prelu"),
    (torch.ops.aten.relu.default, "relu"),
]


@pytest.mark.parametrize(("function", "name"), FUNCTIONS)
def test_functions_methods_and_operators_are_told_with_what_they_are_given(
    function: Callable[[torch.Tensor], torch.Tensor], name: str
) -> None:
    model = Applied(function)
    ((point, given),) = told(model, IMAGES)
    assert point == Point("conv", name, None, 1)
    assert torch.equal(given, model.conv(IMAGES)), "as it was before, also where the function works in place"


@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.PReLU, nn.ELU])
def test_modules_are_told_once(kind: type[nn.Module]) -> None:
    found = told(nn.Sequential(nn.Conv2d(3, 4, 1), kind()), IMAGES)
    assert [(point.layer, point.function in NONLINEARITIES) for point, _ in found] == [("0", True)]


@pytest.mark.parametrize("gate", sorted(GATES))
def test_gates_are_told_where_asked_for(gate: str) -> None:
    model = Applied(getattr(functional, gate))
    assert told(model, IMAGES) == []
    assert [point.function for point, _ in told(model, IMAGES, gates=True)] == [gate]


@pytest.mark.parametrize("training", [True, False])
def test_a_residual_block_names_the_norm_and_the_sum(*, training: bool) -> None:
    model = Residual(nn.BatchNorm2d(4)).train(training)
    found = told(model, MAPS)
    assert [(point.layer, point.norm) for point, _ in found] == [("norm", "batch"), ("(sum)", None)]
    assert is_untouched(model)


@pytest.mark.parametrize(
    ("norm", "kind"),
    [
        (nn.GroupNorm(2, 4), "group"),
        (nn.InstanceNorm2d(4, affine=True), "instance"),
        (nn.SyncBatchNorm(4), "batch"),
        (BatchChannelNorm2d(4, 2), "batch-channel"),
        (BatchChannelNorm2d(4, 2, estimated=True), "batch-channel"),
        (nn.LocalResponseNorm(2), None),
    ],
)
def test_the_kind_of_the_norm_is_said(norm: nn.Module, kind: str | None) -> None:
    model = Residual(norm).eval()
    first, second = told(model, MAPS)
    assert (first[0].norm, second[0].norm) == (kind, None)
    assert kind is None or first[0].layer == "norm"


def test_what_comes_out_is_the_same_to_the_bit_and_gradients_flow() -> None:
    model = Residual(nn.BatchNorm2d(4))
    twin = copy.deepcopy(model)
    with nonlinearities(model, lambda _point, _inputs: None):
        model(MAPS).sum().backward()
    twin(MAPS).sum().backward()
    for (name, one), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert one.grad is not None, name
        assert torch.equal(one.grad, other.grad if other.grad is not None else torch.empty(0)), name
    assert torch.equal(model.norm.running_mean, twin.norm.running_mean)  # type: ignore[arg-type]


def test_layers_that_are_called_again_are_numbered_and_every_pass_begins_anew() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return functional.relu(self.layer(functional.relu(self.layer(inputs))))

    model, found = Twice(), []
    with nonlinearities(model, lambda point, _inputs: found.append(point.layer)):
        model(torch.ones(2, 3))
        model(torch.ones(2, 3))
    assert found == ["layer", "layer #2"] * 2


@pytest.mark.parametrize(("shape", "axis"), [((2, 6), 1), ((2, 5, 6), 2), ((2, 3, 5, 6), 3)])
def test_channels_of_a_linear_layer_are_last(shape: tuple[int, ...], axis: int) -> None:
    ((point, given),) = told(nn.Sequential(nn.Linear(6, 7), nn.Dropout(), nn.GELU()), torch.randn(shape))
    assert (point.axis, given.shape[point.axis]) == (axis, 7)


def test_the_channel_axis_is_followed_through_permutations() -> None:
    class Permuted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 6, 1), nn.LayerNorm(6)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            last = functional.gelu(self.conv(inputs).permute(0, 2, 3, 1))
            first = functional.gelu(self.norm(last).permute(0, 3, 1, 2))
            sequence = self.conv(inputs).flatten(2).transpose(1, 2)
            return functional.relu(sequence).sum() + first.sum()

    found = told(Permuted(), torch.randn(2, 3, 5, 7))
    assert [(point.layer, point.norm, point.axis) for point, _ in found] == [
        ("conv", None, 3),
        ("norm", "layer", 1),
        ("conv #2", None, 2),
    ]


def test_activations_of_weights_alone_are_none_of_the_networks() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3, 3))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return functional.relu(inputs @ functional.softplus(self.scale))

    assert [(point.layer, point.function) for point, _ in told(Scaled(), torch.ones(2, 3))] == [("", "relu")]


def test_a_formula_in_a_class_of_its_own_is_told_once_with_its_input() -> None:
    class NewGELUActivation(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return 0.5 * inputs * (1 + torch.tanh(0.8 * (inputs + 0.04 * inputs**3)))

    model = nn.Sequential(nn.Linear(3, 3), NewGELUActivation(), nn.Linear(3, 3))
    ((point, given),) = told(model, torch.ones(2, 3))
    assert (point.layer, point.function) == ("0", "newgelu")
    assert torch.equal(given, model[0](torch.ones(2, 3)))


def test_a_norm_that_computes_by_itself_is_named_and_its_affine_map_known() -> None:
    class FrozenBatchNorm2d(nn.Module):
        weight: torch.Tensor
        bias: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.full((4,), 2.0))
            self.register_buffer("bias", torch.ones(4))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)

    (point, _), _ = told(Residual(FrozenBatchNorm2d()), MAPS)
    assert (point.layer, point.norm) == ("norm", "batch")
    assert point.affine is not None
    assert point.affine.weight is not None
    assert point.affine.weight.tolist() == [2.0] * 4


ESTIMATED = BatchChannelNorm2d(4, 4, estimated=True, rate=0.5)


def last_weight(norm: nn.Module) -> str:
    return "channel_weight" if isinstance(norm, BatchChannelNorm2d) else "weight"


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.GroupNorm(2, 4), BatchChannelNorm2d(4, 4), ESTIMATED])
def test_where_a_norms_weight_is_zero_its_normalised_values_are_computed(norm: nn.Module, *, training: bool) -> None:
    with torch.no_grad():
        dict(norm.named_parameters())[last_weight(norm)].copy_(torch.tensor([1.0, 0.0, 2.0, 0.0]))
    model = Residual(norm).train(training)
    ones = copy.deepcopy(model)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    (point, _), _ = told(model, MAPS)
    with torch.no_grad():
        dict(ones.named_parameters())[f"norm.{last_weight(norm)}"].fill_(1.0)
        expected = ones.get_submodule("norm")(ones.conv(MAPS))
    assert point.affine is not None
    assert point.affine.bare is not None
    torch.testing.assert_close(point.affine.bare, expected[:, [1, 3]])
    for name, buffer in ones.named_buffers():
        assert torch.equal(model.get_buffer(name), buffer), "moved once, as without anyone listening"
        assert training or torch.equal(buffer, before[name])


def test_channels_last_and_autocast_are_told_alike() -> None:
    model = Residual(nn.BatchNorm2d(4)).eval()
    plain = told(model, MAPS)
    last = told(model, MAPS.to(memory_format=torch.channels_last))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = told(model, MAPS)
    assert [point for point, _ in plain] == [point for point, _ in last] == [point for point, _ in narrow]
    torch.testing.assert_close(plain[0][1], last[0][1], check_stride=False)
    assert narrow[0][1].dtype == torch.bfloat16


class Failing(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.conv, self.error = nn.Conv2d(3, 3, 1), error

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        functional.relu(self.conv(inputs))
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_after_an_error_everything_is_as_it_was(error: BaseException) -> None:
    model = nn.Sequential(nn.ReLU(), Failing(error))
    with pytest.raises(type(error)):
        told(model, IMAGES)
    assert is_untouched(model)


def test_an_error_that_a_network_catches_does_not_lose_the_way() -> None:
    class Catching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.failing, self.conv = Failing(ValueError("no")), nn.Conv2d(3, 3, 1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            try:
                self.failing(inputs)
            except ValueError:
                return functional.relu(self.conv(inputs) + inputs)
            return inputs

    assert names(told(Catching(), IMAGES)) == ["failing.conv", "(sum)"]


def test_an_error_of_the_listener_ends_the_pass() -> None:
    model = Applied(torch.relu)

    def listener(_point: Point, _inputs: torch.Tensor) -> None:
        message = "enough"
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="enough"), nonlinearities(model, listener):
        model(IMAGES)
    assert is_untouched(model)


def test_outside_of_modules_nothing_is_told_and_parts_may_be_called_by_themselves() -> None:
    class Trained(nn.Module):
        """As Lightning has it: a method that is no forward."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = Applied(torch.relu)

        def training_step(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.inner(torch.relu(inputs)))

    model = Trained()
    found: list[str] = []
    with nonlinearities(model, lambda point, _inputs: found.append(point.layer)):
        model.training_step(IMAGES)
    assert found == ["inner.conv"]
    assert is_untouched(model)


def test_recomputed_activations_are_told_once() -> None:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Applied(torch.relu)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            out = checkpoint(self.inner, inputs, use_reentrant=False)
            assert isinstance(out, torch.Tensor)
            return out

    model, found = Saving(), []
    with nonlinearities(model, lambda point, _inputs: found.append(point.layer)):
        model(IMAGES).sum().backward()
    assert found == ["inner.conv"]


def test_an_exported_graph_names_the_layers_that_it_was_made_from() -> None:
    model = Residual(nn.BatchNorm2d(4)).eval()
    graph = torch.export.export(model, (MAPS,)).module()
    found = told(graph, MAPS)
    assert [(point.layer, point.norm) for point, _ in found] == [("norm", "batch"), ("(sum)", None)]
    for (_, one), (_, other) in zip(found, told(model, MAPS), strict=True):
        torch.testing.assert_close(one, other)


def test_a_compiled_network_is_followed_uncompiled_and_runs_compiled_again_afterwards() -> None:
    compiled_for: list[object] = []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> Callable[..., Any]:
        compiled_for.append(graph)
        return graph.forward

    model = Residual(nn.BatchNorm2d(4)).eval()
    compiled = torch.compile(model, backend=backend)
    with torch.no_grad():
        compiled(MAPS)
        count = len(compiled_for)
        found = told(cast("nn.Module", compiled), MAPS)
        compiled(MAPS)
    assert count > 0
    assert names(found) == ["norm", "(sum)"]
    assert len(compiled_for) == count, "nothing is compiled anew"


def test_a_scripted_network_is_refused() -> None:
    with pytest.warns(DeprecationWarning, match="script"):
        scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))
    with pytest.raises(SourceError, match="scripted"), nonlinearities(scripted, lambda _point, _inputs: None):
        pass


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("torchvision:resnet18", 64, {("relu", "batch"): 9, ("relu", None): 8}),
        ("torchvision:convnext_tiny", 64, {("gelu", None): 18}),
        ("torchvision:mobilenet_v3_small", 64, {("hardswish", "batch"): 18, ("relu", "batch"): 5}),
        ("timm:resnet18", 64, {("relu", "batch"): 9, ("relu", None): 8}),
        ("timm:efficientnet_b0", 64, {("silu", "batch"): 33, ("silu", None): 16}),
        ("timm:vit_tiny_patch16_224", 224, {("gelu", None): 12}),
    ],
)
def test_zoo_networks_are_followed(name: str, size: int, expected: dict[tuple[str, str | None], int]) -> None:
    model = open_model(f"{name}?pretrained=false")
    inputs = torch.zeros(1, 3, size, size)
    with torch.no_grad():
        found = told(model, inputs)
    counts: dict[tuple[str, str | None], int] = {}
    for point, given in found:
        counts[point.function, point.norm] = counts.get((point.function, point.norm), 0) + 1
        assert (
            point.affine is None or point.affine.weight is None or len(point.affine.weight) == given.shape[point.axis]
        )
    assert {key: counts.get(key) for key in expected} == expected
    assert len(set(names(found))) == len(found), "names are unique"
    assert is_untouched(model)
