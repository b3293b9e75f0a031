from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightatlas.evaluation import open_data
from weightatlas.evaluation.mean_loss import MeanLoss, classification_loss, first_examples, not_finite
from weightatlas.evaluation.scoring import ClassesError

Batch = tuple[torch.Tensor, torch.Tensor]
CPU = torch.device("cpu")


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 16, 5)
        ).double()


def batches(*sizes: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, 3, 6, 6, generator=generator, dtype=torch.float64),
            torch.randint(5, (size,), generator=generator),
        )
        for size in sizes
    ]


def test_the_loss_and_its_gradient_are_those_of_all_examples_at_once() -> None:
    model, parts = network().eval(), batches(3, 4, 1)
    loss, gradient = MeanLoss(model, parts).gradient()
    inputs, targets = (torch.cat(column) for column in zip(*parts, strict=True))
    expected = functional.cross_entropy(model(inputs), targets)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    slopes = torch.autograd.grad(expected, list(model.parameters()))
    for (name, _), slope in zip(model.named_parameters(), slopes, strict=True):
        torch.testing.assert_close(gradient[name], slope, rtol=1e-10, atol=1e-12)


def test_it_is_a_function_of_the_parameters_that_are_given() -> None:
    model, other = network(), network(seed=1)
    mean_loss = MeanLoss(model, batches(4))
    assert mean_loss.gradient(dict(other.named_parameters()))[0] == MeanLoss(other, batches(4)).gradient()[0]
    assert mean_loss.gradient()[0] != MeanLoss(other, batches(4)).gradient()[0]


def test_training_mode_is_by_the_batchs_own_statistics_and_the_same_dropout_each_time() -> None:
    model = network()
    evaluated, trained = (MeanLoss(model, batches(6, 6), training=mode).gradient()[0] for mode in (False, True))
    assert evaluated != trained
    assert MeanLoss(model, batches(6, 6), training=True).gradient()[0] == trained
    assert MeanLoss(model, batches(6, 6), training=True, seed=1).gradient()[0] != trained


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_the_network_and_torchs_generator_are_left_as_they_were(*, training: bool, fails: bool) -> None:
    model = network().train()
    model[1].eval()
    weight, other = model.get_parameter("0.weight"), model.get_parameter("5.weight")
    weight.grad = torch.ones_like(weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()

    def loss(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if fails:
            raise RuntimeError
        return functional.cross_entropy(output, targets)

    mean_loss = MeanLoss(model, batches(6), training=training, loss=loss)
    if fails:
        with pytest.raises(RuntimeError):
            mean_loss.gradient()
    else:
        mean_loss.gradient()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [module.training for module in model] == [True, False, True, True, True, True]
    assert torch.equal(torch.get_rng_state(), state)
    assert weight.grad.sum() == weight.numel()
    assert other.grad is None


def test_every_batch_begins_with_the_networks_own_buffers() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.calls: torch.Tensor
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            self.calls.add_(1)
            return inputs * self.weight * self.calls

    model = Counting()
    parts = [(torch.ones(2), torch.zeros(2))] * 3
    assert MeanLoss(model, parts, loss=lambda output, _: output.mean()).gradient()[0] == 1
    assert model.calls.item() == 0


def test_parameters_that_are_frozen_have_no_gradient_and_those_without_a_part_have_zero() -> None:
    model = network()
    model.get_parameter("0.weight").requires_grad = False
    model.register_parameter("spare", nn.Parameter(torch.ones(3)))
    _, gradient = MeanLoss(model, batches(4)).gradient()
    assert "0.weight" not in gradient
    assert gradient["spare"].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="requires a gradient"):
        MeanLoss(model.requires_grad_(requires_grad=False), batches(4))


def test_half_precision_is_added_up_in_double() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 5)).bfloat16()
    parts = [(inputs.bfloat16(), targets) for inputs, targets in batches(3, 2)]
    assert {slope.dtype for slope in MeanLoss(model, parts).gradient()[1].values()} == {torch.float64}


def test_positions_are_classified_too_and_logits_must_fit() -> None:
    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(14).reshape(2, 7) % 5
    assert classification_loss(logits, targets) == functional.cross_entropy(logits, targets)
    with pytest.raises(ClassesError, match="5 classes"):
        classification_loss(logits, targets + 1)


def test_the_first_examples_are_taken_and_the_last_batch_is_cut() -> None:
    taken = first_examples(batches(4, 4, 4), 6, CPU)
    assert [len(targets) for _, targets in taken] == [4, 2]
    assert torch.equal(taken[1][0], batches(4, 4)[1][0][:2])
    assert [len(targets) for _, targets in first_examples(batches(4, 4), None, CPU)] == [4, 4]


def test_a_pass_over_data_that_count_their_passes_does_not_count() -> None:
    data = open_data("scenes?steps=3", batch_size=4)
    first_examples(data, 5, CPU)
    assert data.epoch == 0


def test_without_examples_there_is_no_loss() -> None:
    for empty in ([], [(torch.zeros(0, 3), torch.zeros(0))]):
        with pytest.raises(ValueError, match="no example"):
            first_examples(empty, None, CPU)


def test_what_is_not_finite_is_said_and_survives_a_worker() -> None:
    error = not_finite("the loss")
    assert "the loss is not finite" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own


def test_a_network_that_writes_into_its_inputs_has_the_same_loss_again_and_leaves_the_data() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            inputs -= 3
            return self.layer(inputs)  # type: ignore[no-any-return]

    data = [(torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))]
    before = data[0][0].clone()
    (kept,) = first_examples(data, None, CPU)
    kept[0].add_(1)
    assert torch.equal(data[0][0], before)
    loss = MeanLoss(Centred(), data)
    assert loss.gradient()[0] == loss.gradient()[0]
    assert torch.equal(data[0][0], before)
