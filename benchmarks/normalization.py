"""The claims: standardising weights is never slower than timm's, and costs a ResNet-50 little beside batch norm.

Three comparisons of a forward and a backward pass, each interleaved in the same run: every convolution of ResNet-50 by
itself on a small map, where its weights are most of the work; ResNet-50 with timm's `StdConv2d` against ours; and
ResNet-50 with batch norm against the same network under each recipe. On a GPU, at batch 32 and 224 x 224 in single
precision, weight standardisation adds at most 5 % to batch norm, batch-channel norm with it at most 25 %; bfloat16
autocast is reported beside it. On a CPU the recipes are reported, not claimed.

    python benchmarks/normalization.py [--quick] [--batch 32] [--size 224] [--rounds 5]
"""

from __future__ import annotations

import argparse
import copy
from collections import Counter
from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from measure import Claims, interleaved, machine
from torch import nn

from weightatlas.evaluation import open_model
from weightatlas.nn.ws_conv import WSConv2d

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RECIPES = ("bn", "ws+bn", "gn", "ws+gn", "bcn", "ws+bcn", "micro-bcn", "ws+micro-bcn")
WS_MOST, BCN_MOST = 0.05, 0.25
"""What ws+bn and ws+bcn may add to bn on a GPU."""

NOISE = 0.05
"""Medians of the same routine, interleaved with itself, differ by up to this on a machine that does other things."""

MAP = 7
"""Side of the maps that single layers see: that of the last layers at 224 x 224."""

ON_GPU, ON_CPU, QUICK = (32, 224, 15), (4, 224, 3), (2, 64, 5)
"""Batch, side of the images, rounds."""


class Step:
    """A forward and a backward pass of a network over one batch of noise."""

    def __init__(self, model: nn.Module, inputs: torch.Tensor, autocast: torch.dtype | None = None) -> None:
        self.model = model
        self.inputs = inputs
        self.autocast = autocast

    def __call__(self) -> None:
        """Pass, and let the device come to its end."""
        for parameter in self.model.parameters():
            parameter.grad = None
        half = nullcontext() if self.autocast is None else torch.autocast(self.inputs.device.type, self.autocast)
        with half:
            loss = self.model(self.inputs).float().square().mean()
        loss.backward()
        if self.inputs.is_cuda:
            torch.cuda.synchronize()


def of_timm(convolution: nn.Conv2d) -> nn.Module:
    """Give the counterpart of a convolution in timm, its weights copied."""
    timm: Any = import_module("timm.layers")
    made: nn.Module = timm.StdConv2d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,
        stride=convolution.stride,
        padding=convolution.padding,
        groups=convolution.groups,
        bias=convolution.bias is not None,
        eps=1e-6,
    )
    made.load_state_dict(convolution.state_dict(), strict=True)
    return made.to(convolution.weight.device)


def convolutions(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Conv2d]]:
    """Each convolution with the module that holds it, and its name there."""
    for holder in list(model.modules()):
        for name, child in list(holder.named_children()):
            if type(child) is nn.Conv2d:
                yield holder, name, child


def with_layers(model: nn.Module, make: Callable[[nn.Conv2d], nn.Module], *, channels_last: bool) -> nn.Module:
    """A copy of the network, each of its convolutions by another."""
    made = copy.deepcopy(model)
    for holder, name, convolution in convolutions(made):
        setattr(holder, name, make(convolution))
    return in_format(made, channels_last=channels_last)


def in_format(model: nn.Module, *, channels_last: bool) -> nn.Module:
    """The network in the memory format that its device is fastest in."""
    if not channels_last:
        return model
    made: nn.Module = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return made


