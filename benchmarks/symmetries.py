"""The claim: permutations planted in twelve networks of real size are found, and none changes an output in float64.

For each network, by itself in a process: what can move and why the rest cannot, seconds to derive the symmetries from
the graph and to verify them, the largest change of an output, the most memory; then random permutations are planted in
a copy and `match` has to bring it back entry by entry, with torch's default initialisation and with norms, biases and
running statistics drawn at random. Prints a table in Markdown.

    python benchmarks/symmetries.py [--only resnet50 googlenet] [--side 224] [--without-matching] [--without-verifying]
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from weightatlas.anatomy.symmetries.verified import verified
from weightatlas.anatomy.symmetry import symmetries
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.connectivity.matching import match

if TYPE_CHECKING:
    from weightatlas.anatomy.symmetry import Symmetries

LARGEST_CHANGE = 1e-8
"""Of an output, as a share of the largest output, in float64."""

Network = Callable[[int], tuple[nn.Module, Any]]


def of_images(name: str, **options: object) -> Network:
    """Build a network of torchvision, with an image."""

    def build(side: int) -> tuple[nn.Module, Any]:
        import_torchvision()
        from torchvision import models

        made: nn.Module = getattr(models, name)(weights=None, **options)
        return made, torch.randn(1, 3, side, side)

    return build


def of_text(name: str, **options: object) -> Network:
    """Build a language model of transformers, with eight tokens."""

    def build(_side: int) -> tuple[nn.Module, Any]:
        import_torchvision()
        import transformers

        kind = getattr(transformers, name)
        made: nn.Module = kind(kind.config_class(**options))
        return made, {"input_ids": torch.arange(8)[None], "use_cache": False}

    return build


def perceptron(_side: int) -> tuple[nn.Module, Any]:
    """Three hidden layers."""
    sizes = (784, 512, 256, 128)
    layers = [one for n, m in pairwise(sizes) for one in (nn.Linear(n, m), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(128, 10)), torch.randn(4, 784)


NETWORKS: dict[str, Network] = {
    "perceptron": perceptron,
    "vgg19_bn": of_images("vgg19_bn"),
    "resnet18": of_images("resnet18"),
    "resnet50": of_images("resnet50"),
    "densenet121": of_images("densenet121"),
    "mobilenet_v2": of_images("mobilenet_v2"),
    "efficientnet_b0": of_images("efficientnet_b0"),
    "googlenet": of_images("googlenet", init_weights=False, aux_logits=False),
    "convnext_tiny": of_images("convnext_tiny"),
    "vit_b_16": of_images("vit_b_16"),
    "GPT-2": of_text("GPT2LMHeadModel"),
    "Llama, 8 layers": of_text(
        "LlamaForCausalLM", vocab_size=32000, hidden_size=1024, num_hidden_layers=8, num_attention_heads=16,
        num_key_value_heads=4, intermediate_size=2816, tie_word_embeddings=True,
    ),
}  # fmt: skip


def with_random_norms(model: nn.Module, seed: int) -> None:
    """Draw norms, biases and running statistics as training leaves them: each unit's its own."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim == 1:
            drawn = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(0.5 + drawn.abs() if name.endswith(("weight", "running_var")) else 0.3 * drawn)


def planted(model: nn.Module, found: Symmetries) -> dict[str, float]:
    """Plant permutations in a copy, and match it: how many entries are not where they were."""
    ours = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    theirs = found.permute(ours, found.random(7))
    start = time.perf_counter()
    matching = match(model, ours, theirs, found, restarts=1)
    seconds = time.perf_counter() - start
    back = matching.align(theirs)
    return {"wrong": sum(int((ours[name] != back[name]).sum()) for name in ours), "seconds": seconds}


def measured(name: str, *, side: int, verifying: bool, matching: bool) -> dict[str, Any]:
    """Everything about one network."""
    torch.manual_seed(0)
    model, example = NETWORKS[name](side)
    model.eval()
    start = time.perf_counter()
    found = symmetries(model, example, verify=False)
    derived = time.perf_counter() - start
    row: dict[str, Any] = {"parameters": sum(one.numel() for one in model.parameters()), "derive": derived}
    if verifying:
        start = time.perf_counter()
        found = verified(model, example, found.layouts, found.separable, seed=0)
        row |= {"verify": time.perf_counter() - start, "seen": found.change}
        row["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    row |= {"groups": len(found.groups), "coverage": found.coverage, "separable": len(found.separable)}
    row["pinned"] = {one["pinned"]: one["size"] for one in found.rows() if one["group"] is None}
    if matching:
        row["default"] = planted(model, found)
        with_random_norms(model, seed=1)
        row["norms"] = planted(model, found)
    return row


def cells(name: str, row: dict[str, Any]) -> list[str]:
    """A line of the table."""
    line = [name, f"{row['parameters'] / 1e6:.1f} M", str(row["groups"]), f"{row['coverage']:.5f}"]
    line += [f"{row['derive']:.1f}"]
    line += [f"{row['verify']:.1f}", f"{row['memory']:.1f}", f"{row['seen']:.0e}"] if "verify" in row else ["-"] * 3
    for kind in ("default", "norms"):
        one = row.get(kind)
        line.append("-" if one is None else f"{one['wrong']} wrong, {one['seconds']:.1f} s")
    return line


def main() -> int:
    """Measure each network in a process of its own; exit 1 if a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--side", type=int, default=224, help="of images; vit_b_16 has 224 pixels")
    parser.add_argument("--without-matching", action="store_true")
    parser.add_argument("--without-verifying", action="store_true")
    parser.add_argument("--here", action="store_true", help="one network, in this process, as JSON")
    options = parser.parse_args()
    asked = {"side": options.side, "verifying": not options.without_verifying, "matching": not options.without_matching}
    if options.here:
        print(json.dumps(measured(options.only[0], **asked)))
        return 0
    head = ["network", "parameters", "groups", "coverage", "derive (s)", "verify (s)", "memory (GiB)", "change"]
    head += ["planted, default initialisation", "planted, random norms"]
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n", flush=True)
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    failed, reasons = False, {}
    for name in options.only:
        flags = [flag for flag in ("--without-matching", "--without-verifying") if flag in sys.argv]
        command = [sys.executable, __file__, "--here", "--only", name, "--side", str(options.side), *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this very file
        if done.returncode:
            print(f"| {name} | {(done.stderr.strip().splitlines() or ['?'])[-1]} |", flush=True)
            failed = True
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        reasons[name] = row["pinned"]
        tries = [row[kind] for kind in ("default", "norms") if kind in row]
        failed |= row.get("seen", 0.0) > LARGEST_CHANGE
        failed |= any(one["wrong"] > 0 for one in tries)
        print(f"| {' | '.join(cells(name, row))} |", flush=True)
    print("\nentries of axes that stay:\n")
    for name, several in reasons.items():
        print(f"- {name}: {'; '.join(f'{reason} ({count})' for reason, count in several.items())}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
