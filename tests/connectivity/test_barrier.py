from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.reference import barrier as reference
from weightatlas.connectivity.barrier import barrier
from weightatlas.errors import NotFiniteError, SourceError
from weightatlas.evaluation.scoring import ClassesError

Batch = tuple[torch.Tensor, torch.Tensor]


def network(seed: int = 0, *, norm: bool = True) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.BatchNorm2d(6) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(8 * 16, 5),
        ).double()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        return model


def batches(*sizes: int, seed: int = 1) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(size, 3, 8, 8, generator=generator, dtype=torch.float64),
            torch.randint(5, (size,), generator=generator),
        )
        for size in sizes
    ]


def states(*, norm: bool = True) -> tuple[nn.Sequential, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return network(2, norm=norm), network(0, norm=norm).state_dict(), network(1, norm=norm).state_dict()


class Scale(nn.Module):
    """Gives what a test's loss makes of the weight itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.weight


ONES = [(torch.ones(4, dtype=torch.float64), torch.zeros(4))]


def at(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor([value], dtype=torch.float64)}


def test_loss_and_error_are_those_of_copies_with_the_weights_loaded() -> None:
    model, a, b = states()
    found = barrier(model, a, b, batches(7, 7, 3), points=5, recalibrate=None)
    expected = np.array(reference.line(model, a, b, found.alphas, batches(7, 7, 3)))
    assert found.alphas.tolist() == [0, 0.25, 0.5, 0.75, 1]
    np.testing.assert_allclose(found.losses, expected[:, 0], rtol=1e-10)
    np.testing.assert_allclose(found.errors, expected[:, 1], atol=1e-12)
    chord = found.losses[0] + found.alphas * (found.losses[-1] - found.losses[0])
    np.testing.assert_allclose(found.reference_line(found.losses), chord)
    assert found.loss_barrier.height == pytest.approx(max(found.losses - chord))
    assert found.losses_of_examples.shape == (5, 17)
    assert (found.examples, found.recalibrated, found.recalibration_batches) == (17, None, 0)


def test_statistics_are_estimated_anew_at_every_point_the_ends_included() -> None:
    model, a, b = states()
    data, training = batches(6, 6), batches(20, seed=3)
    found = barrier(model, a, b, data, points=3, recalibration_data=training)
    expected = [
        reference.loss_and_error(
            reference.recalibrated(reference.with_state(model, reference.between(a, b, alpha)), training), data
        )[0]
        for alpha in (0, 0.5, 1)
    ]
    np.testing.assert_allclose(found.losses, expected, rtol=1e-8)
    assert (found.recalibrated, found.recalibration_batches, found.recalibration_examples) == ("batch-norm", 1, 20)
    assert found.seconds_recalibrating > 0
    assert not any("first batches" in note for note in found.notes)


def test_without_other_data_statistics_are_estimated_on_the_first_batches_and_that_is_said() -> None:
    model, a, b = states()
    data = batches(6, 6, 6)
    found = barrier(model, a, b, data, points=3, recalibration_batches=2)
    same = barrier(model, a, b, data, points=3, recalibration_data=data[:2])
    assert found.losses.tolist() == same.losses.tolist()
    assert (found.recalibration_batches, found.recalibration_examples) == (2, 12)
    assert found.notes == ("statistics were estimated on the first batches of the data themselves",)


def test_automatic_recalibration_is_none_where_there_are_no_statistics_and_repair_is_asked_for() -> None:
    model, a, b = states(norm=False)
    data = batches(9, 9)
    plain = barrier(model, a, b, data, points=3)
    mended = barrier(model, a, b, data, points=3, recalibrate="repair")
    assert plain.recalibrated is None
    assert mended.recalibrated == "repair"
    assert mended.losses[[0, -1]].tolist() == plain.losses[[0, -1]].tolist()
    assert mended.losses[1] != plain.losses[1]
    with pytest.raises(ValueError, match="no batch-norm statistics"):
        barrier(model, a, b, data, recalibrate="batch-norm")


@pytest.mark.parametrize("recalibrate", ["auto", "repair", None])
def test_a_network_and_itself_have_no_barrier_to_the_last_bit(recalibrate: str | None) -> None:
    model, a, _ = states()
    found = barrier(model, a, a, batches(6, 5), points=5, recalibrate=recalibrate)  # type: ignore[arg-type]
    if recalibrate != "repair":  # between both ends, REPAIR sets statistics batch by batch
        assert len(set(found.losses.tolist())) == 1
        assert (found.loss_barrier.height, found.loss_barrier.low, found.loss_barrier.high) == (0.0, 0.0, 0.0)
    assert found.loss_barrier.height == pytest.approx(0, abs=0.05)
    assert found.error_barrier.height == 0.0


def test_an_exported_graphs_statistics_stay_and_that_is_said() -> None:
    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 3)
            self.norm = nn.Module()  # what an export leaves of a batch norm
            self.norm.register_buffer("running_var", torch.ones(3))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.linear(inputs) / self.norm.get_buffer("running_var").sqrt()
            return answer

    model = Graph()
    data = [(torch.ones(4, 2), torch.tensor([0, 1, 2, 0]))]
    found = barrier(model, model.state_dict(), Graph().state_dict(), data, points=3)
    assert found.recalibrated is None
    assert found.notes == ("batch-norm statistics were not estimated anew: those of an exported graph cannot be",)
    assert barrier(model, model.state_dict(), model.state_dict(), data, points=3, recalibrate=None).notes == ()


def test_both_ways_are_one_line() -> None:
    model, a, b = states()
    there, back = (barrier(model, *ends, batches(8, 8), points=5) for ends in ((a, b), (b, a)))
    np.testing.assert_allclose(there.losses, back.losses[::-1], rtol=1e-9)
    assert there.loss_barrier.height == pytest.approx(back.loss_barrier.height)


def test_refining_finds_a_maximum_between_the_points_of_the_grid() -> None:
    def ridge(output: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return torch.exp(-((output - 0.27) ** 2) / 0.01)

    coarse = barrier(Scale(), at(0), at(1), ONES, ridge, points=5)
    fine = barrier(Scale(), at(0), at(1), ONES, ridge, points=5, tolerance=1e-4)
    truth = max(math.exp(-((x - 0.27) ** 2) / 0.01) - (1 - x) * math.exp(-7.29) for x in np.linspace(0.2, 0.35, 2001))
    assert coarse.loss_barrier.height < truth - 0.01
    assert coarse.resolution >= truth - coarse.loss_barrier.height
    assert fine.loss_barrier.height == pytest.approx(truth, abs=1e-4)
    assert fine.loss_barrier.alpha == pytest.approx(0.27, abs=5e-3)
    assert fine.resolution <= 1e-4
    limited = barrier(Scale(), at(0), at(1), ONES, ridge, points=5, tolerance=1e-9, refinements=2)
    assert len(limited.alphas) == 7
    assert limited.resolution > 1e-9


def test_the_middle_is_always_a_point_and_references_have_their_names() -> None:
    def tilted(output: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return output + 4 * output * (1 - output)

    chord, mean = (barrier(Scale(), at(0), at(1), ONES, tilted, points=4, reference=how) for how in ("chord", "mean"))
    assert 0.5 in chord.alphas
    assert len(chord.alphas) == 5
    assert (chord.loss_barrier.height, chord.loss_barrier.midpoint) == (1.0, 1.0)
    assert (mean.loss_barrier.midpoint, mean.reference) == (1.0, "mean")
    assert mean.loss_barrier.height == pytest.approx(2 / 3 + 8 / 9 - 1 / 2)
    assert math.isnan(chord.error_barrier.height)


def test_a_point_that_is_not_finite_is_left_out_and_said() -> None:
    def pole(output: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return 1 / output.abs()

    found = barrier(Scale(), at(-1), at(1), ONES, pole, points=5)
    assert np.isnan(found.losses).tolist() == [False, False, True, False, False]
    assert (found.loss_barrier.height, found.resolution) == (1.0, math.inf)
    assert math.isnan(found.loss_barrier.midpoint)
    assert found.notes == ("the loss is not finite at alpha = 0.5: the barrier is that of the other points",)
    with pytest.raises(NotFiniteError, match="the second network's loss is not finite"):
        barrier(Scale(), at(-1), at(0), ONES, pole, points=5)
    with pytest.raises(NotFiniteError, match="the first network's loss is not finite"):
        barrier(Scale(), at(math.nan), at(1), ONES, pole, points=5)


def test_a_norm_that_refuses_what_is_not_finite_costs_the_point_and_not_the_line() -> None:
    from weightatlas.nn import BatchChannelNorm2d

    class Pole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))
            self.norm = BatchChannelNorm2d(2, 1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = self.norm(inputs / self.weight)
            return maps.mean((2, 3))

    model = Pole()
    a, b = ({**model.state_dict(), "weight": torch.tensor([value])} for value in (-1.0, 1.0))
    images = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    for recalibrate in ("batch-norm", None):
        found = barrier(model, a, b, [(images, torch.tensor([0, 1] * 3))], points=3, recalibrate=recalibrate)
        assert np.isnan(found.losses).tolist() == [False, True, False]


def test_data_beyond_the_limit_are_fetched_for_every_point_with_the_same_answer() -> None:
    model, a, b = states()
    held = barrier(model, a, b, batches(6, 6), points=3)
    fetched = barrier(model, a, b, batches(6, 6), points=3, held_bytes=100)
    assert fetched.losses.tolist() == held.losses.tolist()
    assert fetched.notes[0].startswith("the data exceed what is held")
    inputs, targets = (torch.cat(part) for part in zip(*batches(6, 6), strict=True))
    shuffled = DataLoader(TensorDataset(inputs, targets), batch_size=4, shuffle=True)
    with torch.random.fork_rng(), pytest.raises(SourceError, match="other examples"):
        barrier(model, a, b, shuffled, points=3, held_bytes=100)


def test_the_model_is_left_as_it_is_and_its_own_weights_modes_and_dropout_do_not_count() -> None:
    model, a, b = states()
    model.train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = {name: tensor.clone() for name, tensor in a.items()}
    generator = torch.get_rng_state()
    found = barrier(model, a, b, batches(6, 6), points=3)
    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(tensor, kept[name]) for name, tensor in a.items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert barrier(network(7).eval(), a, b, batches(6, 6), points=3).losses.tolist() == found.losses.tolist()


def test_the_same_seed_gives_the_same_and_progress_is_told() -> None:
    model, a, b = states()
    told: list[tuple[int, int, str]] = []
    one = barrier(model, a, b, batches(6, 6), points=3, progress=lambda *parts: told.append(parts))
    two = barrier(model, a, b, batches(6, 6), points=3)
    assert (one.loss_barrier.low, one.loss_barrier.high) == (two.loss_barrier.low, two.loss_barrier.high)
    assert told == [(1, 3, "alpha = 0"), (2, 3, "alpha = 1"), (3, 3, "alpha = 0.5")]


def test_only_the_examples_asked_for_count() -> None:
    model, a, b = states()
    found = barrier(model, a, b, batches(6, 6), points=3, examples=8, recalibrate=None)
    (inputs, targets), (more, other) = batches(6, 6)
    fewer = [(inputs, targets), (more[:2], other[:2])]
    assert found.losses.tolist() == barrier(model, a, b, fewer, points=3, recalibrate=None).losses.tolist()


def test_states_and_data_that_do_not_fit_are_refused() -> None:
    model, a, b = states()
    with pytest.raises(SourceError, match=r"the second state: 8\.weight is \[5, 7\] where the model has \[5, 128\]"):
        barrier(model, a, {**b, "8.weight": torch.zeros(5, 7)}, batches(4))
    with pytest.raises(SourceError, match="the first state: it has no"):
        barrier(model, {}, b, batches(4))
    with pytest.raises(SourceError, match="the network cannot take inputs"):
        barrier(model, a, b, [(torch.zeros(2, 1, 8, 8).double(), torch.zeros(2).long())])
    with pytest.raises(ClassesError):
        barrier(model, a, b, [(inputs, targets.double()) for inputs, targets in batches(4)])
    with pytest.raises(ValueError, match="no example"):
        barrier(model, a, b, [])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"points": 2}, "points must be 3 or more"),
        ({"tolerance": 0.0}, "tolerance must be above 0"),
        ({"refinements": -1}, "refinements must be 0 or more"),
        ({"reference": "line"}, "reference must be chord or mean"),
        ({"confidence": 1.0}, "confidence must lie between 0 and 1"),
        ({"recalibrate": "all"}, "recalibrate must be auto, batch-norm, repair or None"),
        ({"recalibration_batches": 0}, "examples and batches must be 1 or more"),
        ({"recalibration_passes": 0}, "passes must be 1 or more"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], problem: str) -> None:
    model, a, b = states()
    with pytest.raises(ValueError, match=problem):
        barrier(model, a, b, batches(4), **options)  # type: ignore[arg-type]