def compare_layers(model: nn.Module, rounds: int, claims: Claims) -> None:
    """Time every kind of convolution in the network, ours beside timm's."""
    device = next(model.parameters()).device
    kinds: Counter[tuple[Any, ...]] = Counter()
    examples = {}
    for _, _, convolution in convolutions(model):
        kind = (convolution.out_channels, convolution.in_channels, *convolution.kernel_size, convolution.stride[0])
        kinds[kind] += 1
        examples[kind] = convolution
    print(f"\nsingle layers of ResNet-50 on a map of {MAP} x {MAP}, ms of a forward and a backward pass")
    print(f"  {'weights':>20} {'stride':>6} {'times':>5} {'timm':>8} {'ours':>8} {'ratio':>6}")
    generator = torch.Generator().manual_seed(0)
    totals = {"timm": 0.0, "ours": 0.0}
    for kind, times in kinds.items():
        inputs = torch.randn(1, kind[1], MAP, MAP, generator=generator).to(device)
        layers = {"timm": of_timm(examples[kind]), "ours": WSConv2d.of(copy.deepcopy(examples[kind]))}
        seconds = interleaved({who: Step(layer, inputs) for who, layer in layers.items()}, repeats=10 * rounds)
        for who, taken in seconds.items():
            totals[who] += times * taken
        shape = " x ".join(map(str, kind[:-1]))
        ratio = seconds["ours"] / seconds["timm"]
        milliseconds = f"{seconds['timm'] * 1e3:8.3f} {seconds['ours'] * 1e3:8.3f}"
        print(f"  {shape:>20} {kind[-1]:6} {times:5} {milliseconds} {ratio:6.2f}")
    share = totals["ours"] / totals["timm"]
    claims.check(f"all layers together take {share:.2f} of timm's time, at most {1 + NOISE:g}", share <= 1 + NOISE)


def compare_whole(model: nn.Module, inputs: torch.Tensor, rounds: int, claims: Claims) -> None:
    """Time the network with standardised convolutions, ours beside timm's."""
    for channels_last in (False, True):
        laid = inputs.contiguous(memory_format=torch.channels_last) if channels_last else inputs
        networks = {
            "timm": with_layers(model, of_timm, channels_last=channels_last),
            "ours": with_layers(model, WSConv2d.of, channels_last=channels_last),
        }
        seconds = interleaved({who: Step(network, laid) for who, network in networks.items()}, repeats=rounds)
        share = seconds["ours"] / seconds["timm"]
        what = "channels last" if channels_last else "channels first"
        both = ", ".join(f"{who} {_ms(taken)}" for who, taken in seconds.items())
        print(f"\nResNet-50 of standardised convolutions, {what}: {both}")
        claims.check(f"ours takes {share:.3f} of timm's time, at most {1 + NOISE:g}", share <= 1 + NOISE)


def compare_recipes(
    model: nn.Module, inputs: torch.Tensor, rounds: int, claims: Claims, autocast: torch.dtype | None
) -> None:
    """Time the network under every recipe, beside batch norm."""
    from weightatlas.nn.convert import convert

    on_gpu = inputs.is_cuda
    laid = inputs.contiguous(memory_format=torch.channels_last) if on_gpu else inputs
    steps = {}
    for recipe in RECIPES:
        made = copy.deepcopy(model) if recipe == "bn" else convert(model, recipe).model
        steps[recipe] = Step(in_format(made.train(), channels_last=on_gpu), laid, autocast)
    seconds = interleaved(steps, repeats=rounds)
    base = seconds["bn"]
    precision = "bfloat16 autocast" if autocast else "float32"
    print(f"\nResNet-50 by recipe, {precision}: a forward and a backward pass, and what it adds to bn's")
    for recipe, taken in seconds.items():
        print(f"  {recipe:>14} {_ms(taken):>12} {taken / base - 1:+8.1%}")
    if on_gpu and autocast is None:
        for recipe, most in (("ws+bn", WS_MOST), ("ws+bcn", BCN_MOST)):
            added = seconds[recipe] / base - 1
            claims.check(f"{recipe} adds {added:.1%} to bn, at most {most:.0%}", added <= most)
    else:
        print("  reported, not claimed")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def main() -> None:
    """Measure, print and settle."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="small images, few rounds; nothing of a GPU is claimed")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    known = QUICK if options.quick else ON_GPU if device.type == "cuda" else ON_CPU
    batch, size, rounds = (
        given or default for given, default in zip((options.batch, options.size, options.rounds), known, strict=True)
    )
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{machine()}; {name}\nbatch {batch}, {size} x {size}, median of {rounds} interleaved rounds")
    claims = Claims()
    model = open_model("torchvision:resnet50?pretrained=false").train().to(device)
    inputs = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    compare_layers(model, rounds, claims)
    compare_whole(model, inputs, rounds, claims)
    for autocast in (None, torch.bfloat16) if device.type == "cuda" else (None,):
        compare_recipes(model, inputs, rounds, Claims() if options.quick else claims, autocast)
    claims.settle()


if __name__ == "__main__":
    main()
