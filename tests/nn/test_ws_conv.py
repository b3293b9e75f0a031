from __future__ import annotations

import copy
import itertools
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.reference.standardization import standardized, standardized_transposed
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.nn.standardization import STANDARDIZATIONS, Standardization
from weightatlas.nn.ws_conv import (
    WS_CONVOLUTIONS,
    WSConv1d,
    WSConv2d,
    WSConv3d,
    WSConvTranspose1d,
    WSConvTranspose2d,
    WSConvTranspose3d,
)

if TYPE_CHECKING:
    from pathlib import Path

CONVOLUTIONS: dict[str, tuple[Any, Any, dict[str, Any], Any]] = {
    "plain": (WSConv2d, (4, 6, 3), {}, (4, 7, 8)),
    "stride, dilation, groups": (WSConv2d, (4, 6, (3, 2)), {"stride": 2, "dilation": 2, "groups": 2}, (4, 9, 9)),
    "depthwise": (WSConv2d, (4, 8, 3), {"groups": 4, "padding": 1, "bias": False}, (4, 5, 5)),
    "same": (WSConv2d, (4, 6, 4), {"padding": "same", "dilation": 2}, (4, 7, 8)),
    "valid": (WSConv2d, (4, 6, 3), {"padding": "valid"}, (4, 7, 8)),
    "circular": (WSConv2d, (4, 6, 3), {"padding": 2, "padding_mode": "circular"}, (4, 7, 8)),
    "reflect": (WSConv2d, (4, 6, 3), {"padding": (1, 2), "padding_mode": "reflect"}, (4, 7, 8)),
    "1d": (WSConv1d, (4, 6, 3), {"padding": "same", "padding_mode": "replicate"}, (4, 9)),
    "3d": (WSConv3d, (4, 6, (1, 3, 2)), {"stride": (1, 2, 1)}, (4, 3, 5, 5)),
    "transposed 1d": (WSConvTranspose1d, (4, 6, 3), {"stride": 2, "output_padding": 1}, (4, 5)),
    "transposed 2d": (WSConvTranspose2d, (4, 6, 3), {"stride": 2, "padding": 1, "dilation": 2}, (4, 5, 6)),
    "transposed, groups": (WSConvTranspose2d, (4, 6, 2), {"groups": 2, "bias": False}, (4, 5, 6)),
    "transposed 3d": (WSConvTranspose3d, (4, 6, 2), {"groups": 2, "stride": 2}, (4, 3, 3, 3)),
}
PLAIN: dict[Any, Any] = {ours: plain for plain, ours in WS_CONVOLUTIONS.items()}


@pytest.fixture(scope="module")
def timm() -> Any:  # noqa: ANN401 - a module of timm
    import_torchvision()
    return pytest.importorskip("timm.layers")


def build(case: str, **options: Any) -> tuple[Any, torch.Tensor]:  # noqa: ANN401
    """A convolution, in double precision, and a batch for it."""
    kind, arguments, known, shape = CONVOLUTIONS[case]
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        layer = kind(*arguments, **known, **options).double()
        return layer, torch.randn(2, *shape, dtype=torch.float64)


def parted(model: nn.Module, inputs: torch.Tensor) -> list[torch.Tensor]:
    """The outputs, and the gradients of a loss that is not linear in them."""
    answer = model(inputs)
    gradients = torch.autograd.grad(answer.pow(3).sum(), list(model.parameters()))
    return [answer.detach(), *gradients]


def network(**options: Any) -> Any:  # noqa: ANN401
    torch.manual_seed(0)
    return nn.Sequential(
        WSConv2d(3, 8, 3, padding=1, bias=False, **options),
        nn.GroupNorm(2, 8),
        nn.ReLU(),
        WSConv2d(8, 8, 3, groups=2, padding="same", how="qiao2019"),
        nn.GroupNorm(2, 8),
        WSConvTranspose2d(8, 4, 2, groups=2, how="bcn2019", gain=True),
    )


