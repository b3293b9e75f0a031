"""torchvision beside a torch it was not compiled for: declare the operators that its compiled part would have brought.

PyPI's torchvision beside a CPU-only torch cannot load its compiled operators, and then not even `import torchvision`
works. Its networks need none of them but non-maximum suppression, which is a few lines of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weightatlas.errors import MissingDependencyError

if TYPE_CHECKING:
    import torch

_libraries: list[Any] = []  # a library that is garbage-collected takes its operators with it


def import_torchvision() -> None:
    """Import torchvision, with plain operators in place of compiled ones where those don't load.

    timm and transformers import torchvision as well: call this before them.

    Raises:
        MissingDependencyError: torchvision is not installed.

    Example:
        >>> import_torchvision()
        >>> import torchvision
        >>> len(torchvision.models.resnet18().layer1)
        2
    """
    import importlib
    import importlib.util
    import inspect
    import sys

    import torch

    if "torchvision" in sys.modules:
        return
    if importlib.util.find_spec("torchvision") is None:
        raise _not_installed()
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # what the failed import left half made
        _declare_operators(torch)
        importlib.import_module("torchvision")
        sys.modules["torchvision.extension"].__dict__["_has_ops"] = lambda: True
        align = sys.modules["torchvision.ops.roi_align"].__dict__
        align["_roi_align"] = inspect.unwrap(align["_roi_align"])  # compiling takes a minute, running milliseconds


def _not_installed() -> MissingDependencyError:
    name = "torchvision"
    return MissingDependencyError(name, name, "zoo")


def _declare_operators(torch: Any) -> None:  # noqa: ANN401 - the module
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", suppress_overlapping, "CPU")
    _libraries.append(library)


def suppress_overlapping(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Indices of the boxes that no box of a higher score overlaps by more than a threshold, best first.

    Args:
        boxes: (n, 4): left, top, right, bottom.
        scores: (n,).
        iou_threshold: intersection over union above which the lower score goes.

    Example:
        >>> import torch
        >>> boxes = torch.tensor([[0., 0., 2., 2.], [0., 0., 2., 2.1], [5., 5., 6., 6.]])
        >>> suppress_overlapping(boxes, torch.tensor([.5, .9, .3]), .5).tolist()
        [1, 2]
    """
    import torch

    order = scores.argsort(descending=True, stable=True)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[torch.Tensor] = []
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best)
        corner = torch.maximum(boxes[best, :2], boxes[rest, :2])
        opposite = torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (opposite - corner).clamp(min=0).prod(dim=1)
        order = rest[shared <= iou_threshold * (area[best] + area[rest] - shared)]
    return torch.stack(kept) if kept else order.new_zeros(0)
