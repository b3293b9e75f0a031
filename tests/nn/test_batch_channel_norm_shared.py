from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from tests.nn.norms import CHANNELS, Norm, close, norm, values
from weightatlas.nn import batch_channel_norm

if TYPE_CHECKING:
    from pathlib import Path

FORMS = pytest.mark.parametrize("estimated", [False, True], ids=["large batch", "micro batch"])
PROCESSES = 2
SHARES = {"even": 4, "uneven": 3, "uneven, channels last": 3, "one empty": 0}


def shared_case(share: str = "", *, estimated: bool) -> tuple[Norm, torch.Tensor]:
    module = norm(estimated=estimated, synchronized=not estimated, warmup=1, rate=0.3)
    inputs = values(8, CHANNELS, 3, 4)
    return module, inputs.contiguous(memory_format=torch.channels_last) if share.endswith("last") else inputs


def mine(whole: torch.Tensor, rank: int, cut: int) -> torch.Tensor:
    return whole[:cut] if rank == 0 else whole[cut:]


def weighed(module: nn.Module, inputs: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Two steps; what the second found, and the gradient of a squared gradient."""
    module(2 - inputs * 3)
    inputs = inputs.detach().requires_grad_()
    answer = module(inputs)
    (answer * weights).tanh().sum().backward()
    assert inputs.grad is not None
    kept = {"answer": answer.detach(), "gradient": inputs.grad.clone()}
    kept |= {
        name: parameter.grad.clone() for name, parameter in module.named_parameters() if parameter.grad is not None
    }
    kept |= {f"{name} after": buffer.clone() for name, buffer in module.named_buffers()}
    first = torch.autograd.grad((module(inputs) * weights).tanh().sum(), inputs, create_graph=True)[0]
    inputs.grad = None
    first.square().sum().backward()  # type: ignore[no-untyped-call]
    return kept | {"second": inputs.grad}


def work(rank: int, folder: str) -> None:
    """What one of the processes does: every case on its share of the batch."""
    setattr(batch_channel_norm, "FUSED_FROM", 0)  # noqa: B010 - a constant, in a process that ends with the test
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    found: dict[str, Any] = {}
    for estimated in (False, True):
        for share, cut in SHARES.items():
            module, inputs = shared_case(share, estimated=estimated)
            weights = values(*inputs.shape, seed=2)
            found[f"{estimated}, {share}"] = weighed(module, mine(inputs, rank, cut), mine(weights, rank, cut))
        module, inputs = shared_case(estimated=estimated)
        wrapped = DistributedDataParallel(module)
        for seed in (5, 6):
            wrapped(mine(values(*inputs.shape, seed=seed), rank, 3)).tanh().mean().backward()
        found[f"{estimated}, wrapped"] = {name: buffer.clone() for name, buffer in module.named_buffers()}
        compiled, inputs = shared_case(estimated=estimated)
        compile_whole = torch.compile(compiled, fullgraph=True, backend="eager")
        found[f"{estimated}, compiled"] = compile_whole(mine(inputs, rank, 3)).detach()
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    folder: Path = tmp_path_factory.mktemp("gloo")
    spawn(work, args=(str(folder),), nprocs=PROCESSES)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


@pytest.mark.parametrize("share", SHARES)
@FORMS
def test_two_processes_are_one_on_the_whole_batch(
    processes: list[dict[str, Any]], share: str, *, estimated: bool
) -> None:
    first, second = (found[f"{estimated}, {share}"] for found in processes)
    module, inputs = shared_case(share, estimated=estimated)
    expected = weighed(module, inputs, values(*inputs.shape, seed=2))
    assert first.keys() == second.keys() == expected.keys()
    for name, value in expected.items():
        if name in {"answer", "gradient", "second"}:
            found = torch.cat((first[name], second[name]))
        elif name.endswith("after"):
            assert torch.equal(first[name], second[name]), "estimates are the same on every process"
            found = first[name]
        else:
            found = first[name] + second[name]
        close(found, value, name)


@FORMS
def test_wrapped_for_distribution_the_estimates_are_the_whole_batch_s(
    processes: list[dict[str, Any]], *, estimated: bool
) -> None:
    module, inputs = shared_case(estimated=estimated)
    for seed in (5, 6):
        module(values(*inputs.shape, seed=seed))
    for found in processes:
        for name, buffer in module.named_buffers():
            torch.testing.assert_close(found[f"{estimated}, wrapped"][name], buffer, rtol=1e-12, atol=1e-12)


@FORMS
def test_compiled_it_is_shared_too(processes: list[dict[str, Any]], *, estimated: bool) -> None:
    module, inputs = shared_case(estimated=estimated)
    answer = torch.cat([found[f"{estimated}, compiled"] for found in processes])
    torch.testing.assert_close(answer, module(inputs).detach(), rtol=1e-12, atol=1e-12)
