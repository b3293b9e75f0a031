from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.nn.norms import CHANNELS, CLASSES, GROUPS, close, norm, stirred, torch_norms, values
from tests.reference.batch_channel_norm import SlowBatchChannelNorm
from weightatlas.errors import NotFiniteError
from weightatlas.nn import batch_channel_norm
from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d, group_count

FORMS = pytest.mark.parametrize("estimated", [False, True], ids=["large batch", "micro batch"])
SHAPES = {
    "1d": (5, CHANNELS),
    "1d of sequences": (5, CHANNELS, 7),
    "2d": (5, CHANNELS, 4, 3),
    "2d, channels last": (5, CHANNELS, 4, 3),
    "2d, cut out": (5, CHANNELS, 4, 3),
    "2d, one position": (5, CHANNELS, 1, 1),
    "2d, one sample": (1, CHANNELS, 4, 3),
    "3d": (5, CHANNELS, 2, 3, 2),
    "3d, channels last": (5, CHANNELS, 2, 3, 2),
}
WAYS = ("fused", "torch's", "plain")


@pytest.fixture(autouse=True)
def small_maps_are_fused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps as small as a test's would take torch's way."""
    monkeypatch.setattr(batch_channel_norm, "FUSED_FROM", 0)


def laid_out(case: str, *, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    made = values(*SHAPES[case], dtype=dtype)
    if case.endswith("channels last"):
        return made.contiguous(memory_format=torch.channels_last if made.ndim == 4 else torch.channels_last_3d)
    if case.endswith("cut out"):
        return torch.cat((made, made), 3)[..., :3]
    return made


def take(way: str, patch: pytest.MonkeyPatch) -> None:
    """Send a norm down one of the ways that it chooses by device and by compiler."""
    if way == "torch's":
        patch.setattr(batch_channel_norm, "_has_fused_kernels", lambda _: False)
    if way == "plain":
        patch.setattr(batch_channel_norm, "is_eager", lambda _: False)


def step(module: Any, inputs: torch.Tensor) -> dict[str, torch.Tensor]:  # noqa: ANN401 - modules, compiled or not
    """One pass forward and back: the answer, the gradients and the estimates."""
    inputs = inputs.detach().requires_grad_()
    answer = module(inputs)
    weights = values(*answer.shape, seed=2, dtype=inputs.dtype)
    (answer * weights).tanh().sum().backward()
    assert inputs.grad is not None
    kept = {"answer": answer.detach(), "gradient": inputs.grad}
    kept |= {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}
    return kept | {f"{name} after": buffer.clone() for name, buffer in module.named_buffers()}


def as_torch_names(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a batch-channel norm found under the names of torch's two norms."""
    names = {"weight": "0.weight", "bias": "0.bias", "channel_weight": "1.weight", "channel_bias": "1.bias"}
    estimates = ("running_mean after", "running_var after", "num_batches_tracked after")
    names |= {name: f"0.{name}" for name in estimates} | {"answer": "answer", "gradient": "gradient"}
    return {names[name]: value for name, value in found.items() if name in names}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("options", [{}, {"affine": False}, {"momentum": None}], ids=["", "no affine", "cumulative"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_it_is_torch_s_batch_norm_and_then_group_norm(
    case: str, options: dict[str, Any], way: str, monkeypatch: pytest.MonkeyPatch, *, training: bool
) -> None:
    take(way, monkeypatch)
    dimensions = int(case[0])
    inputs = laid_out(case)
    ours = norm(dimensions, **options).train(training)
    theirs = torch_norms(ours, dimensions)
    for scale in (1, 3):
        expected = step(theirs, inputs * scale)
        found = as_torch_names(step(ours, inputs * scale))
        for name in ("1.weight", "1.bias"):
            if name in expected:
                expected[name] = expected[name].view(GROUPS, -1).sum(1)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            close(found[name], value, name)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", ["2d", "2d, channels last", "3d, channels last"])
def test_single_precision_agrees_to_its_last_digits(case: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take(way, monkeypatch)
    dimensions = int(case[0])
    ours = norm(dimensions, dtype=torch.float32)
    found = as_torch_names(step(ours, laid_out(case, dtype=torch.float32)))
    expected = step(torch_norms(norm(dimensions, dtype=torch.float32), dimensions), laid_out(case, dtype=torch.float32))
    for name in ("answer", "gradient", "0.running_mean after", "0.running_var after"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("case", ["2d, channels last", "3d, channels last", "2d"])
@FORMS
def test_the_memory_format_is_kept(case: str, *, estimated: bool) -> None:
    inputs = laid_out(case).requires_grad_()
    answer = norm(int(case[0]), estimated=estimated)(inputs)
    answer.sum().backward()
    assert inputs.grad is not None
    assert answer.stride() == inputs.grad.stride() == inputs.stride()


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@FORMS
def test_gradients_and_their_gradients_are_those_of_differences(*, estimated: bool, training: bool, last: bool) -> None:
    module = norm(channels=4, groups=2, estimated=estimated, rate=0.0).train(training)
    names = [name for name, _ in module.named_parameters()]
    inputs = values(2, 4, 3, 2)
    inputs = (inputs.contiguous(memory_format=torch.channels_last) if last else inputs).requires_grad_()

    def answer(inputs: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        given = dict(zip(names, parameters, strict=True))
        out: torch.Tensor = torch.func.functional_call(module, given, (inputs,)).tanh()
        return out

    points = (inputs, *(parameter.detach().requires_grad_() for parameter in module.parameters()))
    assert torch.autograd.gradcheck(answer, points)
    assert torch.autograd.gradgradcheck(answer, points)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own, in its jvp
def test_hessians_by_transformation_leave_the_estimates_alone() -> None:
    module = norm(channels=4, groups=2)
    before = copy.deepcopy(module.state_dict())
    inputs = values(2, 4, 2, 1)
    hessian = torch.func.hessian(lambda inputs: module(inputs).tanh().sum())(inputs).view(16, 16)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    expected = torch.autograd.functional.hessian(  # type: ignore[no-untyped-call]
        lambda inputs: module(inputs).tanh().sum(), inputs
    ).view(16, 16)
    torch.testing.assert_close(hessian, expected, rtol=1e-10, atol=1e-10)
    assert float(expected.abs().max()) > 0.01


class Network(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 4, 3, stride=2)
        self.norms, self.head = nn.ModuleList((first, second)), nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.norms[0](self.first(images)).relu()
        answer: torch.Tensor = self.head(self.norms[1](self.second(features)).relu().mean((2, 3)))
        return answer


@pytest.mark.parametrize(("estimated", "warmup"), [(False, 0), (True, 0), (True, 5)])
def test_a_training_run_follows_the_slow_reference(estimated: bool, warmup: int) -> None:
    options: dict[str, Any] = {"estimated": estimated, "rate": 0.125, "warmup": warmup}
    ours = Network(BatchChannelNorm2d(6, 3, **options), BatchChannelNorm2d(4, 2, **options)).double()
    slow = Network(SlowBatchChannelNorm(6, 3, **options), SlowBatchChannelNorm(4, 2, **options)).double()
    stirred(slow)
    ours.load_state_dict(slow.state_dict())
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9) for model in (ours, slow)]
    start = copy.deepcopy(slow.norms.state_dict())
    for count in range(60):
        images, targets = values(2, 2, 7, 6, seed=count), torch.tensor([count % 3, (count + 1) % 3])
        answers = []
        for model, optimizer in zip((ours, slow), optimizers, strict=True):
            optimizer.zero_grad()
            answers.append(model(images))
            nn.functional.cross_entropy(answers[-1], targets).backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(*answers, rtol=1e-10, atol=1e-10)
        for (name, mine), theirs in zip(ours.named_parameters(), slow.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-10, msg=f"{name}, step {count}")
        for optimizer in optimizers:
            optimizer.step()
        for name, buffer in slow.named_buffers():
            torch.testing.assert_close(ours.get_buffer(name), buffer, rtol=1e-10, atol=1e-10)
    moved = [
        not torch.equal(value, start[name]) for name, value in slow.norms.state_dict().items() if "rate" not in name
    ]
    assert all(moved)
    torch.testing.assert_close(ours.eval()(images), slow.eval()(images), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", ["2d", "2d, channels last"])
@FORMS
def test_a_mean_far_from_zero_costs_about_what_it_costs_torch(case: str, *, estimated: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, CHANNELS, 28, 28, generator=generator) + 1e4
    inputs = inputs.contiguous(memory_format=torch.channels_last) if case.endswith("last") else inputs
    found = step(norm(dtype=torch.float32, estimated=estimated, warmup=1), inputs)
    expected = step(norm(estimated=estimated, warmup=1), inputs.double())
    theirs = step(torch_norms(norm(dtype=torch.float32)), inputs)
    exact = step(torch_norms(norm()), inputs.double())
    spacing = 2.0**-10  # of float32 at 10 000
    for name, theirs_name in {
        "answer": "answer",
        "gradient": "gradient",
        "running_var after": "0.running_var after",
    }.items():
        ours_off = (found[name].double() - expected[name]).abs().max()
        theirs_off = (theirs[theirs_name].double() - exact[theirs_name]).abs().max()
        assert float(ours_off) < 5 * float(theirs_off) + 2 * spacing, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@FORMS
def test_half_precision_takes_its_statistics_in_single_precision(dtype: torch.dtype, *, estimated: bool) -> None:
    inputs = (values(4, CHANNELS, 8, 8) * 3e3).to(dtype)  # squares that float16 cannot hold
    whole = norm(dtype=torch.float32, estimated=estimated, rate=1.0)
    half = copy.deepcopy(whole)
    found, expected = step(half, inputs), step(whole, inputs.float())
    assert found["answer"].dtype == found["gradient"].dtype == dtype
    torch.testing.assert_close(found["answer"].float(), expected["answer"], rtol=2**-7, atol=2**-7)
    assert torch.equal(found["running_var after"], expected["running_var after"])
    with torch.autocast("cpu", dtype):
        assert torch.equal(copy.deepcopy(half)(inputs), half(inputs))


@FORMS
def test_estimates_that_half_precision_cannot_hold_are_not_taken(*, estimated: bool) -> None:
    module = norm(dtype=torch.float16, estimated=estimated)
    before = copy.deepcopy(module.state_dict())
    answer = module(torch.tensor([-6e4, 6e4]).half().repeat(CHANNELS).view(1, CHANNELS, 2, 1))
    assert bool(answer.isfinite().all())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@FORMS
@pytest.mark.parametrize("way", ["fused", "torch's"])
def test_what_is_not_finite_is_refused_where_a_look_costs_nothing(
    way: str, monkeypatch: pytest.MonkeyPatch, *, estimated: bool
) -> None:
    take(way, monkeypatch)
    module = norm(estimated=estimated)
    before = copy.deepcopy(module.state_dict())
    inputs = values(2, CHANNELS, 3, 3)
    for bad in (torch.nan, torch.inf):
        inputs[0, 2, 1, 1] = bad
        with pytest.raises(NotFiniteError, match=f"reach a BatchChannelNorm2d of {CHANNELS} channels"):
            module(inputs)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    large = torch.full((2, CHANNELS, 3, 3), 1e38)
    assert not bool(large.sum().isfinite())
    assert bool(module.float().eval()(large).isfinite().all()), "a sum that overflows is no NaN"


@FORMS
def test_a_bad_batch_leaves_the_estimates_as_they_were(monkeypatch: pytest.MonkeyPatch, *, estimated: bool) -> None:
    take("plain", monkeypatch)
    module = norm(estimated=estimated)
    before = copy.deepcopy(module.state_dict())
    inputs = values(2, CHANNELS, 3, 3)
    for bad in (torch.nan, torch.inf):
        inputs[0, 2, 1, 1] = bad
        answer = module(inputs)
        assert bool(answer[0, 2, 1, 1].isnan()), "what is not finite is not hidden"
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    empty = module(inputs[:0].requires_grad_())
    empty.sum().backward()
    assert empty.shape == (0, CHANNELS, 3, 3)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    if estimated:
        assert bool(answer[1].isfinite().all())
    module(values(2, CHANNELS, 3, 3))
    assert int(module.num_batches_tracked) == 1


def test_one_value_a_channel_trains_by_estimates_only() -> None:
    single = values(1, CHANNELS, 1, 1)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm()(single)
    assert bool(norm(estimated=True)(single).isfinite().all())
    assert bool(norm().eval()(single).isfinite().all())


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@FORMS
def test_a_group_of_one_value_is_refused(*, estimated: bool, training: bool) -> None:
    module = norm(groups=CHANNELS, estimated=estimated).train(training)
    with pytest.raises(ValueError, match="a group of one channel at one position"):
        module(values(4, CHANNELS, 1, 1))
    assert bool(module(values(4, CHANNELS, 1, 2)).isfinite().all())


@FORMS
def test_constant_channels_are_finite(*, estimated: bool) -> None:
    found = step(norm(estimated=estimated), torch.ones(2, CHANNELS, 3, 3, dtype=torch.float64))
    assert all(bool(value.isfinite().all()) for value in found.values())


def test_a_frozen_norm_in_a_network_that_trains_stays() -> None:
    frozen, free = norm(estimated=True), norm(estimated=True)
    network = nn.Sequential(frozen, free).train()
    frozen.eval()
    before = copy.deepcopy(frozen.state_dict())
    step(network, values(2, CHANNELS, 3, 3))
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
    assert int(free.num_batches_tracked) == 1


def test_several_batches_before_the_backward_pass_keep_their_own_estimates() -> None:
    module = norm(estimated=True)
    batches = [values(1, CHANNELS, 3, 3, seed=seed) for seed in (3, 4)]
    together = copy.deepcopy(module)
    torch.stack([together(batch).tanh().sum() for batch in batches]).sum().backward()  # type: ignore[no-untyped-call]
    for batch in batches:
        module(batch).tanh().sum().backward()
    for one, other in zip(together.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reentrant", [False, True])
@FORMS
def test_a_checkpoint_counts_a_batch_once(*, estimated: bool, reentrant: bool) -> None:
    plain = nn.Sequential(nn.Conv2d(2, CHANNELS, 1), norm(estimated=estimated), nn.ReLU()).double()
    stored = copy.deepcopy(plain)
    inputs = values(2, 2, 4, 4)
    expected, images = step(plain, inputs), inputs.clone().requires_grad_()

    class Checkpointed(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = checkpoint(stored, images, use_reentrant=reentrant)
            return answer

    checkpointed = Checkpointed()
    checkpointed.stored = stored
    found = step(checkpointed, images)
    for name, value in expected.items():
        other = found.get(name, found.get(f"stored.{name}"))
        assert other is not None
        torch.testing.assert_close(other, value, rtol=0, atol=0)


@FORMS
def test_it_compiles_whole_and_a_new_rate_compiles_nothing(*, estimated: bool) -> None:
    torch.compiler.reset()
    module = norm(estimated=estimated, warmup=1)
    other = copy.deepcopy(module)
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compiled = torch.compile(module, fullgraph=True, backend=backend)
    for count in range(3):
        found, expected = (step(each, values(2, CHANNELS, 3, 4, seed=count)) for each in (compiled, other))
        for (name, value), wanted in zip(found.items(), expected.values(), strict=True):
            close(value, wanted, name, tolerance=1e-11)
        for each in (module, other):
            each.rate.fill_(0.3 / (1 + count))
    assert len(graphs) == 1


@FORMS
def test_it_exports(*, estimated: bool) -> None:
    module = norm(estimated=estimated).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(module, (values(2, CHANNELS, 3, 4),), dynamic_shapes=({0: batch},))
    other = values(5, CHANNELS, 3, 4)
    torch.testing.assert_close(exported.module()(other), module(other), rtol=1e-12, atol=1e-12)


def test_state_dicts_are_of_both_forms_and_take_a_batch_norm_s() -> None:
    large, micro = norm(), norm(estimated=True)
    large(values(3, CHANNELS, 2, 2))
    micro.load_state_dict(large.state_dict())
    assert all(torch.equal(value, large.state_dict()[name]) for name, value in micro.state_dict().items())
    left = norm().load_state_dict(nn.BatchNorm2d(CHANNELS).double().state_dict(), strict=False)
    assert left.missing_keys == ["channel_weight", "channel_bias", "rate"]
    assert left.unexpected_keys == []
    inputs = values(3, CHANNELS, 2, 2)
    assert torch.equal(copy.deepcopy(micro).eval()(inputs), micro.eval()(inputs))


def test_on_the_meta_device_it_has_shapes_only() -> None:
    module = BatchChannelNorm2d(CHANNELS, GROUPS, estimated=True, device="meta")
    assert module(torch.empty(2, CHANNELS, 3, 3, device="meta")).shape == (2, CHANNELS, 3, 3)
    made = module.to_empty(device="cpu")
    made.reset_parameters()
    fresh = BatchChannelNorm2d(CHANNELS, GROUPS, estimated=True).state_dict()
    assert all(torch.equal(made.state_dict()[name], fresh[name]) for name in fresh if name != "rate")


@pytest.mark.parametrize("dimensions", CLASSES)
def test_inputs_of_another_shape_are_refused(dimensions: int) -> None:
    module = norm(dimensions)
    with pytest.raises(ValueError, match="input, got 6D"):
        module(values(2, CHANNELS, 2, 2, 2, 2))
    with pytest.raises(ValueError, match=f"expected {CHANNELS} channels, got 1"):
        module(values(2, 1, *(2 for _ in range(dimensions))))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((6, 4), {}, "4 does not divide 6"),
        ((6, 0), {}, "groups must divide"),
        ((0, 1), {}, "groups must divide"),
        ((6, 3), {"rate": 1.5}, "rate must be from 0 to 1"),
        ((6, 3), {"warmup": -1}, "warmup must be"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[int, int], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchChannelNorm2d(*arguments, **options)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 64), st.integers(1, 5))
def test_group_counts_are_the_largest_that_fit(channels: int, groups: int, smallest: int) -> None:
    fitting = [count for count in range(1, groups + 1) if channels % count == 0 and channels // count >= smallest]
    assert group_count(channels, groups, smallest=smallest) == max(fitting, default=1)


@pytest.mark.parametrize("wrong", [(0, 32, 2), (8, 0, 2), (8, 32, 0)])
def test_group_counts_of_nothing_are_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        group_count(*wrong[:2], smallest=wrong[2])
