"""A program of two processes that records trainings, one a case: `record_together.py FOLDER RANK PORT CASE ...`.

Each process makes the same network, trains it on data of its own, and calls the recorder as the case says. At the end
the first saves the whole weights of each step, for the tests to compare with.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel

from weightatlas.change.recorder import Recorder

STEPS = 6


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def wrapped(case: str) -> tuple[nn.Module, nn.Module]:
    """The network as it is called, and as its whole weights are asked of."""
    model: Any = network()
    if case == "replicated":
        return DistributedDataParallel(model), model
    if case.startswith("flat"):
        options: dict[str, Any] = {"device_id": torch.device("cpu"), "use_orig_params": case == "flat-originals"}
        model[2] = FullyShardedDataParallel(model[2], **options)
        model = FullyShardedDataParallel(model, **options)
        return model, model
    shape = (1, 2) if case != "hybrid" else (2, 1)
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=("replicas", "shards"))
    fully_shard(model[0], mesh=mesh)
    if case != "mixed":
        fully_shard(model, mesh=mesh)
    return model, model


def whole(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights of all shards together; both processes take part."""
    if isinstance(model, FullyShardedDataParallel):
        with FullyShardedDataParallel.summon_full_params(model, writeback=False):
            for name, parameter in model.named_parameters():
                yield name.replace("_fsdp_wrapped_module.", ""), parameter.detach().clone()
        return
    for name, parameter in model.named_parameters():
        full = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
        yield name, full.detach().clone()


def record(folder: Path, rank: int, case: str) -> None:
    folder.mkdir(exist_ok=True)
    model, base = wrapped("sharded" if case in {"stops", "killed"} else case)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    torch.manual_seed(7 + rank)
    weights = [dict(whole(base))]
    recorder = Recorder(model, folder / "change.jsonl", with_start=True, with_previous=True)
    for step in range(1, STEPS + 1):
        model(torch.randn(4, 7)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        weights.append(dict(whole(base)))
        if case == "stops" and rank == 1 and step > STEPS // 2:
            continue
        recorder.step(step)
        if case == "killed" and rank == 1 and step == STEPS // 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if case == "killed" and rank == 0 and step == STEPS // 2:
            break
    recorder.close()
    if rank == 0:
        torch.save(weights, folder / "weights.pt")


def main(folder: Path, rank: int, port: str, cases: list[str]) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, RANK=str(rank), WORLD_SIZE="2")
    distributed.init_process_group("gloo")
    for case in cases:
        record(folder / case, rank, case)
    if "killed" in cases:
        os._exit(0)  # the group cannot be closed: the other process is gone
    distributed.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