@pytest.mark.parametrize("how", ["timm", "qiao2019", "centred"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_it_is_the_plain_convolution_of_standardised_weights(case: str, how: str) -> None:
    layer, inputs = build(case, how=how)
    kind, arguments, known, _ = CONVOLUTIONS[case]
    plain = PLAIN[kind](*arguments, **known).double()
    plain.load_state_dict(layer.state_dict(), strict=True)
    weight = layer.weight.detach().numpy()
    expected = standardized_transposed(weight, how, layer.groups) if layer.transposed else standardized(weight, how)
    with torch.no_grad():
        plain.weight.copy_(torch.as_tensor(expected))
    for given in (inputs, inputs[0]):
        torch.testing.assert_close(layer(given), plain(given), rtol=1e-12, atol=1e-12)
    assert torch.equal(layer.standardized_weight(), layer.plain().weight)


@pytest.mark.parametrize("case", [case for case in CONVOLUTIONS if case.startswith("transposed")])
def test_the_size_of_a_transposed_answer_can_be_chosen(case: str) -> None:
    layer, inputs = build(case)
    size = [length + 1 if layer.stride[0] > 1 else length for length in layer(inputs).shape[2:]]
    if layer.output_padding[0]:
        size = [length - 2 for length in size]
    assert torch.equal(layer(inputs, size), layer.plain()(inputs, size))
    assert list(layer(inputs, size).shape[2:]) == size
    with pytest.raises(ValueError, match="requested an output size"):
        layer(inputs, [100] * len(size))


@pytest.mark.parametrize("shape", [(64, 3, 7), (16, 8, 3), (32, 16, 1)], ids=str)
@pytest.mark.parametrize(("eps", "how"), [(1e-6, "timm"), (1e-8, "bit")])
def test_it_equals_stdconv_of_timm(timm: Any, eps: float, how: str, shape: tuple[int, int, int]) -> None:  # noqa: ANN401
    units, channels, side = shape
    torch.manual_seed(0)
    theirs = timm.StdConv2d(channels, units, side, stride=2, padding=side // 2, eps=eps)
    ours = WSConv2d(channels, units, side, stride=2, padding=side // 2, bias=False, how=how)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    inputs = torch.randn(2, channels, 9, 9)
    for found, expected in zip(parted(ours, inputs), parted(theirs, inputs), strict=True):
        torch.testing.assert_close(found / expected.abs().max(), expected / expected.abs().max(), rtol=0, atol=1e-6)


def test_it_equals_the_padded_stdconv_of_timm_behind_its_padding(timm: Any) -> None:  # noqa: ANN401
    torch.manual_seed(0)
    theirs = timm.StdConv2dSame(3, 8, 3, stride=2)
    ours = WSConv2d(3, 8, 3, stride=2, bias=False)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    inputs = torch.randn(2, 3, 10, 10)
    torch.testing.assert_close(ours(functional.pad(inputs, (0, 1, 0, 1))), theirs(inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("gamma", [1.0, 1.7])
def test_it_equals_the_scaled_stdconv_of_timm(timm: Any, gamma: float) -> None:  # noqa: ANN401
    torch.manual_seed(0)
    theirs = timm.ScaledStdConv2d(8, 16, 3, padding=1, groups=2, gamma=gamma)
    nn.init.uniform_(theirs.gain, 0.5, 2)
    ours = WSConv2d(8, 16, 3, padding=1, groups=2, gain=True, gamma=gamma)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    inputs = torch.randn(2, 8, 9, 9)
    assert [name for name, _ in ours.named_parameters()] == ["weight", "bias", "gain"]
    names = ["answer", *(name for name, _ in theirs.named_parameters())]
    of_theirs = dict(zip(names, parted(theirs, inputs), strict=True))
    for name, found in zip(["answer", "weight", "bias", "gain"], parted(ours, inputs), strict=True):
        expected = of_theirs[name]
        torch.testing.assert_close(found / expected.abs().max(), expected / expected.abs().max(), rtol=0, atol=1e-6)


def test_the_norm_of_a_scaled_kernel_is_its_gain_times_gamma() -> None:
    layer = WSConvTranspose2d(6, 4, 3, groups=2, gain=True, gamma=1.5).double()
    with torch.no_grad():
        layer.weight.mul_(100)
        assert layer.gain is not None
        layer.gain.copy_(torch.arange(1.0, 5)[:, None, None, None])
    kernels = layer.standardized_weight().view(2, 3, 2, 9).transpose(1, 2).reshape(4, -1)
    torch.testing.assert_close(kernels.norm(dim=1), 1.5 * torch.arange(1, 5, dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize("plain", WS_CONVOLUTIONS, ids=lambda plain: plain.__name__)
def test_state_dicts_are_those_of_torch(plain: type[nn.Module]) -> None:
    ours = WS_CONVOLUTIONS[plain](4, 6, 3)
    torchs: Any = plain(4, 6, 3)
    assert isinstance(ours, plain)
    torchs.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(torchs.weight, ours.weight)
    ours.load_state_dict(plain(4, 6, 3).state_dict(), strict=True)
    with_gain = WS_CONVOLUTIONS[plain](4, 6, 3, bias=False, gain=True)
    assert {name: tuple(tensor.shape) for name, tensor in with_gain.state_dict().items()} == {
        "weight": tuple(ours.weight.shape),
        "gain": (6, *(1 for _ in ours.weight.shape[1:])),
    }


def test_it_starts_from_the_weights_of_torch() -> None:
    states = []
    for make in (nn.Conv2d, WSConv2d, lambda *sizes: WSConv2d(*sizes, gain=True)):
        torch.manual_seed(3)
        states.append((make(3, 4, 3).weight, torch.rand(1)))
    for weight, after in states[1:]:
        assert torch.equal(weight, states[0][0])
        assert torch.equal(after, states[0][1]), "not one random number more"
    layer = WSConv2d(3, 4, 3, gain=True)
    assert layer.gain is not None
    nn.init.zeros_(layer.gain)
    layer.reset_parameters()
    assert bool((layer.gain == 1).all())


@pytest.mark.parametrize("plain", WS_CONVOLUTIONS, ids=lambda plain: plain.__name__)
def test_a_counterpart_shares_the_parameters(plain: type[nn.Module]) -> None:
    source: Any = plain(4, 6, 3, groups=2).eval()
    source.bias.requires_grad_(False)
    made: Any = WS_CONVOLUTIONS[plain].of(source, how="bcn2019", gain=True)
    assert type(made) is WS_CONVOLUTIONS[plain]
    assert made.weight is source.weight
    assert made.bias is source.bias
    assert not made.training
    assert made.how == STANDARDIZATIONS["bcn2019"]
    assert "gain" not in dict(source.named_parameters())
    made.register_buffer("extra", torch.zeros(1), persistent=False)
    assert list(source.state_dict()) == ["weight", "bias"]
    back: Any = made.plain()
    assert type(back).__name__ == plain.__name__
    assert list(back.state_dict()) == ["weight", "bias"]
    assert back.weight.requires_grad
    assert not back.bias.requires_grad
    inputs = torch.randn(2, 4, *(6 for _ in source.kernel_size))
    assert torch.equal(back(inputs), made(inputs))
    with torch.no_grad():
        back.weight.zero_()
    assert bool(source.weight.any()), "the plain convolution's weights are its own"


def test_only_its_own_plain_class_has_a_counterpart() -> None:
    class Padded(nn.Conv2d):
        """May compute anything."""

    for source in (Padded(3, 4, 3), nn.Conv1d(3, 4, 3), WSConv2d(3, 4, 3), nn.Linear(3, 4)):
        with pytest.raises(ValueError, match="WSConv2d is not the counterpart of"):
            WSConv2d.of(source)


def test_copies_and_pickles(tmp_path: Path) -> None:
    source = network(how=Standardization(eps=1e-4))
    inputs = torch.randn(2, 3, 6, 6)
    torch.save(source, tmp_path / "whole.pt")
    for made in (
        copy.deepcopy(source),
        pickle.loads(pickle.dumps(source)),  # noqa: S301 - our own
        torch.load(tmp_path / "whole.pt", weights_only=False),
    ):
        assert torch.equal(made(inputs), source(inputs))
        with torch.no_grad():
            made[0].weight[0].zero_()
        assert not torch.equal(made(inputs), source(inputs))


def test_no_answer_is_of_weights_gone_by() -> None:
    layer = WSConv2d(3, 4, 3).eval()
    inputs = torch.randn(1, 3, 5, 5)
    with torch.no_grad():
        answers = [layer(inputs)]
        layer.weight.data[0, 0, 0, 0] += 1  # which tells no version counter
        answers.append(layer(inputs))
        layer.weight[1].zero_()
        answers.append(layer(inputs))
        layer.load_state_dict({"weight": torch.randn(4, 3, 3, 3), "bias": torch.zeros(4)})
        answers.append(layer(inputs))
        answers.append(layer.double()(inputs.double()).float())
    same = [torch.allclose(before, after, atol=1e-5) for before, after in itertools.pairwise(answers)]
    assert same == [False, False, False, True]


def test_hessians_are_those_of_the_network_written_out() -> None:
    model = network().double()
    inputs = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    first, weight = model[0], model[0].weight

    def through_layer(weight: torch.Tensor) -> torch.Tensor:
        answer = torch.func.functional_call(model, {"0.weight": weight}, (inputs,))
        return answer.square().sum()  # type: ignore[no-any-return]

    def written_out(weight: torch.Tensor) -> torch.Tensor:
        centred = weight - weight.mean((1, 2, 3), keepdim=True)
        kernels = centred / (centred.square().mean((1, 2, 3), keepdim=True) + 1e-6).sqrt()
        answer = model[1:](functional.conv2d(inputs, kernels, padding=first.padding))
        return answer.square().sum()  # type: ignore[no-any-return]

    vector = torch.randn_like(weight)
    found, expected = (
        torch.autograd.functional.hvp(loss, weight.detach(), vector)[1]  # type: ignore[no-untyped-call]
        for loss in (through_layer, written_out)
    )
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8 * float(expected.abs().max()))


def test_compiled_exported_and_traced() -> None:
    model = network(gain=True, gamma=1.5)
    inputs = torch.randn(2, 3, 6, 6)
    expected = parted(model, inputs)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert isinstance(compiled, nn.Module)
    for found, wanted in zip(parted(compiled, inputs), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    exported = torch.export.export(model, (inputs,)).module()
    torch.testing.assert_close(exported(inputs), expected[0])
    traced = torch.fx.symbolic_trace(model)
    torch.testing.assert_close(traced(inputs), expected[0])
    assert sum(node.name.startswith("standardize") for node in traced.graph.nodes) == 3


def test_features_are_taken_from_a_standardised_network() -> None:
    import_torchvision()
    from torchvision.models.feature_extraction import create_feature_extractor

    model, inputs = network(), torch.randn(1, 3, 6, 6)
    found = create_feature_extractor(model, ["2"])(inputs)["2"]
    torch.testing.assert_close(found, model[:3](inputs))


def test_statistics_are_of_single_precision_under_autocast() -> None:
    layer = WSConv2d(16, 8, 3, bias=False)
    with torch.no_grad():
        layer.weight.mul_(0.01).add_(1)  # in bfloat16 there would be no deviation
    inputs = torch.randn(2, 16, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.standardized_weight().dtype == torch.float32
        answer = layer(inputs)
    assert answer.dtype == torch.bfloat16
    expected = functional.conv2d(inputs, layer.standardized_weight()).detach()
    assert float((answer.detach() - expected).norm() / expected.norm()) < 0.01
    answer.float().square().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


def test_channels_last() -> None:
    model, inputs = network(), torch.randn(2, 3, 6, 6)
    expected = parted(model, inputs)
    laid: Any = model.to(memory_format=torch.channels_last)
    assert laid[0].standardized_weight().is_contiguous(memory_format=torch.channels_last)
    found = parted(laid, inputs.contiguous(memory_format=torch.channels_last))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_dtypes_and_devices_are_those_asked_for() -> None:
    layer = WSConv2d(3, 4, 3, dtype=torch.float64, gain=True)
    assert {parameter.dtype for parameter in layer.parameters()} == {torch.float64}
    there = WSConv2d(3, 4, 3, device="meta", gain=True)
    assert {parameter.device.type for parameter in there.parameters()} == {"meta"}
    assert there(torch.empty(2, 3, 5, 5, device="meta")).shape == (2, 4, 3, 3)


def test_it_trains_as_stdconv_of_timm_does(timm: Any) -> None:  # noqa: ANN401
    torch.manual_seed(0)
    inputs, targets = torch.randn(32, 3, 6, 6), torch.randint(0, 2, (32,))
    rest = nn.Sequential(nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
    theirs = nn.Sequential(timm.StdConv2d(3, 8, 3, padding=0), *rest)
    ours = nn.Sequential(WSConv2d(3, 8, 3, bias=False), *copy.deepcopy(rest))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    losses: dict[nn.Module, list[float]] = {ours: [], theirs: []}
    for model, record in losses.items():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(10):
            loss = functional.cross_entropy(model(inputs), targets)
            record.append(loss.item())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert losses[ours] == pytest.approx(losses[theirs], abs=1e-5)
    assert losses[ours][-1] < losses[ours][0] / 3


def test_weights_that_are_no_numbers_are_refused_in_the_forward_pass() -> None:
    layer = WSConv2d(3, 4, 3)
    with torch.no_grad():
        layer.weight[2, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="unit 2 of the weights has NaN or infinity"):
        layer(torch.zeros(1, 3, 5, 5))


def test_kernels_of_one_weight_give_zero() -> None:
    layer = WSConv2d(4, 4, 1, groups=4)
    answer = layer(torch.randn(2, 4, 3, 3))
    assert layer.bias is not None
    assert torch.equal(answer, layer.bias[None, :, None, None].expand(answer.shape))
    answer.sum().backward()
    assert layer.weight.grad is not None
    assert not layer.weight.grad.any()


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="no standardization is called 'ws'"):
        WSConv2d(3, 4, 3, how="ws")
    with pytest.raises(ValueError, match=r"gamma=1.7 needs gain=True"):
        WSConv2d(3, 4, 3, gamma=1.7)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        WSConv2d(3, 4, 3, gains=True)


def test_it_says_what_is_not_the_default() -> None:
    assert repr(WSConv2d(3, 4, 3)) == "WSConv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))"
    layer = WSConv2d(3, 4, 3, how="centred", gain=True, gamma=2)
    assert "scale=False" in repr(layer)
    assert repr(layer).endswith("gain=True, gamma=2)")
