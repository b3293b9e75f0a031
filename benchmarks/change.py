"""Claims: weight change is measured at the speed of memory, exactly, and in hardly any memory of its own.

`python benchmarks/change.py [--quick]`: a pair of files of 1 GiB in the page cache (128 MiB with --quick), with one
thread and with all cores. A file's pages must be mapped into the process that reads them, which here takes about as
long as reading, so there are two limits: torch.sum over the same parts of the same files, mapped afresh, for surveys;
and torch.sum over tensors whose pages are mapped already, for tensors in memory. Every round measures a limit right
beside ours; what is claimed is the ratio of the best rounds, which a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics as middles
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import safetensors.torch
import torch
from measure import Claims, machine

from weightatlas.change.statistics import statistics
from weightatlas.change.streaming.streaming import PART
from weightatlas.change.survey import compare
from weightatlas.checkpoints import open_checkpoint
from weightatlas.parallel import parallel_map

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ELEMENTS, QUICK = 1 << 28, 1 << 25
PIECE: Final = 1 << 24
NAME: Final = "embedding.weight"
ROUNDS: Final = 9
NORMS, ALL, HALF, FASTER, SPARE = 0.9, 0.8, 0.6, 8, 64
CHECKPOINTS: Final = 8
NEAR: Final = 1e-6

FRESH = """
import sys, threading, time
from pathlib import Path
from weightatlas.change.survey import compare, survey

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

def watch():
    while not done.wait(0.002):
        seen.append(anonymous())

done, seen = threading.Event(), [before := anonymous()]
watcher = threading.Thread(target=watch)
watcher.start()
job, jobs, begun = sys.argv[1], int(sys.argv[2]), time.perf_counter()
if job == "run":
    found = survey(sys.argv[3], jobs=jobs)
else:
    found = compare(*sys.argv[3:5], jobs=jobs, only_norms=job == "norms")
seconds = time.perf_counter() - begun
seen.append(anonymous())
done.set()
watcher.join()
print(max(seen) - before, found.bytes_read, seconds)
"""
"""The survey of a pair or a run in a process of its own: most anonymous memory beyond that after imports, bytes
read, seconds."""


def write_pair(folder: Path, elements: int) -> dict[str, list[Path]]:
    """Weights and the same a little later, as float32 and as bfloat16; in the page cache when written."""
    generator = torch.Generator().manual_seed(0)
    before, after = torch.empty(elements), torch.empty(elements)
    for low in range(0, elements, PIECE):
        of = slice(low, low + PIECE)
        before[of].normal_(0, 0.02, generator=generator)
        after[of].normal_(0, 1e-4, generator=generator).add_(before[of])
    paths: dict[str, list[Path]] = {"float32": [], "bfloat16": []}
    for label, weight in (("before", before), ("after", after)):
        for dtype, of_type in ((torch.float32, paths["float32"]), (torch.bfloat16, paths["bfloat16"])):
            path = folder / f"{label}-{str(dtype).removeprefix('torch.')}.safetensors"
            safetensors.torch.save_file({NAME: weight.to(dtype).view(-1, 4096)}, path)
            of_type.append(path)
    return paths


def side_by_side(
    label: str, nbytes: int, ours: Callable[[], object], limit: Callable[[], object], *, rounds: int = ROUNDS
) -> float:
    """Print the rates of ours and of the limit, in their best rounds and in the median; give the best's ratio.

    Both are called in every round. The first round, which compiles, is not counted.
    """
    seconds = []
    for _ in range(rounds + 1):
        moments = [time.perf_counter()]
        for routine in (ours, limit):
            routine()
            moments.append(time.perf_counter())
        seconds.append((moments[1] - moments[0], moments[2] - moments[1]))
    columns = list(zip(*seconds[1:], strict=True))
    rate, most = (nbytes / 1e9 / min(column) for column in columns)
    usual, usual_most = (nbytes / 1e9 / middles.median(column) for column in columns)
    print(f"{label:44} {rate:5.1f} of {most:5.1f} GB/s: {rate / most:.2f}; median {usual:.1f} of {usual_most:.1f}")
    return float(rate / most)


def sum_afresh(paths: list[Path], threads: int) -> None:
    """Map every part of two files and sum its bytes as float32, as many parts at once as there are threads."""
    parts = []
    for path in paths:
        checkpoint = open_checkpoint(path)
        elements, fetch = math.prod(checkpoint.info[NAME].shape), checkpoint.parts(NAME)
        parts += [partial(fetch, low, min(low + PART, elements)) for low in range(0, elements, PART)]
    parallel_map(lambda part: part().view(torch.float32).sum(), parts, jobs=threads)


def sum_resident(weights: list[torch.Tensor], threads: int) -> None:
    """Sum what is mapped already, in as many parts at once as there are threads."""
    flat = [weight.view(-1).view(torch.float32) for weight in weights]
    parts = [weight[low : low + PART] for weight in flat for low in range(0, len(weight), PART)]
    parallel_map(torch.sum, parts, jobs=threads)


def plain(weights: list[torch.Tensor], threads: int) -> None:
    """Equation 1 as one writes it down, with torch's own threads."""
    before, after = weights
    torch.set_num_threads(threads)
    (after - before).abs().sum() / before.abs().sum()
    torch.set_num_threads(1)


