"""Free directions of a trained ResNet-20 on CIFAR-10's test images: time and memory.

`python benchmarks/degeneracy_counts.py --weights resnet20-12fca82f.th --data cifar10 [--examples 2000] [--probes 2]
[--limit 1024]`: `counts` in float64 on two threads, with gradients from random combinations of the outputs, the
Jacobian's rank from `limit` rows, and the curve. Exits 1 where it takes more than ten minutes of wall time or 8 GB, or
where a direction called free moves the outputs.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch
from measure import Claims, machine

from weightatlas.degeneracy.counts import Counts, LayerCounts, counts
from weightatlas.evaluation import open_data, open_model

MINUTES = 10
GIGABYTES = 8
FREE = 1e-8
KINDS = ("activations", "gradients", "synchronised", "rescalings", "conditional", "union")


def show(found: Counts) -> None:
    """Print the counts by layer."""
    print(f"{'layer':<28}{'numbers':>9}" + "".join(f"{kind:>14}" for kind in KINDS))
    rows: tuple[LayerCounts | Counts, ...] = (*found.layers, found)
    for row in rows:
        name = row.layer if isinstance(row, LayerCounts) else "all"
        reason = getattr(row, "skipped", None)
        figures = "".join(f"{'-' if getattr(row, kind) is None else getattr(row, kind):>14}" for kind in KINDS)
        print(f"{name:<28}{row.parameters:>9}" + (figures if reason is None else f"  {reason}"))
    print(f"rank of J {found.rank}, of at most n d_out = {found.limit}; nullity {found.exact} ({found.exact_kind})")
    print(
        f"nullity from {found.exact_low} to {found.exact_high}; data_limited {found.data_limited}; {found.union_kind}"
    )
    if found.curve is not None:
        pairs = zip(found.curve.examples.tolist(), found.curve.ranks.tolist(), strict=True)
        print("rank by examples: " + ", ".join(f"{examples}: {rank}" for examples, rank in pairs))
    for note in found.notes:
        print(note)


def main() -> None:
    """Count once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--weights", required=True, help="resnet20-12fca82f.th")
    parser.add_argument("--data", required=True, help="folder of CIFAR-10")
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--probes", type=int, default=2)
    parser.add_argument("--limit", type=int, default=1024)
    options = parser.parse_args()
    print(machine())
    torch.set_num_threads(2)
    model = open_model("weightatlas:resnet20-cifar?shortcut=zeros", checkpoint=options.weights)
    data = open_data(f"cifar10:{options.data}?split=test&normalize=imagenet&limit={options.examples}")
    parts: dict[str, float] = {}
    start, before = (time.perf_counter(), time.process_time()), [time.process_time()]

    def told(done: int, total: int, label: str) -> None:
        del done, total
        now = time.process_time()
        parts[label] = parts.get(label, 0.0) + now - before[0]
        before[0] = now

    found = counts(model, data, probes=options.probes, exact_limit=options.limit, progress=told)
    seconds, busy = time.perf_counter() - start[0], time.process_time() - start[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    show(found)
    print("processor seconds: " + ", ".join(f"{label} {spent:.0f}" for label, spent in parts.items()))
    claims = Claims()
    claims.check(
        f"{options.examples} images in {seconds:.0f} s ({busy:.0f} s of processor time), at most {60 * MINUTES}",
        seconds <= 60 * MINUTES,
    )
    claims.check(f"{peak:.1f} GB, at most {GIGABYTES}", peak <= GIGABYTES)
    claims.check(
        f"|Jv| at most {found.largest_change:.0e} of J's largest singular value, {found.checked} combinations followed",
        found.largest_change < FREE,
    )
    claims.settle()


if __name__ == "__main__":
    main()
