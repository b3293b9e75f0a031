from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from weightatlas.errors import MissingDependencyError, NotFiniteError
from weightatlas.evaluation.curvature import hessian_eigenvalues
from weightatlas.nn.ws_conv import WSConv2d

if TYPE_CHECKING:
    from weightatlas.evaluation.batches import Batch

SPECTRUM = (5.0, 3.0, 1.0, 0.5, -7.0)
NOTHING = torch.zeros(1)


class Quadratic(nn.Module):
    """The loss w^T A w / 2 with eigenvalues of A as given, in a space of some size."""

    def __init__(self, spectrum: tuple[float, ...], size: int) -> None:
        super().__init__()
        values = np.zeros(size)
        values[: len(spectrum)] = spectrum
        basis = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0]
        self.matrix = torch.from_numpy(basis * values @ basis.T)
        self.weight = nn.Parameter(torch.ones(size, dtype=torch.float64))

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.weight @ self.matrix @ self.weight / 2


def itself(output: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return output


def network(norm: str) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norms = {"batch": nn.BatchNorm2d(4), "group": nn.GroupNorm(2, 4), "none": nn.Identity()}
        convolution = WSConv2d if norm == "group" else nn.Conv2d
        return nn.Sequential(
            convolution(2, 4, 3), norms[norm], nn.Softplus(), nn.Flatten(), nn.Linear(4 * 4, 3, bias=False)
        ).double()


def batches(*sizes: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, 2, 4, 4, generator=generator, dtype=torch.float64),
            torch.randint(3, (size,), generator=generator),
        )
        for size in sizes
    ]


def slow_spectrum(model: nn.Module, parts: list[Batch]) -> np.ndarray:
    """All eigenvalues of the whole Hessian, written out by torch."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [parameter.shape for parameter in model.parameters()]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        pieces = torch.split(flat, [shape.numel() for shape in shapes])
        given = {name: piece.reshape(shape) for name, piece, shape in zip(names, pieces, shapes, strict=True)}
        count = sum(len(targets) for _, targets in parts)
        return torch.stack(
            [functional.cross_entropy(functional_call(model, given, (x,)), y, reduction="sum") for x, y in parts]
        ).sum() / torch.tensor(count)

    at = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return np.asarray(torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, at)))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("size", [5, 20, 21, 60])
def test_a_quadratic_has_the_eigenvalues_it_was_given(size: int) -> None:
    model = Quadratic(SPECTRUM, size)
    found = hessian_eigenvalues(model, [(NOTHING, NOTHING)], count=2, loss=itself)
    assert found.values == pytest.approx((5, 3), rel=1e-4)
    assert found.converged
    assert max(found.residuals) < 5e-3
    assert hessian_eigenvalues(model, [(NOTHING, NOTHING)], count=2, loss=itself) == found
    assert found.parameters == size
    by_size = hessian_eigenvalues(model, [(NOTHING, NOTHING)], count=2, loss=itself, which="magnitude")
    assert by_size.values == pytest.approx((-7, 5), rel=1e-4)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_it_is_the_top_of_the_whole_hessian_written_out(norm: str) -> None:
    model, parts = network(norm).eval(), batches(4, 7, 1)
    expected = slow_spectrum(model, parts)
    found = hessian_eigenvalues(model, parts, count=3, tolerance=1e-8)
    assert found.values == pytest.approx(expected[-3:][::-1].tolist(), rel=1e-8)
    assert found.converged


def test_in_training_mode_it_is_of_the_loss_under_the_batchs_own_statistics() -> None:
    model, parts = network("batch"), batches(8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = hessian_eigenvalues(model, parts, training=True, tolerance=1e-8)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    setattr(model[1], "track_running_stats", False)  # noqa: B010 - or torch's own Hessian could not be written out
    assert found.values[0] == pytest.approx(slow_spectrum(model.train(), parts)[-1], rel=1e-8)
    assert found.values[0] != pytest.approx(hessian_eigenvalues(model, parts).values[0], rel=1e-2)


def test_an_iteration_that_is_cut_short_says_so_and_bounds_from_below() -> None:
    spectrum = tuple(np.linspace(0.99, 1, 400))
    found = hessian_eigenvalues(Quadratic(spectrum, 400), [(NOTHING, NOTHING)], loss=itself, restarts=1, tolerance=1e-9)
    assert found.converged is False
    assert 0.99 < found.values[0] < 1
    assert found.residuals[0] > 1e-9
    assert 1 - found.values[0] < 0.01


@pytest.mark.parametrize("size", [4, 40])
def test_a_loss_without_curvature_has_the_eigenvalue_zero(size: int) -> None:
    model = nn.Linear(size, 1, bias=False).double()
    rows = torch.ones(3, size, dtype=torch.float64)
    found = hessian_eigenvalues(model, [(rows, torch.zeros(3))], loss=lambda output, _: output.mean())
    assert (*found.values, *found.residuals, found.converged) == (0, 0, True)


def test_the_same_seed_gives_the_same_bits_and_leaves_torchs_generator() -> None:
    model, parts = network("group"), batches(5)
    state = torch.get_rng_state()
    assert hessian_eigenvalues(model, parts, seed=3) == hessian_eigenvalues(model, parts, seed=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_single_precision_and_a_limit_of_examples_are_near() -> None:
    model, parts = network("group"), batches(5, 5)
    whole = hessian_eigenvalues(model, [parts[0], (parts[1][0][:2], parts[1][1][:2])])
    assert hessian_eigenvalues(model, parts, examples=7) == whole
    single = hessian_eigenvalues(model.float(), [(x.float(), y) for x, y in parts], examples=7)
    assert single.values == pytest.approx(whole.values, rel=1e-3)


def test_without_curvlinops_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "curvlinops", None)
    with pytest.raises(MissingDependencyError, match=r"weightatlas\[curvature\]"):
        hessian_eigenvalues(network("none"), batches(2))


def test_a_hessian_that_is_not_finite_is_an_error() -> None:
    parts = batches(2)
    parts[0][0][0, 0, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match="not finite"):
        hessian_eigenvalues(network("none"), parts)


def test_what_has_no_hessian_is_refused() -> None:
    mixed = network("none")
    mixed[4].float()
    with pytest.raises(ValueError, match="one type on one device"):
        hessian_eigenvalues(mixed, batches(2))
    with pytest.raises(ValueError, match="between 1 and"):
        hessian_eigenvalues(network("none"), batches(2), count=0)
    with pytest.raises(ValueError, match="which must be"):
        hessian_eigenvalues(network("none"), batches(2), which="smallest")  # type: ignore[arg-type]
