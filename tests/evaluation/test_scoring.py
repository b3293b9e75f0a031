from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.evaluation.scoring import ClassesError, evaluate, in_full, logits_of, score_sums


def logits_and_targets(*, classes: int = 8, examples: int = 37) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(examples, classes, generator=generator), torch.randint(classes, (examples,), generator=generator)


def test_the_score_is_that_of_a_loop_over_examples() -> None:
    logits, targets = logits_and_targets()
    loss, first, five = 0.0, 0, 0
    for row, target in zip(logits.double().numpy(), targets.tolist(), strict=True):
        loss += np.log(np.exp(row).sum()) - row[target]
        order = np.argsort(-row).tolist()
        first += order[0] == target
        five += target in order[:5]
    score = evaluate(nn.Identity(), [(logits[:20], targets[:20]), (logits[20:], targets[20:])])
    assert score.loss == pytest.approx(loss / 37, rel=1e-6)
    assert (score.accuracy, score.top5, score.examples) == (first / 37, five / 37, 37)
    assert 0 < score.accuracy < score.top5 < 1, "chance should get some right, some among five, and some wrong"


def test_how_examples_are_cut_into_batches_does_not_matter() -> None:
    logits, targets = logits_and_targets()
    whole = evaluate(nn.Identity(), [(logits, targets)])
    cut = evaluate(nn.Identity(), list(zip(torch.split(logits, 7), torch.split(targets, 7), strict=True)))
    assert (cut.accuracy, cut.top5, cut.examples) == (whole.accuracy, whole.top5, whole.examples)
    assert cut.loss == pytest.approx(whole.loss, rel=1e-6)


def test_with_fewer_than_six_classes_all_are_among_five() -> None:
    logits, targets = logits_and_targets(classes=3)
    assert evaluate(nn.Identity(), [(logits, targets)]).top5 == 1


@pytest.mark.parametrize("training", [True, False])
def test_it_runs_in_evaluation_mode_without_gradients_and_puts_the_mode_back(*, training: bool) -> None:
    seen = []

    class Watched(nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            seen.append((self.training, torch.is_grad_enabled()))
            return super().forward(inputs)

    model = nn.Sequential(nn.BatchNorm1d(3).eval(), Watched(3, 2).train(training))
    evaluate(model, [(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))])
    assert seen == [(False, False)]
    assert [model.training, *(module.training for module in model)] == [True, False, training]


def test_the_mode_is_put_back_after_an_error_too() -> None:
    model = nn.Linear(3, 2)
    with pytest.raises(RuntimeError):
        evaluate(model, [(torch.zeros(4, 5), torch.zeros(4, dtype=torch.int64))])
    assert model.training


def test_no_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="no batch"):
        evaluate(nn.Identity(), [])


def test_logits_are_taken_from_what_transformers_give() -> None:
    logits, targets = logits_and_targets()
    assert logits_of(SimpleNamespace(logits=logits), targets) is logits


@pytest.mark.parametrize(
    ("output", "what"),
    [
        (torch.zeros(37, 8, 2), r"gives \[37, 8, 2\] for 37 inputs"),
        (torch.zeros(36, 8), r"gives \[36, 8\] for 37 inputs"),
        ({"scores": torch.zeros(37, 8)}, "gives dict for 37 inputs"),
        (SimpleNamespace(logits=None), "gives SimpleNamespace"),
    ],
)
def test_what_is_no_row_of_logits_an_example_is_refused(output: object, what: str) -> None:
    with pytest.raises(ClassesError, match=what):
        logits_of(output, torch.zeros(37, dtype=torch.int64))


def test_every_position_counts_as_an_example_of_its_own() -> None:
    logits, targets = logits_and_targets(classes=7, examples=24)
    whole = evaluate(nn.Identity(), [(logits, targets)])
    texts = logits.reshape(6, 4, 7).movedim(1, 2), targets.reshape(6, 4)
    found = evaluate(nn.Identity(), [texts])
    assert (found.accuracy, found.top5, found.examples) == (whole.accuracy, whole.top5, 24)
    assert found.loss == pytest.approx(whole.loss)


