"""Run an exported graph with everything in it replaced by its nearest linear map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx

from weightatlas.anatomy.graph.channel_ids import shape_of_both

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ACTIVATIONS: Final = frozenset(
    {"relu", "relu6", "hardtanh", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish"}
    | {"hardswish", "softplus", "tanh", "sigmoid", "hardsigmoid", "log_sigmoid", "softsign", "clamp", "clamp_min"}
    | {"threshold", "hardshrink", "softshrink"}
)
"""Operators on each element that become the identity."""

LINEAR: Final = frozenset(
    {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution"}
    | {"linear", "addmm", "mm", "matmul", "bmm", "einsum", "add", "sub", "rsub", "neg", "mul", "div", "batch_norm"}
    | {"avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"}
    | {"mean", "sum", "cat", "stack", "view", "reshape", "_unsafe_view", "view_as", "flatten", "unflatten", "squeeze"}
    | {"unsqueeze", "expand", "permute", "transpose", "t", "slice", "select", "narrow", "index_select", "index"}
    | {"split", "split_with_sizes", "chunk", "unbind", "roll", "flip", "repeat", "contiguous", "clone", "alias", "to"}
    | {"_to_copy", "type_as", "pad", "constant_pad_nd", "dropout", "feature_dropout", "alpha_dropout", "pixel_shuffle"}
    | {"pixel_unshuffle", "channel_shuffle", "upsample_nearest2d", "upsample_bilinear2d", "upsample_nearest1d"}
    | {"upsample_bicubic2d", "repeat_interleave", "movedim", "swapaxes", "lift_fresh_copy", "getitem", "mul_scalar"}
    | {"reflection_pad2d", "replication_pad2d", "reflection_pad1d", "replication_pad1d", "detach"}
    | {"slice_scatter", "select_scatter", "copy"}
)
"""Operators that are linear in what depends on the start, or are made so here without a loss (norms, biases)."""

_GATES: Final = ("sigmoid", "hardsigmoid", "softmax", "tanh", "silu", "gelu", "hardswish", "relu", "relu6", "hardtanh")


class Linearised(fx.Interpreter):
    """An exported graph up to one value, linear in another.

    Activations become the identity, max pooling averages the same windows, squares and roots (of L2 pooling) become
    the identity, norms keep their scale and lose their shift, biases are dropped, and what gates a product is taken as
    1. Whatever else is not linear runs as it is, and so is linearised at zero by the gradient.

    Args:
        module: the graph.
        start: the value with respect to which it is linear; it becomes zeros that require a gradient.
        end: the value to stop at.

    Attributes:
        origin: the zeros, once it has run.
        replaced: what was replaced on the way, by its operator.
        bent: operators that are not linear and ran as they are.
        largest: elements of the largest value on the way.
    """

    def __init__(self, module: fx.GraphModule, start: fx.Node, end: fx.Node) -> None:
        super().__init__(module, garbage_collect_values=True)
        self._start = start
        self._end = end
        self._needed = _ancestors(end)
        self._behind = _descendants(start)
        self.origin: torch.Tensor | None = None
        self.result: torch.Tensor | None = None
        self.replaced: dict[str, None] = {}
        self.bent: dict[str, None] = {}
        self.largest = 1

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 - any value of the graph
        """Run one operator, or its linear stand-in."""
        if n.op == "output" or (n not in self._needed and n.op != "placeholder"):
            return None
        if n is self._start:
            value = super().run_node(n)
            self.origin = torch.zeros_like(value).requires_grad_()
            return self.origin
        with torch.set_grad_enabled(n in self._behind):
            value = self._linear(n) if n in self._behind and n.op == "call_function" else super().run_node(n)
        if isinstance(value, torch.Tensor) and n in self._behind:
            self.largest = max(self.largest, value.numel())
        if n is self._end:
            self.result = value
        return value

    def _linear(self, node: fx.Node) -> Any:  # noqa: ANN401
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        name = operator_name(node.target)
        stand_in = _STAND_INS.get(name)
        if name in ACTIVATIONS or name in {"pow", "square", "sqrt"}:
            self.replaced[name] = None
            return args[0]
        if stand_in is not None:
            bound = _bound(node.target, args, kwargs)
            return stand_in(self, node, bound)
        if name not in LINEAR:
            self.bent[name] = None
        return functional_form(node.target)(*args, **kwargs)

    def depends(self, node: object) -> bool:
        """Whether an argument of an operator depends on the start."""
        return isinstance(node, fx.Node) and node in self._behind


def operator_name(target: Any) -> str:  # noqa: ANN401
    """The name of an operator, without the underscore of those that work in place."""
    schema = getattr(target, "_schema", None)
    name = str(schema.name.rpartition("::")[2] if schema is not None else getattr(target, "__name__", target))
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def functional_form(target: Any) -> Any:  # noqa: ANN401
    """The operator that gives what another one writes in place."""
    schema = getattr(target, "_schema", None)
    if schema is None or not schema.name.endswith("_"):
        return target
    packet = getattr(torch.ops.aten, schema.name.rpartition("::")[2][:-1], None)
    return target if packet is None else getattr(packet, schema.overload_name or "default", packet)


def _bound(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    arguments = target._schema.arguments  # noqa: SLF001 - the operator's own account of itself
    bound = {one.name: one.default_value for one in arguments if one.has_default_value()}
    bound |= {one.name: value for one, value in zip(arguments, args, strict=False)}
    return bound | dict(kwargs)


def _without_bias(run: Linearised, node: fx.Node, bound: dict[str, Any]) -> Any:  # noqa: ANN401, ARG001
    bound["bias"] = None
    return functional_form(node.target)(**bound)


def _product_plus(run: Linearised, node: fx.Node, bound: dict[str, Any]) -> torch.Tensor:
    """A matrix product and what is added to it, where that depends on the start as well."""
    product: torch.Tensor = bound["mat1"] @ bound["mat2"]
    return product.add(bound["self"]) if run.depends(node.args[0]) else product


def _average(run: Linearised, node: fx.Node, bound: dict[str, Any]) -> Any:  # noqa: ANN401
    """The mean over the windows whose maximum was taken; a window over the border has its size still."""
    name = operator_name(node.target)
    run.replaced["max_pool"] = None
    if "adaptive" in name:
        averaged = getattr(torch.nn.functional, name.replace("max", "avg"))(bound["self"], bound["output_size"])
        return (averaged, None)
    axes = int(name[8])
    x = bound["self"]
    size, stride = _many(bound["kernel_size"], axes), _many(bound["stride"] or bound["kernel_size"], axes)
    padding, dilation = _many(bound["padding"], axes), _many(bound["dilation"], axes)
    channels = x.shape[-axes - 1]
    kernel = torch.full((channels, 1, *size), 1 / torch.Size(size).numel(), dtype=x.dtype, device=x.device)
    if bound["ceil_mode"]:
        x = torch.nn.functional.pad(x, _beyond(x.shape[-axes:], size, stride, padding, dilation))
    convolve = getattr(torch.nn.functional, f"conv{axes}d")
    averaged = convolve(x, kernel, None, stride, padding, dilation, channels)
    return (averaged, None) if name.endswith("with_indices") else averaged


def _beyond(
    lengths: tuple[int, ...], size: list[int], stride: list[int], padding: list[int], dilation: list[int]
) -> list[int]:
    """How much to pad behind each axis, the last first, so that a window begun is a window."""
    widths: list[int] = []
    for length, window, step, pad, spread in reversed(list(zip(lengths, size, stride, padding, dilation, strict=True))):
        room = length + 2 * pad - spread * (window - 1) - 1
        count = -(-room // step)
        count -= count * step >= length + pad  # the last window must begin inside
        widths += [0, max(0, count * step - room)]
    return widths


def _many(value: Any, axes: int) -> list[int]:  # noqa: ANN401
    listed = [value] if isinstance(value, int) else list(value)
    return listed * axes if len(listed) == 1 else listed


def _scaled(run: Linearised, node: fx.Node, bound: dict[str, Any]) -> Any:  # noqa: ANN401 - one of several
    """Batch norm in evaluation mode without its shift."""
    x = bound["input"]
    if bound["running_var"] is None:
        run.replaced["batch_norm"] = None
        return x
    scale = (bound["running_var"] + bound["eps"]).rsqrt()
    if bound["weight"] is not None:
        scale = scale * bound["weight"]
    x = x * scale.reshape(1, -1, *[1] * (x.ndim - 2))
    return (x, None, None) if "native" in operator_name(node.target) else x


def _centred(run: Linearised, node: fx.Node, bound: dict[str, Any]) -> torch.Tensor:
    """A layer norm without its division, which depends on the example, and without its shift."""
    run.replaced[operator_name(node.target)] = None
    x: torch.Tensor = bound["input"]
    axes = tuple(range(-len(bound["normalized_shape"]), 0))
    if "rms" not in operator_name(node.target):
        x = x - x.mean(axes, keepdim=True)
    return x if bound["weight"] is None else x.mul(bound["weight"])


def _group_centred(run: Linearised, node: fx.Node, bound: dict[str, Any]) -> torch.Tensor:  # noqa: ARG001
    run.replaced["group_norm"] = None
    x: torch.Tensor = bound["input"]
    grouped = x.reshape(x.shape[0], bound["num_groups"], -1)
    x = (grouped - grouped.mean(2, keepdim=True)).reshape(x.shape)
    return x if bound["weight"] is None else x.mul(bound["weight"].reshape(1, -1, *[1] * (x.ndim - 2)))


def _times(run: Linearised, node: fx.Node, bound: dict[str, Any]) -> Any:  # noqa: ANN401
    """A product by a constant as it is; of two values that depend on the start, the gate is taken as 1."""
    first, second = node.args[:2]
    if not (run.depends(first) and run.depends(second)):
        return functional_form(node.target)(**bound)
    run.replaced["gate"] = None
    left, right = bound["self"], bound["other"]
    if operator_name(node.target) == "div":
        return left.expand(shape_of_both(left.shape, right.shape))
    gates = [_is_gate(one) for one in (first, second)]
    second_is_gate = left.numel() > right.numel() or (left.numel() == right.numel() and not (gates[0] > gates[1]))
    kept = left if second_is_gate else right
    return kept.expand(shape_of_both(left.shape, right.shape))


def _is_gate(node: object) -> bool:
    return isinstance(node, fx.Node) and operator_name(node.target) in _GATES


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found, waiting = {node}, [node]
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source not in found:
                found.add(source)
                waiting.append(source)
    return found


def _descendants(node: fx.Node) -> set[fx.Node]:
    found, waiting = {node}, [node]
    while waiting:
        for user in waiting.pop().users:
            if user not in found:
                found.add(user)
                waiting.append(user)
    return found


_STAND_INS: Final[Mapping[str, Callable[[Linearised, fx.Node, dict[str, Any]], Any]]] = {
    **dict.fromkeys((f"conv{axes}d" for axes in (1, 2, 3)), _without_bias),
    **dict.fromkeys((f"conv_transpose{axes}d" for axes in (1, 2, 3)), _without_bias),
    "convolution": _without_bias,
    "linear": _without_bias,
    "addmm": _product_plus,
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices"), _average),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"), _average),
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training"), _scaled),
    **dict.fromkeys(("layer_norm", "rms_norm"), _centred),
    "group_norm": _group_centred,
    **dict.fromkeys(("mul", "div"), _times),
}
"""Operators with a linear stand-in, by their name in torch's `aten`."""
