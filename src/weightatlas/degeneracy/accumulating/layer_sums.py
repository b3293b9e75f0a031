"""What is summed for every layer while a network runs: Gram matrices, then a second look at small directions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from weightatlas.degeneracy.accumulating.sums import GramSum, Precision, TriangleSum
from weightatlas.degeneracy.accumulating.unfolding import activation_columns, gradient_columns
from weightatlas.degeneracy.spectra import TOLERANCE, Suspects
from weightatlas.errors import NotFiniteError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from weightatlas.degeneracy.accumulating.products import Multiplied
    from weightatlas.degeneracy.accumulating.sites import Part, Site
    from weightatlas.degeneracy.accumulating.unfolding import Form


class CountSum:
    """How often each row of a table was asked for: the diagonal of the Gram matrix of one-hot activations.

    Attributes:
        positions: how many were asked for.
    """

    def __init__(self, length: int, device: torch.device) -> None:
        """Begin at 0."""
        self.positions = 0
        self._counts = torch.zeros(length, dtype=torch.int64, device=device)

    def add(self, rows: torch.Tensor) -> None:
        """Take in numbers of rows."""
        self.positions += rows.numel()
        self._counts += torch.bincount(rows.flatten(), minlength=len(self._counts))

    def matrix(self) -> torch.Tensor:
        """The counts, float64 (1, length)."""
        return self._counts.double()[None]


class LayerSums:
    """Gram matrices of activations and gradients, by layer.

    Attributes:
        sites: of the layers that are summed.
        activations, gradients: the sums; gradients of those alone that had any.
        too_wide: why others are not.
    """

    def __init__(self, *, precision: Precision, widest: int, is_asked: Callable[[str], bool]) -> None:
        """Begin with no layer."""
        self.sites: dict[str, Site] = {}
        self.activations: dict[str, GramSum | CountSum] = {}
        self.gradients: dict[str, GramSum] = {}
        self.too_wide: dict[str, str] = {}
        self._precision: Precision = precision
        self._widest = widest
        self._is_asked = is_asked

    def wants(self, site: Site) -> bool:
        """Whether a layer is summed: it was asked for and fits."""
        if not self._is_asked(site.layer) or site.layer in self.too_wide:
            return False
        sides = (site.units,) if site.form.kind == "embedding" else (site.width + 1, site.units)
        numbers = site.form.groups * max(sides) ** 2
        if numbers > self._widest**2:
            said = f"its {max(sides):,} activations or outputs need Gram matrices of {numbers * 8 / 2**30:.1f} GiB"
            self.too_wide[site.layer] = f"{said}; a larger widest lets it"
            return False
        return True

    def add_activations(self, part: Part, found: Multiplied) -> None:
        """Take in what a product is given."""
        site, device = part.site, found.inputs.device
        self.sites.setdefault(site.layer, site)
        total = self.activations.get(site.layer)
        if found.form.kind == "embedding":
            total = total or CountSum(site.width, device)
            total.add(found.inputs)
        else:
            width = site.width + (site.bias is not None)
            if not isinstance(total, GramSum):
                total = GramSum(found.form.groups, width, precision=self._precision, device=_summing(device))
            for columns in columns_of(part, found, total.dtype):
                total.add(columns)
        self.activations[site.layer] = total

    def add_gradients(self, part: Part, form: Form, gradient: torch.Tensor) -> None:
        """Take in the gradients of what a product gave."""
        site = part.site
        if site.layer not in self.gradients:
            device = _summing(gradient.device)
            self.gradients[site.layer] = GramSum(form.groups, site.units, precision=self._precision, device=device)
        total = self.gradients[site.layer]
        for columns in gradient_columns(form, gradient.to(_summing(gradient.device)), dtype=total.dtype):
            total.add(columns)

    def add_nothing(self, layer: str, device: torch.device) -> None:
        """Note that no output depends on what a layer gives."""
        site = self.sites[layer]
        self.gradients[layer] = GramSum(
            site.form.groups, site.units, precision=self._precision, device=_summing(device)
        )

    def leave_out(self, biases: Collection[str]) -> None:
        """Forget the constant activations that these biases multiply."""
        for layer, site in self.sites.items():
            if site.bias in biases:
                self.sites[layer] = replace(site, bias=None)
                total = self.activations[layer]
                if isinstance(total, GramSum):
                    total.drop_last()

    def check(self, layers: Iterable[str]) -> None:
        """Refuse sums that are not finite.

        Raises:
            NotFiniteError: one is not; it names the first layer.
        """
        for layer in layers:
            for sums, what in ((self.activations, "what goes into"), (self.gradients, "the gradient at")):
                total = sums.get(layer)
                if isinstance(total, GramSum) and not bool(torch.isfinite(total.matrix()).all()):
                    advice = "check the inputs, the weights and the normalisation's statistics"
                    message = f"{what} {layer or 'the network'} is not finite, or its squares are not: {advice}"
                    raise NotFiniteError(message)


class SecondLook:
    """The directions that Gram matrices could not tell from 0, looked at again in the activations themselves.

    Attributes:
        inputs, outputs: suspects of each group, by layer.
    """

    def __init__(self, sums: LayerSums, layers: Iterable[str]) -> None:
        """Take the finished matrices apart."""
        self.inputs: dict[str, tuple[Suspects, ...]] = {}
        self.outputs: dict[str, tuple[Suspects, ...]] = {}
        for layer in layers:
            total = sums.activations[layer]
            if isinstance(total, GramSum):
                self.inputs[layer] = tuple(map(Suspects.of, total.matrix()))
            if layer in sums.gradients:
                self.outputs[layer] = tuple(map(Suspects.of, sums.gradients[layer].matrix()))
        self._input_triangles = {layer: TriangleSum(each) for layer, each in self.inputs.items()}
        self._output_triangles = {layer: TriangleSum(each) for layer, each in self.outputs.items()}
        self._looks = 1

    @property
    def is_needed(self) -> bool:
        """Whether any direction is to be looked at."""
        return self.needs_gradients or any(each.is_needed for each in self._input_triangles.values())

    @property
    def needs_gradients(self) -> bool:
        """Whether any of them is of gradients."""
        return any(each.is_needed for each in self._output_triangles.values())

    def wants(self, site: Site) -> bool:
        """Whether a layer has such a direction."""
        triangles = (self._input_triangles.get(site.layer), self._output_triangles.get(site.layer))
        return any(each is not None and each.is_needed for each in triangles)

    def wants_gradients(self, site: Site) -> bool:
        """Whether a layer has such a direction of gradients."""
        triangle = self._output_triangles.get(site.layer)
        return triangle is not None and triangle.is_needed

    def look_again(self) -> None:
        """Begin to take in gradients once more, of other combinations of outputs."""
        self._looks += 1

    def gradient_ranks(self) -> tuple[int, ...]:
        """How many of the suspect directions gradients have a part along so far, by layer and group."""
        return tuple(
            0 if factor is None else int((torch.linalg.svdvals(factor) > TOLERANCE * each.large[0]).sum())
            for layer, suspects in self.outputs.items()
            for each, factor in zip(suspects, self._output_triangles[layer].factors, strict=True)
        )

    def add_activations(self, part: Part, found: Multiplied) -> None:
        """Take in what a product is given."""
        triangle = self._input_triangles.get(part.site.layer)
        if triangle is not None and triangle.is_needed:
            for columns in columns_of(part, found, torch.float64):
                triangle.add(columns)

    def add_gradients(self, part: Part, form: Form, gradient: torch.Tensor) -> None:
        """Take in the gradients of what a product gave."""
        triangle = self._output_triangles.get(part.site.layer)
        if triangle is not None and triangle.is_needed:
            for columns in gradient_columns(form, gradient.to(_summing(gradient.device))):
                triangle.add(columns)

    def input_triangles(self, layer: str) -> list[torch.Tensor | None]:
        """R of each group of a layer's activations."""
        return self._input_triangles[layer].factors

    def output_triangles(self, layer: str) -> list[torch.Tensor | None]:
        """R of each group of a layer's gradients, in the mean over looks."""
        factors = self._output_triangles[layer].factors
        return [None if factor is None else factor / self._looks**0.5 for factor in factors]


def columns_of(part: Part, found: Multiplied, dtype: torch.dtype) -> Iterable[torch.Tensor]:
    """What a product is given, a constant after it where the site has a bias, as `activation_columns` gives it."""
    inputs = found.inputs.detach().to(_summing(found.inputs.device))
    return activation_columns(found.form, inputs, constant=part.site.bias is not None, dtype=dtype)


def _summing(device: torch.device) -> torch.device:
    """Where sums are kept: Apple's GPUs have no float64."""
    return torch.device("cpu") if device.type == "mps" else device