@pytest.mark.parametrize(
    ("output", "what"),
    [
        (torch.zeros(5, 8), r"the targets are int64 \[5, 4\]"),
        (torch.zeros(5, 4, 8), r"gives \[5, 4, 8\] for 5 inputs; a classifier gives logits \(batch, classes, 4\)"),
        (torch.zeros(4, 8, 4), r"gives \[4, 8, 4\] for 5 inputs"),
    ],
)
def test_logits_that_do_not_fit_their_positions_are_refused(output: torch.Tensor, what: str) -> None:
    with pytest.raises(ClassesError, match=what):
        logits_of(output, torch.zeros(5, 4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("given", "wide"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_logits_are_widened_and_never_narrowed(given: torch.dtype, wide: torch.dtype) -> None:
    assert in_full(torch.zeros(1, dtype=given)).dtype == wide


def test_batches_are_made_outside_of_the_context_that_the_network_runs_in() -> None:
    class DoubleByDefault:
        def __enter__(self) -> None:
            torch.set_default_dtype(torch.float64)

        def __exit__(self, *_: object) -> None:
            torch.set_default_dtype(torch.float32)

    made = []

    class Doubled(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs + torch.ones(1)

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _ in range(2):
            made.append(torch.ones(3, 2))
            yield made[-1], torch.zeros(3, dtype=torch.int64)

    sums = score_sums(Doubled(), batches(), within=DoubleByDefault)
    assert [tensor.dtype for tensor in made] == [torch.float32] * 2
    assert sums[3] == 6


@pytest.mark.parametrize(
    ("targets", "what"),
    [
        (torch.tensor([0.0, 1.0]), r"the targets are float32 \[2\]"),
        (torch.tensor([[0], [1]]), r"the targets are int64 \[2, 1\]"),
        (torch.tensor([0, 3]), "targets are 0 to 3, where the network tells 3 classes apart"),
        (torch.tensor([-1, 2]), "targets are -1 to 2"),
    ],
)
def test_targets_that_are_no_classes_of_the_network_are_refused(targets: torch.Tensor, what: str) -> None:
    with pytest.raises(ClassesError, match=what):
        evaluate(nn.Identity(), [(torch.zeros(2, 3), targets)])


def test_every_pixel_counts_as_an_example_of_its_own() -> None:
    logits, targets = logits_and_targets(classes=7, examples=24)
    whole = evaluate(nn.Identity(), [(logits, targets)])
    maps = logits.reshape(2, 4, 3, 7).movedim(3, 1), targets.reshape(2, 4, 3)
    found = evaluate(nn.Identity(), [maps])
    assert (found.accuracy, found.top5, found.examples) == (whole.accuracy, whole.top5, 24)
    assert found.loss == pytest.approx(whole.loss)


def test_torchvision_s_networks_of_segmentation_name_their_logits_out() -> None:
    logits, targets = torch.zeros(2, 5, 4, 3), torch.zeros(2, 4, 3, dtype=torch.int64)
    assert logits_of({"out": logits, "aux": None}, targets) is logits


@pytest.mark.parametrize(
    ("output", "what"),
    [
        (torch.zeros(2, 8, 3, 4), r"a classifier gives logits \(batch, classes, 4, 3\)"),
        (torch.zeros(2, 8), r"the targets are int64 \[2, 4, 3\]"),
        (torch.zeros(2, 8, 4), r"the targets are int64 \[2, 4, 3\]"),
        ({"out": None}, "the targets are"),
    ],
)
def test_logits_that_do_not_fit_a_map_are_refused(output: object, what: str) -> None:
    with pytest.raises(ClassesError, match=what):
        logits_of(output, torch.zeros(2, 4, 3, dtype=torch.int64))
