"""Where a run is computed: one processor, one GPU or several, through Lightning Fabric."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import torch

from weightatlas.errors import MissingDependencyError, SourceError, WeightatlasError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lightning_fabric import Fabric

    from weightatlas.lab.configuration import Precision

Accelerator = Literal["auto", "cpu", "cuda", "mps"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """Where a run is computed.

    Attributes:
        accelerator: "cpu", "cuda", "mps", or "auto": a GPU where there is one.
        devices: processes on each machine, one a GPU (or a share of the cores); more than one train together (DDP).
        nodes: machines.
    """

    accelerator: Accelerator = "auto"
    devices: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.devices < 1 or self.nodes < 1:
            message = f"devices and nodes must be 1 or more, not {self.devices} and {self.nodes}"
            raise ValueError(message)


def open_fabric(devices: Devices, precision: Precision) -> Fabric:
    """Open the devices; with several processes this starts the others, which run the same program from its beginning.

    Under `torchrun` the processes are those that it started, whatever `devices` says.

    Raises:
        MissingDependencyError: Lightning Fabric is not installed.
        SourceError: there is no such device here, or it cannot compute in that precision.
    """
    try:
        with quiet_fabric():
            from lightning_fabric import Fabric
            from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        need = "training"
        raise MissingDependencyError(need, "lightning-fabric", "train") from error
    with quiet_fabric():  # anew: when it is imported it turns its voice up
        devices = _started(devices)
        accelerator = _chosen(devices)
        if precision == "16-mixed" and accelerator == "cpu":  # Fabric would take bf16 in its place, and say so only
            raise SourceError(precision, "the CPU does not compute in it", "give --precision bf16-mixed")
        several = devices.devices * devices.nodes > 1
        strategy: Any = "auto"
        if several:
            strategy = DDPStrategy(process_group_backend="nccl" if accelerator == "cuda" else "gloo")
            _leave_the_group_at_exit()
        try:
            fabric = Fabric(
                accelerator=accelerator,
                devices=devices.devices,
                num_nodes=devices.nodes,
                strategy=strategy,
                precision=precision,
            )
            fabric.launch()
        except (RuntimeError, ValueError) as error:
            what = f"{devices.devices} x {devices.accelerator} in {precision}"
            problem = f"cannot be used here ({' '.join(str(error).split())[:200]})"
            raise SourceError(what, problem, "see `weightatlas doctor`, or give --accelerator cpu") from error
    return fabric


def process() -> int:
    """Give the number of this process among those that train together, 0 where it is alone."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def is_first_process() -> bool:
    """Say whether this process is the one that writes and speaks."""
    return process() == 0


@contextmanager
def quiet_fabric() -> Iterator[None]:
    """Keep Fabric's advice (more workers, other precisions) off the user's screen."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning_fabric")
            warnings.filterwarnings("ignore", module="lightning_utilities")
            yield
    finally:
        logger.setLevel(level)


def over_processes(fabric: Fabric, tensor: torch.Tensor, operation: Literal["mean", "sum"]) -> torch.Tensor:
    """Give the mean or the sum of a tensor over all processes, to each of them."""
    return cast("torch.Tensor", fabric.all_reduce(tensor, reduce_op=operation))


def first_alone(fabric: Fabric, action: Callable[[], T]) -> T:
    """Do something in the first process alone, and give what came of it to all.

    An error is raised in all of them too, so that none waits for one that has left.

    Raises:
        WeightatlasError: in the other processes, where the action raised an error that is not the package's own.
    """
    if fabric.world_size == 1:
        return action()
    answer: T | None = None
    trouble: Exception | None = None
    if fabric.is_global_zero:
        try:
            answer = action()
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must hear of it
            trouble = error
    told = trouble
    if trouble is not None and not isinstance(trouble, WeightatlasError):  # others may not survive the trip
        told = WeightatlasError(f"the first process stopped ({type(trouble).__name__}: {trouble})")
    answer, told = fabric.broadcast((answer, told))
    if trouble is not None:
        raise trouble
    if told is not None:
        raise told
    return cast("T", answer)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute on so many cores while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _leave_the_group_at_exit() -> None:
    """Have the group of processes closed while Python still runs; its threads may else abort a process that is done.

    Fabric does so for NCCL alone. Gloo's threads end when nothing refers to the group any more; functions of
    `torch.distributed.nn` take a group that is open at their import as a default, so they are imported before it is.
    """
    import_module("torch.distributed.nn.functional")

    atexit.unregister(_leave_the_group)
    atexit.register(_leave_the_group)


def _leave_the_group() -> None:
    gc.collect()  # networks that were trained together refer to it
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _started(devices: Devices) -> Devices:
    """The processes that torchrun has started, where it has."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return devices
    everywhere, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    return replace(devices, devices=here, nodes=everywhere // here)


def _chosen(devices: Devices) -> str:
    """The accelerator by name: Fabric's "auto" would take Apple's, on which processes cannot train together."""
    if devices.accelerator != "auto":
        return devices.accelerator
    if torch.cuda.is_available():
        return "cuda"
    alone = devices.devices * devices.nodes == 1
    return "mps" if torch.backends.mps.is_available() and alone else "cpu"
