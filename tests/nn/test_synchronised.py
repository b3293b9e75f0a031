from __future__ import annotations

import copy
import importlib
import os
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.nn import SMALL, SimplifiedNetwork, synchronised
from weightatlas.nn.synchronised import SynchronisedBatchNormAct2d

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROCESSES = 2
SHAPES = {
    "1d": (10, 3),
    "1d of sequences": (10, 3, 5),
    "2d": (10, 3, 4, 5),
    "3d": (10, 3, 2, 2, 2),
    "far from zero": (10, 3, 4, 5),
    "cumulative": (10, 3, 4, 5),
    "plain": (10, 3, 4, 5),
    "activated in place": (10, 3, 4, 5),
}
SHARES = {"even": 5, "uneven": 3, "one empty": 0}


def norm(case: str) -> nn.Module:
    """A batch norm whose parameters and estimates are not those it starts from."""
    makers: dict[str, Callable[[], nn.Module]] = {
        "1d": lambda: nn.BatchNorm1d(3),
        "1d of sequences": lambda: nn.BatchNorm1d(3, affine=False),
        "3d": lambda: nn.BatchNorm3d(3),
        "cumulative": lambda: nn.BatchNorm2d(3, momentum=None),
        "plain": lambda: nn.BatchNorm2d(3, track_running_stats=False, eps=0.1),
        "activated in place": lambda: nn.Sequential(nn.BatchNorm2d(3, affine=False), nn.ReLU(inplace=True)),
    }
    made = makers.get(case, lambda: nn.BatchNorm2d(3, momentum=0.3))()
    generator = torch.Generator().manual_seed(0)
    made = made.double()
    with torch.no_grad():
        for tensor in (*made.parameters(), *(buffer for buffer in made.buffers() if buffer.is_floating_point())):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return made


