"""What breaks norms: every layer is finite there, or says what is wrong; NaN never comes out of sound numbers."""

from __future__ import annotations

import copy
import itertools
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import pytest
import torch
from torch import nn

from weightatlas.errors import NotFiniteError
from weightatlas.nn.batch_channel_norm import BatchChannelNorm1d, BatchChannelNorm2d, BatchChannelNorm3d
from weightatlas.nn.standardization import STANDARDIZATIONS, Standardization
from weightatlas.nn.ws_conv import WS_CONVOLUTIONS, WSConv2d
from weightatlas.nn.ws_parametrization import standardized_parametrization

Layer: TypeAlias = Any
"""A class of convolutions, or a convolution: what all of them have, `nn.Module` does not declare."""

CONVOLUTIONS: list[Layer] = sorted(WS_CONVOLUTIONS.values(), key=lambda kind: kind.__name__)
NORMS = {1: BatchChannelNorm1d, 2: BatchChannelNorm2d, 3: BatchChannelNorm3d}
AUTOCAST = [None, torch.bfloat16, torch.float16]
HALVES = ("centred", "scaled")
HOWS: dict[str, Standardization | str] = {
    **{name: name for name in STANDARDIZATIONS},
    "without epsilon": Standardization(eps=0.0),
    "unbiased without epsilon": Standardization(eps=0.0, unbiased=True),
    "outside without epsilon": Standardization(eps=0.0, eps_inside=False),
}