def check_speed(paths: Mapping[str, list[Path]], threads: int, claims: Claims) -> None:
    """The share of the limits, and of the plain formula, that is reached with so many threads."""
    for dtype, label, only_norms, least in (
        ("float32", "ratio_l1", True, NORMS),
        ("float32", "all statistics", False, ALL),
        ("bfloat16", "ratio_l1", True, HALF),
        ("bfloat16", "all statistics", False, HALF),
    ):
        nbytes = sum(path.stat().st_size for path in paths[dtype])
        title = f"{dtype}, {label}, {threads} thread{'s' if threads > 1 else ''}"
        files = partial(compare, *paths[dtype], only_norms=only_norms, jobs=threads)
        share = side_by_side(f"{title}, files", nbytes, files, partial(sum_afresh, paths[dtype], threads))
        claims.check(f"{title}: a survey reaches {least} of reading the files", share >= least)
        weights = [open_checkpoint(path)[NAME] for path in paths[dtype]]
        memory = partial(statistics, *weights, only_norms=only_norms, jobs=threads)
        share = side_by_side(f"{title}, memory", nbytes, memory, partial(sum_resident, weights, threads))
        if dtype == "float32" or only_norms:  # all statistics of bfloat16 take a division for each four bytes
            claims.check(f"{title}: tensors in memory are measured at {least} of reading them", share >= least)
        if dtype == "float32" and only_norms:
            times = side_by_side(f"{title}, plain torch", nbytes, memory, partial(plain, weights, threads), rounds=3)
            claims.check(f"{title}: {FASTER} times faster than the formula in torch", times >= FASTER)


def check_memory(paths: list[Path], claims: Claims) -> None:
    """Anonymous memory of the survey of a pair, its compiled loops included."""
    for job, label in (("norms", "ratio_l1"), ("all", "all statistics")):
        anonymous, _, _ = in_fresh_process(job, os.cpu_count() or 1, *paths)
        print(f"survey of a pair, {label}: {anonymous / 2**20:.1f} MiB anonymous above the process after its imports")
        claims.check(f"{label}: under {SPARE} MiB anonymous", anonymous < SPARE * 2**20)


def check_run(folder: Path, elements: int, claims: Claims) -> None:
    """A whole run: every byte is read once, in as little memory."""
    weight = torch.randn(elements // 2 // 4096, 4096)
    for step in range(CHECKPOINTS):
        safetensors.torch.save_file({NAME: weight}, folder / f"step-{step}.safetensors")
        weight *= 1.001
    nbytes = CHECKPOINTS * weight.nbytes
    anonymous, read, seconds = in_fresh_process("run", os.cpu_count() or 1, folder)
    rate = read / 1e9 / seconds
    print(f"a run of {CHECKPOINTS} checkpoints: {read / 1e9:.2f} GB read of {nbytes / 1e9:.2f}, {rate:.1f} GB/s")
    print(f"  {anonymous / 2**20:.1f} MiB anonymous above the process after its imports")
    claims.check("each checkpoint of a run is read once", read == nbytes)
    claims.check(f"a run takes under {SPARE} MiB anonymous", anonymous < SPARE * 2**20)


def in_fresh_process(job: str, jobs: int, *paths: Path) -> tuple[int, int, float]:
    """Anonymous bytes beyond those after imports, bytes read, and seconds."""
    command = [sys.executable, "-c", FRESH, job, str(jobs), *map(str, paths)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own script
    anonymous, read, seconds = answer.stdout.split()
    return int(anonymous), int(read), float(seconds)


def check_exact(paths: list[Path], claims: Claims) -> None:
    """The figures of one large tensor beside those of float64, and torch's own norm in float32."""
    before, after = (open_checkpoint(path)[NAME].view(-1) for path in paths)
    distance = size = distance_2 = size_2 = 0.0
    for low in range(0, before.numel(), PIECE):
        old, new = (weight[low : low + PIECE].double() for weight in (before, after))
        new -= old
        distance, size = distance + new.abs().sum().item(), size + old.abs().sum().item()
        distance_2, size_2 = distance_2 + new.square().sum().item(), size_2 + old.square().sum().item()
    torchs = torch.linalg.vector_norm(before, 1).item() / size - 1
    found = statistics(before, after, jobs=None)
    errors = [
        found.ratio_l1 / (distance / size) - 1,
        found.ratio_l2 / (distance_2 / size_2) ** 0.5 - 1,
    ]
    print(f"{before.numel():,} weights: ratio_l1 is off by {errors[0]:.1e}, ratio_l2 by {errors[1]:.1e};")
    print(f"  torch.linalg.vector_norm in float32 by {torchs:.1e}")
    claims.check(f"exact to {NEAR}", max(map(abs, errors)) < NEAR)


def main() -> None:
    """Print the figures; leave with 1 if a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="files of 128 MiB")
    elements = QUICK if parser.parse_args().quick else ELEMENTS
    print(machine())
    torch.set_num_threads(1)  # the work is shared in parts, with one thread each
    claims = Claims()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_pair(folder, elements)
        for threads in sorted({1, os.cpu_count() or 1}):
            check_speed(paths, threads, claims)
        check_memory(paths["float32"], claims)
        check_exact(paths["float32"], claims)
    with tempfile.TemporaryDirectory() as name:
        check_run(Path(name), elements, claims)
    claims.settle()


if __name__ == "__main__":
    main()