def batch(case: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Values, and what the loss weighs each answer with."""
    generator = torch.Generator().manual_seed(1)
    values, weights = torch.randn(2, *SHAPES[case], generator=generator, dtype=torch.float64)
    return values + (1e7 if case == "far from zero" else 0), weights


def trained(module: nn.Module, values: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Two steps forward and one back: the answer, the gradients and the estimates."""
    module.train()
    module(3 - 2 * values)
    values = values.clone().requires_grad_()
    answer = module(values)
    (answer.square() * weights).sum().backward()
    assert values.grad is not None
    kept = {"answer": answer.detach(), "gradient": values.grad}
    kept |= {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}
    return kept | {f"{name} after": buffer.clone() for name, buffer in module.named_buffers()}


def network_step(model: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """One backward pass of a whole network, with a loss that is a sum over images."""
    model.double().train()
    model(images).square().sum().backward()
    kept = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return kept | {f"{name} after": buffer.clone() for name, buffer in model.named_buffers()}


def images() -> torch.Tensor:
    return torch.randn(6, 3, 24, 24, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def network() -> nn.Module:
    return SimplifiedNetwork(SMALL, width=0.25, input_size=24, classes=3, head="global-max")


def mine(values: torch.Tensor, rank: int, cut: int) -> torch.Tensor:
    return values[:cut] if rank == 0 else values[cut:]


def work(rank: int, folder: str) -> None:
    """What one of the processes does: every case on its share of the batch."""
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    found: dict[str, Any] = {}
    for case in SHAPES:
        values, weights = batch(case)
        for share, cut in SHARES.items():
            found[f"{case}, {share}"] = trained(
                synchronised(norm(case)), mine(values, rank, cut), mine(weights, rank, cut)
            )
    found["network"] = network_step(synchronised(network()), mine(images(), rank, 4))
    half = synchronised(norm("2d").float())
    found["half"] = half(mine(batch("2d")[0], rank, 5).bfloat16()).detach()
    evaluated = synchronised(norm("2d")).eval()
    if rank == 0:  # alone: a reduction would wait for ever
        found["evaluation"] = evaluated(batch("2d")[0]).detach()
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    folder: Path = tmp_path_factory.mktemp("gloo")
    spawn(work, args=(str(folder),), nprocs=PROCESSES)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


def close(found: torch.Tensor, expected: torch.Tensor, *, scale: float = 1) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12 * scale, atol=1e-12 * scale)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("case", SHAPES)
def test_two_processes_are_one_on_the_whole_batch(processes: list[dict[str, Any]], case: str, share: str) -> None:
    first, second = (found[f"{case}, {share}"] for found in processes)
    expected = trained(norm(case), *batch(case))
    assert first.keys() == second.keys() == expected.keys()
    scale = 1e7 if case == "far from zero" else 1
    for name, value in expected.items():
        if name in {"answer", "gradient"}:
            close(torch.cat((first[name], second[name])), value, scale=scale)
        elif name.endswith("after"):
            assert torch.equal(first[name], second[name]), "estimates are the same on every process"
            close(first[name], value, scale=scale)
        else:
            close(first[name] + second[name], value, scale=scale)


def test_a_whole_network_has_the_gradient_of_the_whole_batch(processes: list[dict[str, Any]]) -> None:
    first, second = (found["network"] for found in processes)
    expected = network_step(network(), images())
    largest = max(float(value.abs().max()) for name, value in expected.items() if not name.endswith("after"))
    for name, value in expected.items():
        if name.endswith("after"):
            close(first[name], value)
        else:
            close((first[name] + second[name]) / largest, value / largest)


def test_half_precision_comes_back_in_half_precision(processes: list[dict[str, Any]]) -> None:
    answer = torch.cat([found["half"] for found in processes])
    assert answer.dtype == torch.bfloat16
    expected = norm("2d").float()(batch("2d")[0].bfloat16().float()).detach()
    torch.testing.assert_close(answer.float(), expected, rtol=2**-8, atol=1e-6)


def test_evaluation_needs_no_other_process(processes: list[dict[str, Any]]) -> None:
    assert torch.equal(processes[0]["evaluation"], norm("2d").eval()(batch("2d")[0]).detach())


@pytest.mark.parametrize("case", SHAPES)
def test_without_other_processes_it_is_plain_batch_norm_bit_for_bit(case: str) -> None:
    found, expected = trained(synchronised(norm(case)), *batch(case)), trained(norm(case), *batch(case))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_timm_s_norm_and_activation_is_taken_too() -> None:
    import_torchvision()
    plain = importlib.import_module("timm.layers").BatchNormAct2d(3).double()
    together = synchronised(plain)
    assert isinstance(together, SynchronisedBatchNormAct2d)
    values, weights = batch("2d")
    expected = trained(plain, values, weights)
    assert bool((expected["answer"] >= 0).all())
    found = trained(together, values, weights)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_model_given_is_left_as_it_was_and_names_stay() -> None:
    model = network()
    kinds = [type(module) for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    together = synchronised(model)
    network_step(together, images())
    assert [type(module) for module in model.modules()] == kinds
    assert list(together.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert {
        type(module).__name__ for module in synchronised(together).modules() if "Norm" in type(module).__name__
    } == {
        "SynchronisedBatchNorm1d",
        "SynchronisedBatchNorm2d",
    }


def test_a_batch_norm_with_a_forward_of_its_own_is_refused() -> None:
    class Scaled(nn.BatchNorm2d):
        pass

    with pytest.raises(ValueError, match=r"^body is a Scaled: only torch's own batch norms"):
        synchronised(nn.ModuleDict({"body": Scaled(3)}))
    with pytest.raises(ValueError, match=r"^the model is a Scaled"):
        synchronised(Scaled(3))
    kept = synchronised(nn.Sequential(nn.SyncBatchNorm(3), nn.InstanceNorm2d(3), nn.GroupNorm(1, 3)))
    assert [type(module) for module in kept.children()] == [nn.SyncBatchNorm, nn.InstanceNorm2d, nn.GroupNorm]
