"""One of two processes that save a distributed checkpoint together; run as `python -m ... FOLDER RANK`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


def network() -> nn.Module:
    """Shapes that two processes cannot share evenly, and a type of two bytes."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Linear(7, 3).bfloat16(), nn.Linear(1, 1))


def matrices() -> dict[str, torch.Tensor]:
    """What is split along rows, along columns, and along neither."""
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(7, 10, generator=generator) for name in ("rows", "columns", "turned", "replicated")}


def distributed_state() -> dict[str, Any]:
    """A training run's state as torch gathers it: FSDP's model and optimizer, and tensors in other layouts."""
    from torch.distributed.checkpoint.state_dict import get_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2,))
    model = network()
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():
        for parameter, before in zip(model.parameters(), network().parameters(), strict=True):
            parameter.copy_(distribute_tensor(before.detach(), mesh, [Shard(0)]))
    state, optimizer_state = get_state_dict(model, optimizer)
    plain = matrices()
    layouts = {"rows": Shard(0), "columns": Shard(1), "turned": Shard(0), "replicated": Replicate()}
    for name, layout in layouts.items():
        whole = plain[name].t() if name == "turned" else plain[name]
        state[f"extra.{name}"] = distribute_tensor(whole, mesh, [layout])
    return {"model": state, "optimizer": optimizer_state, "epoch": 3, "history": [1.0, torch.ones(2)]}


def main(folder: Path, rank: int) -> None:
    """Save, with a file as the meeting point, so that no port is needed."""
    from torch.distributed.checkpoint.state_dict_saver import save

    warnings.simplefilter("ignore")
    meeting = f"file://{folder.parent / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    save(distributed_state(), checkpoint_id=folder)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
