from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from tests.reference import interaction_basis as reference
from weightatlas.degeneracy.interaction_basis import interaction_basis
from weightatlas.degeneracy.jacobians import path_nodes
from weightatlas.errors import NotFiniteError, SourceError

if TYPE_CHECKING:
    from weightatlas.degeneracy.interaction_basis import Formula, InteractionBasis, Target
    from weightatlas.degeneracy.point_basis import PointBasis

Array = npt.NDArray[np.float64]
Batch = tuple[torch.Tensor, torch.Tensor]

MLP = ["0", "2", "4", "output"]


@pytest.fixture(autouse=True)
def _apart() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def mlp(*, smooth: bool = False) -> nn.Sequential:
    act = nn.GELU if smooth else nn.ReLU
    return nn.Sequential(nn.Linear(5, 8), act(), nn.Linear(8, 7), act(), nn.Linear(7, 3)).double()


def layer(model: nn.Sequential, place: int) -> nn.Linear:
    found = model[place]
    assert isinstance(found, nn.Linear)
    return found


def batches(*shape: int, examples: int = 60, dtype: torch.dtype = torch.float64) -> list[Batch]:
    inputs = torch.randn(examples, *shape, dtype=dtype)
    return [(part, torch.zeros(len(part))) for part in torch.split(inputs, 25)]


