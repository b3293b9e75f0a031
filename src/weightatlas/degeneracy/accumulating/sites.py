"""Matrices of weights by the parameters that hold them: where one stands in its parameter, and what it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch

from weightatlas.degeneracy.accumulating.products import LINEAR, LINEAR_INPUTS_FIRST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from torch import nn

    from weightatlas.degeneracy.accumulating.products import Multiplied
    from weightatlas.degeneracy.accumulating.unfolding import Form

PACKED: Final = "in_proj_weight"
PIECES: Final = ("query", "key", "value")
_APART: Final = {"q_proj_weight": "query", "k_proj_weight": "key", "v_proj_weight": "value"}


@dataclass(frozen=True, slots=True)
class Site:
    """A matrix of weights that activations are multiplied by.

    Attributes:
        layer: the path of its module; of a parameter that is not called "weight" its whole name; of attention's packed
            projections the path with `.query`, `.key` or `.value` after it.
        weight, bias: names of the parameters; no bias where none is trained.
        shape: of the weight's parameter.
        rows: of that parameter and of the bias, from and to; None is all.
        form: how activations become rows, and the parameter a matrix.
        width: activations of a group, without a constant.
        units: outputs of a group.
        kind: for a reader.
        is_derived: whether the matrix is computed from the parameter, which is then no such matrix itself.
    """

    layer: str
    weight: str
    bias: str | None
    shape: tuple[int, ...]
    rows: tuple[int, int] | None
    form: Form
    width: int
    units: int
    kind: Literal["linear", "convolution", "embedding", "attention"]
    is_derived: bool = False

    @property
    def bias_length(self) -> int:
        """Numbers in the bias's parameter."""
        return self.form.groups * self.units if self.rows is None else self.shape[0]

    @property
    def use(self) -> tuple[object, ...]:
        """What must be the same wherever the parameter is used, if free directions are to be those of one matrix."""
        form = self.form
        return (form.kind, form.groups, form.stored_inputs_first, form.kernel, self.bias, self.width, self.units)


@dataclass(frozen=True, slots=True)
class Part:
    """A site, and which outputs of a product it makes."""

    site: Site
    outputs: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """A parameter's name, whether it is seen transposed, and which of its rows."""

    name: str
    is_turned: bool = False
    rows: tuple[int, int] | None = None


class Parameters:
    """The parameters of a network, found again by tensors that are one or a view of one."""

    def __init__(self, model: nn.Module, *, loose: Collection[str] = ()) -> None:
        """Take them by their first names; biases that are `loose` are none of a product's."""
        self._loose = frozenset(loose)
        self._by_name = dict(model.named_parameters())
        self._names = {id(parameter): name for name, parameter in self._by_name.items()}
        self._attention = {
            name for name, module in model.named_modules() if isinstance(module, torch.nn.MultiheadAttention)
        }

    def name(self, tensor: object) -> str | None:
        """The name of the parameter that a tensor is, or is a view of."""
        if id(tensor) in self._names:
            return self._names[id(tensor)]
        base = tensor._base if isinstance(tensor, torch.Tensor) else None  # noqa: SLF001 - torch names no other
        return None if base is None else self._names.get(id(base))

    def parts(self, found: Multiplied) -> Iterator[Part]:
        """The matrices that a product is by, one unless a parameter packs several; none if it is no parameter's."""
        place = self._place(found.weight)
        if place is None:
            return
        path, _, leaf = place.name.rpartition(".")
        form = found.form
        turned = form.stored_inputs_first != place.is_turned
        bias = self._bias(found.bias, place)
        parameter = self._by_name[place.name]
        is_attention = path in self._attention or path.rpartition(".")[0] in self._attention
        units, width = self.sides(found)
        if leaf == PACKED and path in self._attention and not turned:
            yield from self._packed(found, place, path, bias)
            return
        layer = _joined(path, _APART[leaf]) if leaf in _APART and path in self._attention else None
        layer = layer or (path if leaf == "weight" else place.name)
        layer += "" if place.rows is None else f"[{place.rows[0]}:{place.rows[1]}]"
        kind = "attention" if is_attention else form.kind
        yield Part(
            Site(layer, place.name, bias, tuple(parameter.shape), place.rows, _turned(form, turned), width, units, kind)
        )

    def derived(self, found: Multiplied, path: str, module: nn.Module) -> Iterator[Part]:
        """The matrix that a running module computes from its own weight, as parametrisations do."""
        own = getattr(module, "weight", None)
        if found.form.kind == "embedding" or not isinstance(own, torch.Tensor) or own.shape != found.weight.shape:
            return
        if found.form == LINEAR_INPUTS_FIRST or next(module.parameters(), None) is None:
            return
        units, width = self.sides(found)
        bias = self._known(self.name(found.bias))
        shape = tuple(own.shape)
        name = _joined(path, "weight")
        yield Part(Site(path, name, bias, shape, None, found.form, width, units, found.form.kind, is_derived=True))

    @staticmethod
    def sides(found: Multiplied) -> tuple[int, int]:
        """Outputs and activations of one group."""
        form, shape = found.form, found.weight.shape
        if form.kind != "convolution":
            return (shape[1], shape[0]) if form.stored_inputs_first else (shape[0], shape[1])
        if form.stored_inputs_first:
            return shape[1], shape[0] // form.groups * form.size
        return shape[0] // form.groups, shape[1] * form.size

    def _packed(self, found: Multiplied, place: _Place, path: str, bias: str | None) -> Iterator[Part]:
        """Query, key and value of attention, whose rows one parameter holds."""
        parameter = self._by_name[place.name]
        each = len(parameter) // len(PIECES)
        start, end = place.rows or (0, len(parameter))
        for number, piece in enumerate(PIECES):
            low, high = number * each, (number + 1) * each
            if start <= low and high <= end:
                site = Site(
                    _joined(path, piece),
                    place.name,
                    bias,
                    tuple(parameter.shape),
                    (low, high),
                    found.form,
                    parameter.shape[1],
                    each,
                    "attention",
                )
                yield Part(site, (low - start, high - start))

    def _place(self, tensor: torch.Tensor) -> _Place | None:
        if id(tensor) in self._names:
            return _Place(self._names[id(tensor)])
        name = self.name(tensor)
        if name is None:
            return None
        whole = self._by_name[name]
        offset = tensor.storage_offset() - whole.storage_offset()
        if tensor.shape == whole.shape and tensor.stride() == whole.stride():
            return _Place(name)
        if tensor.ndim == 2 and tensor.shape == whole.mT.shape and tensor.stride() == whole.mT.stride():
            return _Place(name, is_turned=True)
        if tensor.stride() == whole.stride() and tensor.shape[1:] == whole.shape[1:]:
            first = offset // whole.stride(0)
            return _Place(name, rows=(first, first + len(tensor)))
        return None

    def _bias(self, bias: torch.Tensor | None, weight: _Place) -> str | None:
        """The name of a bias that stands in its parameter as the weight does in its own."""
        place = None if bias is None or bias.ndim != 1 else self._place(bias)
        return self._known(place.name) if place is not None and place.rows == weight.rows else None

    def _known(self, bias: str | None) -> str | None:
        return None if bias in self._loose else bias


def _turned(form: Form, turned: bool) -> Form:
    if form.kind != "linear" or form.stored_inputs_first == turned:
        return form
    return LINEAR_INPUTS_FIRST if turned else LINEAR


def _joined(path: str, leaf: str) -> str:
    return f"{path}.{leaf}" if path else leaf
