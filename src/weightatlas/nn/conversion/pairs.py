"""Which norm stands right behind which convolution, seen in one pass or told from the order of the modules."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import nn

from weightatlas.nn.conversion.convolution_kinds import is_convolution
from weightatlas.nn.conversion.generators import generators_kept
from weightatlas.nn.conversion.meta_copy import meta_copy
from weightatlas.nn.conversion.norm_kinds import read_norm
from weightatlas.nn.conversion.order import pairs_by_order
from weightatlas.nn.conversion.probes import Probe, as_probe, probes
from weightatlas.nn.conversion.tracing import Flow, trace

if TYPE_CHECKING:
    from collections.abc import Mapping

Evidence = Literal["seen", "order", ""]
TRIES: Final = 2
"""How many further inputs are tried once one has been taken part of the way."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """Which norm takes what each convolution gives.

    Attributes:
        behind: the norms right behind each convolution, by its name; none where something else takes its output.
        evidence: "seen" in a pass, told from the "order" of the modules, or "" where neither shows anything.
        why: by convolution without a norm, what is known of its output.
        only: convolutions whose output goes to that norm and nowhere else, and the norm's input comes from nowhere
            else: the two can become one.
        axes: number of axes of the inputs of each norm that was called.
        stopped: why no pass came to its end, or empty.
    """

    behind: Mapping[str, tuple[str, ...]]
    evidence: Mapping[str, Evidence]
    why: Mapping[str, str]
    only: Mapping[str, str]
    axes: Mapping[str, int]
    stopped: str

    def sources(self, norm: str) -> tuple[str, ...]:
        """The convolutions right before a norm."""
        return tuple(name for name, norms in self.behind.items() if norm in norms)


def read_wiring(model: nn.Module, *, example_inputs: object = None) -> Wiring:
    """Find the norm behind each convolution of a model.

    A norm stands right behind a convolution if its input *is* the tensor that the convolution gave: not a sum, a
    concatenation, an activation or a rearrangement of it. One pass on the meta device shows that, in evaluation mode
    first, then in training mode for what evaluation leaves out (auxiliary classifiers). Where the meta device is no
    place for the model, it runs once on the device it is on. Of what no pass reached, the order in which the modules
    of one parent are registered tells: a convolution and right after it a norm of as many channels.

    Args:
        model: any network; its modes, values and torch's generators stay as they are.
        example_inputs: what it takes: a tensor, a tuple of arguments, or a mapping of them; otherwise they are guessed.
    """
    modules = dict(model.named_modules())
    convolutions = {name: module for name, module in modules.items() if is_convolution(module)}
    norms = {name: module for name, module in modules.items() if read_norm(module)}
    with generators_kept():
        flow = _best_flow(model, example_inputs, set(convolutions), set(norms))
    return _wired(flow, convolutions, norms, model)


def _best_flow(model: nn.Module, inputs: object, convolutions: set[str], norms: set[str]) -> Flow:
    every = convolutions | norms
    if not every:
        return Flow()
    copied = meta_copy(model)
    dtype = next((one.dtype for one in model.parameters() if one.is_floating_point()), torch.float32)
    tried = [as_probe(inputs)] if inputs is not None else None
    copied.eval()
    flow, probe = _first_complete(copied, tried or probes(model, batch=2), convolutions, norms, ("meta", dtype))
    if flow.stopped is not None and (tried or not flow.called):
        real = _on_device(model, tried or probes(model, batch=1), convolutions, norms, dtype)
        flow = real if len(real.called) >= len(flow.called) else flow
    missing = every - flow.called
    if missing and probe is not None:
        copied.train()
        flow.join(_run(copied, probe, convolutions, norms), missing)
    return flow


def _first_complete(
    model: nn.Module,
    tried: Any,  # noqa: ANN401 - probes, from a list or a generator
    convolutions: set[str],
    norms: set[str],
    place: tuple[torch.device | str, torch.dtype],
) -> tuple[Flow, Probe | None]:
    """The pass that came to its end, else the one that came the furthest, and what it was made on."""
    best, chosen = Flow(stopped=ValueError("no input is known that it takes")), None
    left = None
    for probe in tried:
        moved = probe.to(*place)
        flow = _run(model, moved, convolutions, norms)
        if flow.stopped is None:
            return flow, moved
        if len(flow.called) > len(best.called) or chosen is None:
            best, chosen = flow, moved
        if len(best.called) > 1:
            left = TRIES if left is None else left - 1
        if left == 0:
            break
    return best, chosen


def _run(model: nn.Module, probe: Probe, convolutions: set[str], norms: set[str]) -> Flow:
    modules = dict(model.named_modules())
    call = partial(model, *probe.arguments, **probe.options)
    picked = ({name: modules[name] for name in modules if name in names} for names in (convolutions, norms))
    return trace(call, *picked)


def _on_device(model: nn.Module, tried: Any, convolutions: set[str], norms: set[str], dtype: torch.dtype) -> Flow:  # noqa: ANN401
    """A pass of the model itself, in evaluation mode; modes and generators are put back."""
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        with generators_kept(device):
            return _first_complete(model, tried, convolutions, norms, (device, dtype))[0]
    finally:
        for module, mode in modes:
            module.training = mode


def _wired(
    flow: Flow, convolutions: Mapping[str, nn.Module], norms: Mapping[str, nn.Module], model: nn.Module
) -> Wiring:
    passed: dict[str, Counter[str]] = defaultdict(Counter)
    for (convolution, norm), count in flow.passed.items():
        passed[convolution][norm] += count
    ordered = pairs_by_order(model, set(convolutions), set(norms))
    behind: dict[str, tuple[str, ...]] = {}
    evidence: dict[str, Evidence] = {}
    why: dict[str, str] = {}
    for name in convolutions:
        guess = ordered.get(name)
        if name in flow.convolutions and (passed[name] or flow.stopped is None or guess in flow.norms or not guess):
            every = passed[name].total() >= flow.convolutions[name]
            behind[name] = tuple(passed[name]) if every else ()
            evidence[name] = "seen"
            why[name] = "" if every else _without(name, passed[name], flow)
        elif guess is not None and guess not in flow.norms:
            behind[name], evidence[name], why[name] = (guess,), "order", ""
        else:
            behind[name], evidence[name], why[name] = (), "", _unseen(name, flow)
    only = {name: norms[0] for name, norms in behind.items() if _alone(name, norms, flow)}
    stopped = "" if flow.stopped is None else f"{type(flow.stopped).__name__}: {flow.stopped}".partition("\n")[0]
    return Wiring(behind, evidence, why, only, flow.axes, stopped)


def _without(name: str, passed: Counter[str], flow: Flow) -> str:
    if passed:
        return f"a norm is behind it in {passed.total()} of {flow.convolutions[name]} calls only"
    views = [norm for convolution, norm in flow.rearranged if convolution == name]
    if views:
        return f"its output is rearranged before the norm {views[0]}"
    if not flow.elsewhere[name]:
        return "nothing was seen to take its output" + (" before the pass ended" if flow.stopped else "")
    return f"no norm is right behind it: {flow.takers.get(name, 'the answer')} takes its output"


def _unseen(name: str, flow: Flow) -> str:
    if name in flow.convolutions:
        return "the pass ended before anything took its output, and no norm is registered after it"
    return "it was not called, and no norm is registered after it"


def _alone(name: str, norms: tuple[str, ...], flow: Flow) -> bool:
    """Whether every output of a convolution goes to one norm, which takes nothing else."""
    if len(norms) != 1 or flow.stopped is not None or flow.elsewhere[name]:
        return False
    count = flow.passed[name, norms[0]]
    return count == flow.convolutions[name] == flow.norms[norms[0]]
