"""The Gram matrices of one layer: what it is given, what its outputs are worth, and which directions are free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from weightatlas.degeneracy.spectra import TOLERANCE, Array, Spectrum

if TYPE_CHECKING:
    from weightatlas.degeneracy.accumulating.sites import Site
    from weightatlas.degeneracy.spectra import Factor


@dataclass(frozen=True, slots=True, eq=False)
class LayerGram:
    r"""Gram matrices of one matrix of weights \(W\), (units, width) in each group, the bias as its last column.

    With activations \(f_{xt}\) at position t of example x (a constant 1 last, where there is a bias) and gradients
    \(b_{kxt} = \partial\, \text{output}_k / \partial (W f_{xt})\), of P positions and n examples,

    \[G = \frac{1}{P} \sum_{xt} f_{xt} f_{xt}^T, \qquad K = \frac{1}{n} \sum_{xkt} b_{kxt} b_{kxt}^T.\]

    Adding \(u v^T\) to W moves output k by \(\sum_t (b_{kxt} \cdot u)(f_{xt} \cdot v)\): by nothing if v is a null
    vector of G, however far (the layer gives what it gave), and by nothing at first order if u is one of K. Of the
    units × width directions rank K · rank G are left.

    Attributes:
        site: which parameters hold W.
        positions: P; every call of a module that is called several times has its own.
        examples: n.
        activations: G, float64 (groups, width, width); of an embedding, whose activations are one-hot, its diagonal
            (1, width).
        gradients: K, float64 (groups, units, units); None where it was not asked for, or the layer ran where torch was
            told to keep no gradients.
        input_factors, output_factors: singular values and small vectors of each group; those of an embedding's inputs
            have no vectors.
    """

    site: Site
    positions: int
    examples: int
    activations: Array
    gradients: Array | None
    input_factors: tuple[Factor, ...]
    output_factors: tuple[Factor, ...] | None

    @property
    def layer(self) -> str:
        """The path of the module, with `.query`, `.key` or `.value` of packed attention."""
        return self.site.layer

    @property
    def weight(self) -> str:
        """The name of the parameter that holds the weights."""
        return self.site.weight

    @property
    def bias(self) -> str | None:
        """The name of the bias; None where none is trained."""
        return self.site.bias

    @property
    def kind(self) -> str:
        """One of "linear", "convolution", "embedding", "attention"."""
        return self.site.kind

    @property
    def groups(self) -> int:
        """Parts of the layer that see nothing of each other; 1 but in grouped convolutions."""
        return self.site.form.groups

    @property
    def width(self) -> int:
        """Activations of a group, the constant included."""
        return self.site.width + (self.site.bias is not None)

    @property
    def units(self) -> int:
        """Outputs of a group."""
        return self.site.units

    @property
    def is_derived(self) -> bool:
        """Whether the layer multiplies by what it computes from its weight (a parametrisation, standardised weights).

        Then what is free for the product is a direction of that, not of the parameter.
        """
        return self.site.is_derived

    @property
    def parameters(self) -> int:
        """Numbers in the weight and the bias."""
        return self.groups * self.units * self.width

    @property
    def activation_spectrum(self) -> Spectrum:
        """Of the activations, all groups together."""
        return Spectrum.together(self.input_factors)

    @property
    def gradient_spectrum(self) -> Spectrum | None:
        """Of the gradients, all groups together."""
        return None if self.output_factors is None else Spectrum.together(self.output_factors)

    def activation_ranks(self, tolerance: float = TOLERANCE) -> tuple[int, ...]:
        """The rank of each group's activations, singular values up to this share of its largest counted as 0."""
        return tuple(factor.rank(tolerance) for factor in self.input_factors)

    def gradient_ranks(self, tolerance: float = TOLERANCE) -> tuple[int, ...]:
        """The same of the gradients; every unit counts where they were not measured."""
        if self.output_factors is None:
            return (self.units,) * self.groups
        return tuple(factor.rank(tolerance) for factor in self.output_factors)

    def rank(self, tolerance: float = TOLERANCE) -> int:
        """How many directions of the weights neither activations nor gradients free: rank G · rank K over groups."""
        ranks = zip(self.activation_ranks(tolerance), self.gradient_ranks(tolerance), strict=True)
        return sum(inputs * outputs for inputs, outputs in ranks)

    def free_inputs(self, tolerance: float = TOLERANCE) -> tuple[Array, ...]:
        r"""Null vectors of the activations of each group, orthonormal, (width, k).

        At the default tolerance and in float64, \(|f \cdot v| \le 10^{-9} |f|\) for activations of the usual length;
        what is sure is that the root of the mean square of \(f \cdot v\) is at most the tolerance times the largest
        singular value.
        """
        if self.site.form.kind != "embedding":
            pairs = zip(self.input_factors, self.activations, strict=True)
            return tuple(factor.null(gram, tolerance) for factor, gram in pairs)
        counts = self.activations[0]
        largest = max(float(counts.max(initial=0.0)), np.finfo(np.float64).tiny)
        unused = np.flatnonzero(np.sqrt(counts / largest) <= max(tolerance, self.input_factors[0].noise))
        vectors = np.zeros((len(counts), len(unused)))
        vectors[unused, np.arange(len(unused))] = 1
        return (vectors,)

    def free_outputs(self, tolerance: float = TOLERANCE) -> tuple[Array, ...]:
        """Null vectors of the gradients of each group, orthonormal, (units, k); none where they were not measured."""
        if self.output_factors is None or self.gradients is None:
            return tuple(np.zeros((self.units, 0)) for _ in range(self.groups))
        pairs = zip(self.output_factors, self.gradients, strict=True)
        return tuple(factor.null(gram, tolerance) for factor, gram in pairs)

    def placed(self, matrix: Array, group: int = 0) -> dict[str, torch.Tensor]:
        """Write a matrix as the parameters hold it, 0 in other groups and rows.

        Args:
            matrix: (units, width), the bias last, as the activations are.
            group: which one's.

        Returns:
            float64 tensors of the parameters' shapes, by their names.

        Raises:
            ValueError: the matrix is another size, or the weights are computed from the parameter.
        """
        if matrix.shape != (self.units, self.width) or not 0 <= group < self.groups:
            message = f"{self.layer} takes {self.units} × {self.width} in {self.groups} groups, not {matrix.shape}"
            raise ValueError(message)
        if self.is_derived:
            message = f"{self.layer} multiplies by what it computes from {self.weight}, which is no such matrix"
            raise ValueError(message)
        form, site = self.site.form, self.site
        values = torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float64))
        own = values[:, : site.width]
        if form.kind == "convolution":
            own = own.reshape(len(own), -1, *form.kernel)
        if form.stored_inputs_first:
            own = own.transpose(0, 1)
        weight = torch.zeros(site.shape, dtype=torch.float64)
        start = (site.rows or (0, 0))[0]
        weight[start + group * len(own) : start + (group + 1) * len(own)] = own
        made = {site.weight: weight}
        if site.bias is not None:
            made[site.bias] = torch.zeros(site.bias_length, dtype=torch.float64)
            first = start + group * self.units
            made[site.bias][first : first + self.units] = values[:, site.width]
        return made

    def direction(self, output: Array, inputs: Array, group: int = 0) -> dict[str, torch.Tensor]:
        r"""The direction \(u v^T\) of the parameters, from u (units,) and v (width,), as `placed` gives it."""
        return self.placed(np.outer(output, inputs), group)
