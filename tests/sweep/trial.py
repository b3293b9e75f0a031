"""One network of the sweep, in a process of its own with a limit of time and of memory."""

from __future__ import annotations

import gc
import multiprocessing
import resource
import time
from typing import TYPE_CHECKING, Any, Final

import torch

from tests.sweep.step import step
from weightatlas.checkpoints.zoo import zoo_model
from weightatlas.errors import SourceError
from weightatlas.nn.convert import convert

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from torch import nn

RECIPES: Final = ("ws+gn", "ws+bcn")
SECONDS: Final = 600
GIGABYTES: Final = 10
_SMALL: Final = {
    "rcnn": "&min_size=96&max_size=96&rpn_post_nms_top_n_train=50&box_batch_size_per_image=16",
    "retinanet": "&min_size=96&max_size=96",
    "fcos": "&min_size=96&max_size=96",
}
"""Options under which detectors take small images, and look at few boxes."""


def tried(
    source: str, family: str, recipes: Sequence[str], *, seconds: int = SECONDS, gigabytes: int = GIGABYTES
) -> list[dict[str, Any]]:
    """Convert one network by each recipe and take a step; one record a recipe, whatever happens."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_limited, args=(source, family, recipes, gigabytes, sender))
    process.start()
    sender.close()
    records: list[dict[str, Any]] = []
    until = time.monotonic() + seconds
    try:
        while len(records) < len(recipes) and receiver.poll(max(until - time.monotonic(), 0)):
            records.append(receiver.recv())
    except EOFError:
        pass
    late = time.monotonic() >= until
    process.kill() if late else process.join(10)
    process.join()
    receiver.close()
    fate = f"it took more than {seconds} s" if late else f"its process ended with {process.exitcode}"
    head = {"source": source, "family": family, "outcome": "stopped", "reason": fate}
    return records + [head | {"recipe": recipe} for recipe in recipes[len(records) :]]


def _limited(source: str, family: str, recipes: Sequence[str], gigabytes: int, sender: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (gigabytes << 30, gigabytes << 30))
    torch.set_num_threads(1)
    for recipe in recipes:
        head = {"source": source, "family": family, "recipe": recipe}
        began = time.perf_counter()
        try:
            record = _record(source, family, recipe)
        except (MemoryError, RuntimeError, SourceError, ValueError, TypeError, AttributeError, KeyError) as error:
            record = {"outcome": "failed", "reason": f"{type(error).__name__}: {error}".partition("\n")[0][:300]}
        sender.send(head | record | {"seconds": round(time.perf_counter() - began, 1)})
        gc.collect()


def _without_values(source: str) -> nn.Module:
    """A network on the meta device; those that work with numbers when they are built are built first, then emptied."""
    try:
        with torch.device("meta"):
            return zoo_model(f"{source}?pretrained=false")
    except SourceError:
        return zoo_model(f"{source}?pretrained=false").to("meta")


def _record(source: str, family: str, recipe: str) -> dict[str, Any]:
    built = _without_values(source)
    try:
        conversion = convert(built, recipe)
    except SourceError as error:
        if "nothing in it becomes" not in error.problem:
            raise
        return {"outcome": "refused", "reason": error.problem}
    layers = conversion.layers
    counts = {kind: [one.after is not None for one in layers if one.kind == kind] for kind in ("convolution", "norm")}
    by_order = sum(one.evidence == "order" for one in layers if one.kind == "convolution")
    record = {
        "outcome": "converted",
        "counts": {kind: [sum(done), len(done)] for kind, done in counts.items()},
        "by_order": by_order,
        "stopped": conversion.stopped[:120],
    }
    del built, conversion
    small = next((options for word, options in _SMALL.items() if word in source and "torchvision" in source), "")
    real = convert(zoo_model(f"{source}?pretrained=false{small}"), recipe, in_place=True)
    if [layer.after for layer in real.layers] != [layer.after for layer in layers]:
        return record | {"outcome": "failed", "reason": "with values it converts to another network than without"}
    return record | step(real.model, family)
