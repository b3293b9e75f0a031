"""What there is to compute on: the processor, its memory, and the accelerators that torch sees."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import joblib

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

CGROUP: Final = Path("/sys/fs/cgroup/memory.max")
CPU_INFO: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Device:
    """Something that tensors are computed on.

    Attributes:
        item: its name in torch: "cpu", "cuda:0", "mps".
        description: what it is.
        remedy: what to do where it is missing.
        skipped: why it is missing, or None.
    """

    item: str
    description: str | None = None
    remedy: str | None = None
    skipped: str | None = None


def devices() -> Iterator[Device]:
    """The processor, then every accelerator, or one entry that says why there is none."""
    cores = joblib.cpu_count()
    memory = memory_size()
    size = "" if memory is None else f", {memory / 1e9:.1f} GB"
    processor = f"{processor_name()}, {cores} core{'s' if cores > 1 else ''}{size}"
    try:
        import torch  # only to ask it
    except Exception as error:  # noqa: BLE001 - a broken installation is what a doctor is asked about
        yield Device("cpu", processor)
        first = str(error).partition("\n")[0][:160]
        yield Device("torch", None, "pip install --force-reinstall torch", f"torch cannot be imported: {first}")
        return
    yield Device("cpu", f"{processor}, torch uses {torch.get_num_threads()} threads")
    yield from accelerators(torch)


def accelerators(torch: ModuleType) -> Iterator[Device]:
    """The CUDA and Apple devices that torch sees, or why it sees none."""
    count = torch.cuda.device_count()
    for number in range(count):
        properties = torch.cuda.get_device_properties(number)
        yield Device(f"cuda:{number}", f"{properties.name}, {properties.total_memory / 1e9:.1f} GB")
    apple = torch.backends.mps.is_available()
    if apple:
        yield Device("mps", "Apple's graphics processor")
    if not count and not apple:
        built = torch.version.cuda is not None
        reason = "torch sees no CUDA device" if built else "this torch is built for the processor alone"
        remedy = "install a driver that fits torch's CUDA" if built else "only if there is a GPU: a torch built for it"
        yield Device("cuda", None, remedy, reason)


def processor_name() -> str:
    """The processor as its maker calls it, else its architecture."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def memory_size() -> int | None:
    """Bytes of memory: the machine's, or those its container allows; None where the system does not say."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    try:
        allowed = CGROUP.read_text(encoding="ascii").strip()
    except OSError:
        allowed = "max"
    return min(size, int(allowed)) if allowed.isdigit() else size
