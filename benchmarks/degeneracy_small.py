"""What kinds of free directions explain of small ReLU networks: a table over seeds and amounts of data.

`python benchmarks/degeneracy_small.py [--seeds 20] [--examples 50 1000]`: bias-free networks 6-8-8-3 with normal
weights and inputs, in float64. For each: every kind's rank, the union of all explicit directions, the exact nullity of
the Jacobian at a relative tolerance of 1e-9, and what is left. Exits 1 if a union is above the exact number, or if a
direction that is called free moves the outputs.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import torch
from measure import Claims
from torch import nn

from weightatlas.degeneracy.counts import counts

WIDTHS = (6, 8, 8, 3)
FREE = 1e-8
KINDS = ("activations", "gradients", "synchronised", "conditional", "union", "exact", "gap")


def network_of(seed: int) -> nn.Sequential:
    """A network with normal weights of variance 1 / inputs."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for width, units in pairwise(WIDTHS):
        layer = nn.Linear(width, units, bias=False, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(units, width, generator=generator, dtype=torch.float64) / width**0.5)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--examples", type=int, nargs="+", default=[50, 1000])
    options = parser.parse_args()
    claims = Claims()
    print("| seed | n | n d_out | " + " | ".join(KINDS) + " | data limited | largest change |")
    print("|" + "---:|" * (len(KINDS) + 5))
    wrong, most, unexplained = 0, 0.0, 0
    for seed in range(options.seeds):
        for examples in options.examples:
            generator = torch.Generator().manual_seed(1000 + seed)
            inputs = torch.randn(examples, WIDTHS[0], generator=generator, dtype=torch.float64)
            found = counts(network_of(seed), [(inputs, torch.zeros(examples))], curve=False)
            figures = " | ".join(str(getattr(found, kind)) for kind in KINDS)
            limited = "yes" if found.data_limited else "no"
            print(f"| {seed} | {examples} | {found.limit} | {figures} | {limited} | {found.largest_change:.0e} |")
            wrong += found.exact is None or found.union > found.exact
            unexplained += found.gap != 0
            most = max(most, found.largest_change)
    total = options.seeds * len(options.examples)
    claims.check(f"the union is above the exact number in {wrong} of {total}", wrong == 0)
    claims.check(f"|Jv| is at most {most:.0e} of J's largest singular value, below {FREE:.0e}", most < FREE)
    print(f"  {unexplained} of {total} have directions that no kind explains")
    claims.settle()


if __name__ == "__main__":
    main()