def autocast(dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    return nullcontext() if dtype is None else torch.autocast("cpu", dtype=dtype)


def axes_of(convolution: Layer) -> int:
    return len(convolution.kernel_size)


def maps(shape: tuple[int, ...], *, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def hostile_weights(weight: torch.Tensor, what: str, unit_axis: int) -> torch.Tensor:
    """The weights with a bad unit, or all of them bad."""
    changed = weight.clone().movedim(unit_axis, 0)
    if what == "equal":
        changed[0] = 0.1
    elif what == "zero":
        changed[0] = 0
    elif what == "tiny":
        changed[0] *= 1e-30
    elif what == "subnormal":
        changed[0] = 1e-42
        changed[0].flatten()[::2] *= -1
    elif what == "far from zero":
        changed += 1e4
    elif what == "large":
        changed *= 1e15
    else:
        raise AssertionError(what)
    return changed.movedim(0, unit_axis).contiguous()


@pytest.mark.parametrize("dtype", AUTOCAST, ids=str)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("what", ["equal", "zero", "tiny", "subnormal", "far from zero", "large"])
@pytest.mark.parametrize("kind", CONVOLUTIONS, ids=lambda kind: kind.__name__)
def test_hostile_weights_give_finite_answers_and_gradients(
    kind: Layer, what: str, training: bool, dtype: torch.dtype | None
) -> None:
    for how, groups in itertools.product(HOWS.values(), (1, 2)):
        if how in HALVES and dtype == torch.float16:
            continue  # these leave large weights large, for a half as for a plain convolution
        layer = kind(4, 6, 3, groups=groups, how=how, gain=groups == 2).train(training)
        axis = int(layer.transposed)
        layer.weight.data = hostile_weights(layer.weight.data, what, axis)
        shape = (2, 4, *(5 for _ in range(axes_of(layer))))
        inputs = maps(shape).requires_grad_()
        with autocast(dtype):
            answer = layer(inputs)
        assert answer.isfinite().all(), how
        answer.float().square().mean().backward()
        assert layer.weight.grad.isfinite().all(), how
        assert inputs.grad is not None
        assert inputs.grad.isfinite().all(), how


@pytest.mark.parametrize("kind", CONVOLUTIONS, ids=lambda kind: kind.__name__)
def test_kernels_of_one_weight_are_zero_or_refused_never_nan(kind: Layer) -> None:
    for how in HOWS.values():
        layer = kind(1, 3, 1, how=how)
        answer = layer(maps((2, 1, *(4 for _ in range(axes_of(layer))))))
        assert answer.isfinite().all(), how
        answer.sum().backward()
        assert layer.weight.grad.isfinite().all(), how


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", CONVOLUTIONS, ids=lambda kind: kind.__name__)
def test_weights_that_are_no_numbers_are_refused(kind: Layer, training: bool, value: float) -> None:
    for how in HOWS.values():
        layer = kind(4, 6, 3, how=how).train(training)
        layer.weight.data.view(-1)[7] = value
        with pytest.raises(ValueError, match="NaN or infinity"):
            layer(maps((2, 4, *(5 for _ in range(axes_of(layer))))))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_weights_near_the_largest_number_are_standardised(half: torch.dtype) -> None:
    weight = (maps((4, 3, 3, 3)).sign() * 6e4).to(half)
    for how in HOWS.values():
        layer = nn.Conv2d(3, 4, 3, bias=False).to(half)
        layer.weight.data = weight.clone()
        answer = standardized_parametrization(layer, how=how).weight
        assert answer.dtype == half
        assert answer.isfinite().all() or how in HALVES, how


def norm_of(axes: int, channels: int, groups: int, form: str, *, warmup: int = 0) -> Layer:
    return NORMS[axes](channels, groups, estimated=form == "estimated", warmup=warmup)


def of_axes(axes: int, side: int) -> tuple[int, ...]:
    return tuple(side for _ in range(axes))


@pytest.mark.parametrize("dtype", AUTOCAST, ids=str)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("form", ["large", "estimated"])
@pytest.mark.parametrize("axes", NORMS)
def test_constant_maps_are_finite_with_a_finite_gradient(
    axes: int, form: str, training: bool, dtype: torch.dtype | None
) -> None:
    for value, batch in itertools.product((0.0, 1.0, -3e4), (1, 2)):
        norm = norm_of(axes, 8, 4, form).train(training)
        inputs = torch.full((batch, 8, *of_axes(axes, 3)), value, requires_grad=True)
        with autocast(dtype):
            answer = norm(inputs if dtype is None else inputs.to(dtype))
        assert answer.isfinite().all(), (value, batch)
        answer.float().square().sum().backward()
        assert inputs.grad is not None
        assert inputs.grad.isfinite().all(), (value, batch)
        assert all(buffer.isfinite().all() for buffer in norm.buffers())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("form", ["large", "estimated"])
@pytest.mark.parametrize("axes", NORMS)
def test_one_image_with_maps_of_one_position(axes: int, form: str, training: bool) -> None:
    norm = norm_of(axes, 8, 4, form).train(training)
    inputs = maps((1, 8, *of_axes(axes, 1))).requires_grad_()
    if form == "large" and training:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            norm(inputs)
        return
    for _ in range(5):
        answer = norm(inputs)
    assert answer.isfinite().all()
    answer.square().sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.isfinite().all()
    assert all(buffer.isfinite().all() for buffer in norm.buffers())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("form", ["large", "estimated"])
@pytest.mark.parametrize("axes", NORMS)
def test_groups_of_one_channel_at_one_position_are_refused(axes: int, form: str, training: bool) -> None:
    norm = norm_of(axes, 4, 4, form).train(training)
    with pytest.raises(ValueError, match="groups"):
        norm(maps((2, 4, *of_axes(axes, 1))))


@pytest.mark.parametrize("form", ["large", "estimated"])
@pytest.mark.parametrize("axes", NORMS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_bad_batch_is_refused_and_leaves_the_estimates_alone(axes: int, form: str, value: float) -> None:
    norm = norm_of(axes, 8, 4, form).train()
    norm(maps((2, 8, *of_axes(axes, 3))))
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    bad = maps((2, 8, *of_axes(axes, 3)), seed=1)
    bad[0, 0].flatten()[0] = value
    with pytest.raises(NotFiniteError, match="NaN or infinite values reach"):
        norm(bad)
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())
    assert norm.eval()(maps((2, 8, *of_axes(axes, 3)))).isfinite().all()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("form", ["large", "estimated"])
def test_halves_whose_variance_no_half_can_hold(form: str, training: bool, layout: torch.memory_format) -> None:
    inputs = (maps((2, 8, 4, 4)) * 1.5e4).to(torch.float16).to(memory_format=layout).requires_grad_()
    norm = norm_of(2, 8, 4, form).train(training)
    for _ in range(3):
        answer = norm(inputs)
    assert answer.dtype == torch.float16
    assert answer.isfinite().all()
    assert float(answer.detach().float().std()) == pytest.approx(1, abs=0.2)
    answer.float().square().sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.isfinite().all()
    assert norm.running_var.isfinite().all()
    assert norm.running_var.dtype == torch.float32


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("scale", [1e25, 3e37])
@pytest.mark.parametrize("form", ["large", "estimated"])
def test_numbers_whose_squares_no_float_can_hold_do_not_stay(
    form: str, scale: float, layout: torch.memory_format
) -> None:
    norm = norm_of(2, 8, 4, form).train()
    sound = maps((2, 8, 4, 4)).to(memory_format=layout)
    norm(sound)
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    norm(maps((2, 8, 4, 4), seed=1).to(memory_format=layout) * scale)
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())
    assert norm(sound).isfinite().all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("form", ["large", "estimated"])
@pytest.mark.parametrize("axes", NORMS)
def test_an_empty_batch_gives_nothing_and_changes_nothing(axes: int, form: str, training: bool) -> None:
    norm = norm_of(axes, 8, 4, form).train(training)
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    inputs = torch.empty((0, 8, *of_axes(axes, 3)), requires_grad=True)
    try:
        answer = norm(inputs)
    except ValueError as error:
        assert "batch" in str(error) or "value" in str(error)  # noqa: PT017 - one of two right answers
    else:
        assert answer.shape == inputs.shape
        answer.sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("form", ["large", "estimated"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_follows_may_write_over_the_answer(form: str, training: bool, layout: torch.memory_format) -> None:
    inputs = maps((2, 8, 4, 4)).to(memory_format=layout)
    answers = []
    for inplace in (True, False):
        torch.manual_seed(0)
        block = nn.Sequential(
            WSConv2d(8, 8, 3, padding=1, bias=False), norm_of(2, 8, 4, form), nn.ReLU(inplace=inplace)
        )
        answer = block.train(training)(inputs)
        answer.square().sum().backward()
        answers.append((answer.detach(), [parameter.grad.clone() for parameter in block.parameters()]))  # type: ignore[union-attr]
    torch.testing.assert_close(answers[0], answers[1])


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", ["large", "estimated"])
def test_whole_networks_of_halves_train_and_evaluate(form: str, half: torch.dtype) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(
        WSConv2d(3, 8, 3, bias=False),
        norm_of(2, 8, 4, form),
        nn.ReLU(inplace=True),
        WSConv2d(8, 8, 3, bias=False),
        nn.Flatten(),
    ).to(half)
    inputs = maps((2, 3, 8, 8), dtype=half)
    for training in (True, False):
        answer = network.train(training)(inputs)
        assert answer.dtype == half
        assert answer.isfinite().all()
        answer.float().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("form", ["large", "estimated"])
def test_a_copy_trains_as_its_original(form: str) -> None:
    torch.manual_seed(2)
    block = nn.Sequential(WSConv2d(4, 8, 3, bias=False), norm_of(2, 8, 4, form, warmup=2))
    twin = copy.deepcopy(block)
    for step in range(4):
        inputs = maps((2, 4, 6, 6), seed=step)
        assert torch.equal(block(inputs), twin(inputs))
    assert all(torch.equal(one, two) for one, two in zip(block.buffers(), twin.buffers(), strict=True))


@pytest.mark.parametrize("strange", [(8,), (2, 8, 3, 3, 3, 3), (2, 7, 3, 3)])
@pytest.mark.parametrize("axes", NORMS)
def test_inputs_of_another_shape_are_refused_in_words(axes: int, strange: tuple[int, ...]) -> None:
    if len(strange) == axes + 2 and strange[1] == 8:
        pytest.skip("this shape is right here")
    with pytest.raises(ValueError, match=r"expected .* got"):
        norm_of(axes, 8, 4, "large")(torch.zeros(strange))


@pytest.mark.parametrize(
    "wrong", [{"groups": 3}, {"groups": 0}, {"rate": -0.1}, {"rate": 1.5}, {"rate": float("nan")}, {"warmup": -1}]
)
@pytest.mark.parametrize("axes", NORMS)
def test_options_without_a_meaning_are_refused(axes: int, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"groups|rate|warmup"):
        NORMS[axes](8, **{"groups": 4} | wrong)