class Tokens(nn.Module):
    """A transformer of one layer, with points that are cuts."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.attend = nn.TransformerEncoderLayer(6, 2, 10, dropout=0.3, batch_first=True)
        self.between = nn.Identity()
        self.unembed = nn.Linear(6, 4)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.attend(self.embed(tokens))
        return self.unembed(self.between(hidden)), hidden


def small_cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 1),
        nn.ReLU(),
        nn.Conv2d(5, 3, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 3),
    ).double()


def invariants(basis: PointBasis) -> tuple[float, float]:
    """How far both products are off, for the directions without the constant."""
    forth, back = basis.to_basis[:-1, 1:], basis.from_basis[1:, :-1]
    importances = basis.importances[1:]
    uncorrelated = np.abs(forth.T @ basis.gram @ forth - np.diag(importances)).max() / importances.max()
    if basis.jacobian_gram is None:
        return float(uncorrelated), np.nan
    return float(uncorrelated), float(np.abs(back @ basis.jacobian_gram @ back.T - np.eye(basis.kept)).max())


def networks() -> dict[str, tuple[nn.Module, list[Batch], list[str]]]:
    tokens = [(torch.randint(11, (20, 4)), torch.zeros(20)) for _ in range(2)]
    return {
        "mlp": (mlp(), batches(5), MLP),
        "maps": (small_cnn(), batches(2, 5, 5, examples=30), ["input", "3", "5", "8", "output"]),
        "tokens": (Tokens().double(), tokens, ["embed:output", "between", "output"]),
    }


@pytest.mark.parametrize("target", ["next", "output"])
@pytest.mark.parametrize("formula", ["jacobian", "integrated", "functional", "pca", "svd"])
@pytest.mark.parametrize("name", ["mlp", "maps", "tokens"])
def test_the_products_hold(name: str, formula: Formula, target: Target) -> None:
    model, data, at = networks()[name]
    basis = interaction_basis(model, data, at, formula=formula, target=target)
    for point in basis.points[:-1]:
        uncorrelated, orthogonal = invariants(point)
        assert point.kept
        assert uncorrelated < 1e-8
        assert formula not in ("jacobian", "integrated") or orthogonal < 1e-8
        np.testing.assert_allclose(point.from_basis @ point.to_basis, np.eye(point.kept + 1), atol=1e-8)
        assert np.isnan(point.importances[0])
        assert (np.diff(point.importances[1:]) <= 0).all()


@pytest.mark.parametrize("formula", ["jacobian", "integrated"])
@pytest.mark.parametrize("target", ["next", "output"])
def test_it_is_the_slow_one(formula: Formula, target: Target) -> None:
    model, data = mlp(smooth=True), batches(5)
    basis = interaction_basis(model, data, MLP, formula=formula, target=target, nodes=4)
    inputs = torch.cat([part for part, _ in data])[:, None]
    alphas = list(path_nodes(4 if formula == "integrated" else 1))
    for place, stop in ((0, 2), (2, 4)):
        values = model[:place](inputs).detach()
        rest, later = (model[place:], "output") if target == "output" else (model[place:stop], str(stop))
        directions = basis[later].to_basis[:-1, 1:]
        forth, back, importances = reference.interaction_basis(rest, values, directions, alphas=alphas)
        found = basis[str(place)]
        kept = slice(1, found.kept + 1)
        signs = np.sign((forth[:-1, kept] * found.to_basis[:-1, 1:]).sum(0))
        np.testing.assert_allclose(found.importances[1:], importances[: found.kept], rtol=1e-8)
        np.testing.assert_allclose(found.to_basis[:, 1:], forth[:, kept] * signs, atol=1e-7)
        np.testing.assert_allclose(found.from_basis[1:, :-1], back[kept, :-1] * signs[:, None], atol=1e-6)


def test_positions_of_sequences_count_as_in_the_slow_one() -> None:
    model = Tokens().double().eval()
    data = [(torch.randint(11, (30, 3)), torch.zeros(30))]
    at = ["embed:output", "between", "output"]
    basis = interaction_basis(model, data, at)
    values = model.embed(data[0][0]).detach()

    def onward(example: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = model.attend(example[None])[0]
        return hidden

    with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):  # the only one that `vmap` has a rule for
        _, __, importances = reference.interaction_basis(
            onward, values, basis["between"].to_basis[:-1, 1:], alphas=[(1.0, 1.0)]
        )
    np.testing.assert_allclose(basis["embed:output"].importances[1:], importances, rtol=1e-8)


@pytest.mark.parametrize("formula", ["jacobian", "integrated"])
@pytest.mark.parametrize("target", ["next", "output"])
def test_an_invertible_map_of_a_linear_layer_moves_no_basis(formula: Formula, target: Target) -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    moved = copy.deepcopy(model)
    change = torch.randn(8, 8, dtype=torch.float64) + 2 * torch.eye(8)
    with torch.no_grad():
        layer(moved, 0).weight.copy_(change @ layer(model, 0).weight)
        layer(moved, 0).bias.copy_(change @ layer(model, 0).bias)
        layer(moved, 1).weight.copy_(layer(model, 1).weight @ torch.linalg.inv(change))
    data = batches(5)
    before, after = (
        interaction_basis(one, data, ["0", "1", "3", "output"], formula=formula, target=target)
        for one in (model, moved)
    )
    inputs = data[0][0]
    assert before["1"].kept == 5 == after["1"].kept
    for place in (0, 1, 3):
        one, other = before[str(place)], after[str(place)]
        np.testing.assert_allclose(one.importances[1:], other.importances[1:], rtol=1e-8)
        shown, again = one.represent(model[:place](inputs)), other.represent(moved[:place](inputs))
        torch.testing.assert_close(shown, again, atol=1e-8, rtol=0)


def test_principal_components_move_with_it() -> None:
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 6)).double()
    moved = copy.deepcopy(model)
    with torch.no_grad():
        layer(moved, 0).weight[0] *= 10
        layer(moved, 1).weight[:, 0] /= 10
    one, other = (interaction_basis(each, batches(5), ["1", "output"], formula="pca") for each in (model, moved))
    assert not np.allclose(one["1"].importances[1:], other["1"].importances[1:], rtol=0.1)


def test_units_in_another_order_give_the_same() -> None:
    model, data = mlp(), batches(5)
    moved = copy.deepcopy(model)
    order = torch.randperm(8)
    with torch.no_grad():
        layer(moved, 0).weight.copy_(layer(model, 0).weight[order])
        layer(moved, 0).bias.copy_(layer(model, 0).bias[order])
        layer(moved, 2).weight.copy_(layer(model, 2).weight[:, order])
    one, other = (interaction_basis(each, data, MLP) for each in (model, moved))
    np.testing.assert_allclose(one["2"].to_basis[:-1][order.numpy()], other["2"].to_basis[:-1], atol=1e-9)


def test_a_linear_network_shows_its_singular_vectors() -> None:
    weight = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
    model = nn.Sequential(nn.Identity(), nn.Linear(3, 3, bias=False)).double()
    with torch.no_grad():
        layer(model, 1).weight.copy_(weight)
    signs = torch.tensor([[a, b, c] for a in (-1.0, 1) for b in (-1.0, 1) for c in (-1.0, 1)], dtype=torch.float64)
    basis = interaction_basis(model, [(signs, signs)], ["1", "output"])["1"]
    np.testing.assert_allclose(basis.importances[1:], [9, 4, 1], rtol=1e-12)  # G is 1, M' the weights squared
    np.testing.assert_allclose(np.abs(basis.to_basis[:-1, 1:]), np.diag([3.0, 2, 1]), atol=1e-12)
    np.testing.assert_allclose(basis.mean, 0, atol=1e-12)


def test_values_come_back_from_the_basis() -> None:
    model, data = small_cnn(), batches(2, 5, 5)
    basis = interaction_basis(model, data, ["3", "5", "output"])
    values = model[:3](data[0][0]).detach()
    shown = basis["3"].represent(values)
    assert shown.shape == (25, 5, 5, basis["3"].kept + 1)
    assert bool((shown[..., 0] == 1).all())
    assert basis["3"].kept == 4
    torch.testing.assert_close(basis["3"].restore(shown), values)


def test_what_does_not_matter_is_dropped_and_what_does_not_vary() -> None:
    model = mlp()
    with torch.no_grad():
        layer(model, 2).weight[:, :2] = 0  # two units that nothing takes
        layer(model, 0).weight[2] = 0  # one that is constant
        layer(model, 0).bias[2] = 1
        layer(model, 0).weight[3], layer(model, 0).bias[3] = (
            2 * layer(model, 0).weight[4],
            2 * layer(model, 0).bias[4],
        )  # two that are one
    basis = interaction_basis(model, batches(5), MLP)["2"]
    assert basis.kept == 8 - 2 - 1 - 1
    assert basis.dropped == 4


def test_rank_deficient_inputs_have_their_rank() -> None:
    inputs = torch.randn(60, 2, dtype=torch.float64) @ torch.randn(2, 5, dtype=torch.float64)
    basis = interaction_basis(mlp(), [(inputs, inputs)], MLP)
    assert basis["0"].kept == 2
    assert max(invariants(basis["0"])) < 1e-8


def test_a_dead_layer_leaves_the_constant_alone() -> None:
    model = mlp()
    with torch.no_grad():
        layer(model, 2).bias.fill_(-1e3)
    basis = interaction_basis(model, batches(5), MLP)
    assert [point.kept for point in basis.points] == [0, 0, 0, 3]
    assert basis["0"].to_basis.shape == (6, 1)
    assert bool((basis["0"].represent(torch.randn(4, 5)) == 1).all())
    assert basis["0"].jacobian_gram is not None
    assert not basis["0"].jacobian_gram.any()


@pytest.mark.parametrize("formula", ["jacobian", "integrated", "functional", "pca"])
def test_one_example_and_constant_ones_span_nothing(formula: Formula) -> None:
    for inputs in (torch.randn(1, 5), torch.full((7, 5), 0.3)):
        basis = interaction_basis(mlp(), [(inputs, inputs)], MLP, formula=formula)
        assert [point.kept for point in basis.points[:-1]] == [0, 0, 0]
        torch.testing.assert_close(basis["0"].restore(basis["0"].represent(inputs)), inputs)


def test_without_centring_the_gram_matrix_is_about_zero() -> None:
    model, data = mlp(), batches(5)
    found = interaction_basis(model, data, MLP, center=False)
    inputs = torch.cat([part for part, _ in data])
    np.testing.assert_allclose(found["0"].gram, (inputs.T @ inputs / 60).numpy(), atol=1e-12)
    np.testing.assert_allclose(found["0"].to_basis[-1, 1:], 0)
    assert max(invariants(found["0"])) < 1e-8


def test_the_last_point_keeps_its_features_or_is_turned() -> None:
    model, data = mlp(), batches(5)
    kept = interaction_basis(model, data, MLP)["output"]
    np.testing.assert_array_equal(kept.to_basis[:-1, 1:], np.eye(3))
    outputs = model(torch.cat([part for part, _ in data])).detach()
    np.testing.assert_allclose(kept.importances[1:], outputs.var(0, correction=0), rtol=1e-9)
    turned = interaction_basis(model, data, MLP, rotate_last=True)["output"]
    np.testing.assert_allclose(turned.importances[1:].sum(), kept.importances[1:].sum(), rtol=1e-9)
    np.testing.assert_allclose(turned.to_basis[:-1, 1:].T @ turned.to_basis[:-1, 1:], np.eye(3), atol=1e-12)


def test_baselines_are_numpys() -> None:
    model, data = mlp(), batches(5)
    inputs = torch.cat([part for part, _ in data]).numpy()
    components = interaction_basis(model, data, MLP, formula="pca")["0"]
    about = interaction_basis(model, data, MLP, formula="svd")["0"]
    centred = np.linalg.svd(inputs - inputs.mean(0), compute_uv=False) ** 2 / 60
    np.testing.assert_allclose(components.importances[1:], centred, rtol=1e-10)
    np.testing.assert_allclose(about.importances[1:], np.linalg.svd(inputs, compute_uv=False) ** 2 / 60, rtol=1e-10)
    np.testing.assert_allclose(components.from_basis[1:, :-1], components.to_basis[:-1, 1:].T)


def test_batches_and_chunks_do_not_matter() -> None:
    model, data = mlp(), batches(5)
    together = [(torch.cat([part for part, _ in data]), torch.zeros(60))]
    one, other = interaction_basis(model, data, MLP), interaction_basis(model, together, MLP, chunk=1)
    for point, same in zip(one.points, other.points, strict=True):
        np.testing.assert_allclose(point.to_basis, same.to_basis, atol=1e-9)


@pytest.mark.parametrize("option", ["probes", "position_probes"])
def test_random_combinations_are_right_on_average(option: str) -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 2), nn.GELU(), nn.Conv1d(3, 2, 2), nn.Flatten(), nn.Linear(4, 2)).double()
    data, at = batches(2, 4, examples=20), ["2", "3", "output"]
    exact = interaction_basis(model, data, at)["2"].jacobian_gram
    options: dict[str, Any] = {option: 2}
    tries = [interaction_basis(model, data, at, seed=seed, **options)["2"].jacobian_gram for seed in range(30)]
    assert exact is not None
    error = np.std(np.array(tries), axis=0, ddof=1) / np.sqrt(len(tries))
    assert (error > 0).all()
    assert (np.abs(np.mean(np.array(tries), axis=0) - exact) < 4 * error).all()


def test_the_same_seed_gives_the_same() -> None:
    model, data = mlp(), batches(5)
    one, same, other = (interaction_basis(model, data, MLP, probes=2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one["2"].to_basis, same["2"].to_basis)
    assert not np.array_equal(one["2"].importances, other["2"].importances)
    assert one.probes == 2


def test_the_network_stays_as_it_is() -> None:
    model = small_cnn().float().train()
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    data = batches(2, 5, 5, dtype=torch.float32)
    states = torch.random.get_rng_state()
    for dtype in (torch.float64, None):
        interaction_basis(model, data, ["3", "5", "output"], dtype=dtype, probes=1)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(states, torch.random.get_rng_state())
    assert all(each.requires_grad and each.grad is None for each in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_training_mode_makes_no_difference() -> None:
    model, data = Tokens().double(), [(torch.randint(11, (20, 4)), torch.zeros(20))]
    at = ["embed:output", "between", "output"]
    one, other = interaction_basis(model.train(), data, at), interaction_basis(model.eval(), data, at)
    np.testing.assert_array_equal(one["between"].to_basis, other["between"].to_basis)


def test_single_precision_is_measured_with_its_noise() -> None:
    model = mlp().float()
    inputs = torch.randn(60, 5)
    inputs[:, 4] = inputs[:, 0] + inputs[:, 1]
    found = interaction_basis(model, [(inputs, inputs)], MLP, dtype=None)
    assert found["0"].kept == 4
    assert found["0"].activation_noise > 1e-8
    exact = interaction_basis(model, [(inputs, inputs)], MLP)
    np.testing.assert_allclose(found["0"].importances[1:], exact["0"].importances[1:5], rtol=1e-3)


def test_gradients_may_be_off_outside() -> None:
    model, data = mlp(), batches(5)
    with torch.no_grad():
        found = interaction_basis(model, data, MLP)
    np.testing.assert_array_equal(found["0"].to_basis, interaction_basis(model, data, MLP)["0"].to_basis)


def test_progress_is_told_of_every_point() -> None:
    told: list[tuple[int, int, str]] = []
    interaction_basis(mlp(), batches(5), MLP, progress=lambda *each: told.append(each))
    assert told == [(1, 4, "output"), (2, 4, "4"), (3, 4, "2"), (4, 4, "0")]


def test_examples_are_counted() -> None:
    found = interaction_basis(mlp(), batches(5), MLP, examples=30)
    assert found.examples == found["0"].positions == 30


def test_a_basis_is_found_by_name() -> None:
    found = interaction_basis(mlp(), batches(5), MLP)
    assert found["2"].point == "2"
    with pytest.raises(KeyError, match="3"):
        found["3"]


class TestRefusals:
    def basis(self, model: nn.Module, at: list[str], options: dict[str, Any] | None = None) -> InteractionBasis:
        return interaction_basis(model, batches(5), at, **(options or {}))

    def test_a_module_that_is_not_there(self) -> None:
        with pytest.raises(SourceError, match=r"no module 44; name a module, such as 4"):
            self.basis(mlp(), ["44", "output"])

    @pytest.mark.parametrize(
        "options",
        [
            {"target": "previous"},
            {"formula": "ica"},
            {"truncation": 1.0},
            {"nodes": 0, "formula": "integrated"},
            {"quadrature": "simpson", "formula": "integrated"},
            {"probes": 0},
            {"chunk": 0},
            {"probes": 2, "position_probes": 2},
            {"examples": 0},
        ],
    )
    def test_what_is_no_option(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="not"):
            self.basis(mlp(), MLP, options)

    def test_one_point(self) -> None:
        with pytest.raises(ValueError, match="two points"):
            self.basis(mlp(), ["output"])

    @pytest.mark.parametrize("number", [torch.nan, torch.inf])
    def test_activations_that_are_not_finite(self, number: float) -> None:
        inputs = torch.randn(60, 5)
        inputs[40, 3] = number
        with pytest.raises(NotFiniteError, match="activations at 0 are not finite"):
            interaction_basis(mlp(), [(part, part) for part in torch.split(inputs, 25)], MLP)

    def test_derivatives_that_are_not_finite(self) -> None:
        class Root(nn.Module):
            def forward(self, inputs: torch.Tensor) -> torch.Tensor:
                return inputs.clamp(min=0).sqrt()

        model = nn.Sequential(nn.Identity(), Root(), nn.Linear(5, 2)).double()
        formulas: tuple[Formula, ...] = ("jacobian", "functional")
        for formula in formulas:
            with pytest.raises(NotFiniteError, match="derivatives of 2 with respect to 1 are not finite"):
                interaction_basis(model, [(torch.eye(5), torch.eye(5))], ["1", "2", "output"], formula=formula)

    def test_no_examples(self) -> None:
        with pytest.raises(ValueError, match="no example"):
            interaction_basis(mlp(), [], MLP)
