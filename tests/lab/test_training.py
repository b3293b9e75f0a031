from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from tests.lab.small_runs import CPU, convolutional, equal, images, perceptron, points, seeded, weight, with_auxiliary
from weightatlas.data import Augmentation, ResidentFeed, SceneFeed, Scenes
from weightatlas.data.examples import held_in_memory
from weightatlas.errors import SourceError
from weightatlas.evaluation.scoring import ClassesError, evaluate
from weightatlas.lab import DivergedError, OutOfMemoryError, Recipe, RunFolder, train
from weightatlas.lab.devices import open_fabric
from weightatlas.lab.optimisation import make_optimizer, rates, set_rates
from weightatlas.lab.training import Log, evaluate_together
from weightatlas.nn import LanguageModel
from weightatlas.nn.segmentation import Segmenter

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.data import Feed
    from weightatlas.lab.configuration import Optimizer, Precision

BARE: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.01),
}


def bare(
    model: nn.Module, feed: Feed, *, steps: int, size: int, optimizer: str, clip: float | None = None
) -> list[float]:
    """A loop as anybody writes it, on the batches of a feed."""
    made, losses = BARE[optimizer](model.parameters()), []
    schedule = torch.optim.lr_scheduler.OneCycleLR(made, 0.1, total_steps=steps, pct_start=0.15)
    model.train()
    for step in range(steps):
        inputs, targets = feed.batch(step * size, size)
        loss = functional.cross_entropy(model(inputs), targets)
        made.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
        if step < steps - 1:
            schedule.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_weights_are_those_of_a_bare_loop_bit_for_bit(optimizer: Optimizer, *, norm: bool) -> None:
    ours, theirs = convolutional(norm=norm), convolutional(norm=norm)
    recipe = Recipe(steps=30, batch_size=16, optimizer=optimizer, learning_rate=0.1, weight_decay=0.01)
    training = train(ours, images(), recipe, devices=CPU)
    losses = bare(theirs, images(), steps=30, size=16, optimizer=optimizer)
    assert equal(ours, theirs)
    np.testing.assert_allclose(training.losses, losses, rtol=1e-6)
    assert training.losses[-5:].mean() < 0.8 * training.losses[:5].mean()


def test_clipping_is_torchs_own() -> None:
    ours, theirs = perceptron(), perceptron()
    recipe = Recipe(steps=20, batch_size=16, optimizer="sgd", learning_rate=0.1, clip=0.05)
    train(ours, points(), recipe, devices=CPU)
    bare(theirs, points(), steps=20, size=16, optimizer="sgd", clip=0.05)
    assert equal(ours, theirs)


@pytest.mark.parametrize(("size", "parts"), [(16, 4), (16, 16), (13, 4), (5, 16)])
def test_accumulation_is_no_accumulation_to_rounding(size: int, parts: int) -> None:
    whole, cut = perceptron(), perceptron()
    recipe: dict[str, Any] = {"steps": 12, "batch_size": size, "optimizer": "sgd", "learning_rate": 0.1}
    recipe["precision"] = "64-true"
    one = train(whole, points(), Recipe(**recipe), devices=CPU)
    other = train(cut, points(), Recipe(**recipe, accumulate=parts), devices=CPU)
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-12)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(cut.state_dict()[name], tensor, rtol=1e-11, atol=1e-13)


def test_double_precision_is_double_from_end_to_end() -> None:
    model = perceptron()
    loss = train(model, points(), Recipe(steps=1, batch_size=40, precision="64-true"), devices=CPU).losses[0]
    inputs, targets = points().batch(0, 40)
    expected = functional.cross_entropy(perceptron().double()(inputs.double()), targets).item()
    assert loss == pytest.approx(expected, rel=1e-14)
    assert weight(model, "0.weight").dtype == torch.float64


def test_precision_does_not_decide_what_is_drawn_for_evaluation() -> None:
    from weightatlas.data import SceneFeed, Scenes
    from weightatlas.nn import SMALL, SimplifiedNetwork

    scores = []
    both: tuple[Precision, ...] = ("32-true", "64-true")
    for precision in both:
        model = SimplifiedNetwork(SMALL, width=0.125, input_size=24, classes=4)
        held_out = SceneFeed(Scenes("top", steps=1, split="held-out"))
        recipe = Recipe(steps=1, batch_size=8, precision=precision)
        scores.append(train(model, SceneFeed(Scenes("top")), recipe, held_out=held_out, devices=CPU).score)
    assert scores[0].loss == pytest.approx(scores[1].loss, rel=1e-4)  # type: ignore[union-attr]


def test_label_smoothing_is_torchs_own() -> None:
    training = train(perceptron(), points(), Recipe(steps=1, batch_size=40, label_smoothing=0.2), devices=CPU)
    inputs, targets = points().batch(0, 40)
    expected = functional.cross_entropy(perceptron()(inputs), targets, label_smoothing=0.2).item()
    assert training.losses[0] == pytest.approx(expected, rel=1e-6)


def test_channels_last_gives_the_same_network_to_rounding() -> None:
    plain, last = convolutional(), convolutional()
    recipe: dict[str, Any] = {"steps": 8, "batch_size": 16, "optimizer": "sgd"}
    train(plain, images(), Recipe(**recipe), devices=CPU)
    train(last, images(), Recipe(**recipe, channels_last=True), devices=CPU)
    assert weight(last, "0.weight").is_contiguous(memory_format=torch.channels_last)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(last.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision_learns_and_differs_from_full(precision: Precision) -> None:
    model, full = perceptron(), perceptron()
    recipe = Recipe(steps=60, batch_size=16, learning_rate=0.05, precision=precision)
    losses = train(model, points(), recipe, devices=CPU, held_out=points(seed=1)).losses
    train(full, points(), Recipe(steps=60, batch_size=16, learning_rate=0.05), devices=CPU)
    assert np.isfinite(losses).all()
    assert losses[-5:].mean() < 0.3 * losses[0]
    assert not torch.equal(weight(model, "0.weight").float(), weight(full, "0.weight"))
    assert weight(model, "0.weight").dtype == (torch.float32 if precision == "bf16-mixed" else torch.bfloat16)


def test_the_seed_fixes_dropout_and_leaves_the_global_generator_alone() -> None:
    models = [perceptron(dropout=0.5) for _ in range(3)]
    before = torch.random.get_rng_state()
    for model, seed in zip(models, (1, 1, 2), strict=True):
        train(model, points(), Recipe(steps=6, batch_size=8), seed=seed, devices=CPU)
        assert torch.equal(torch.random.get_rng_state(), before)
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])


def test_masks_of_dropout_differ_from_update_to_update() -> None:
    masks = []

    class Watched(nn.Dropout):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            output = super().forward(torch.ones_like(inputs))
            masks.append(output.clone())
            return output * inputs

    model = seeded(lambda: nn.Sequential(nn.Linear(3, 8), Watched(0.5), nn.Linear(8, 3)))
    train(model, points(), Recipe(steps=4, batch_size=8), devices=CPU)
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 4


def test_a_network_that_gives_an_object_with_logits_trains_as_one_that_gives_them() -> None:
    model, plain = with_auxiliary(), convolutional()
    for each in (model, plain):
        train(each, images(), Recipe(steps=5, batch_size=8), devices=CPU, held_out=images(seed=1))
    assert equal(model.inner, plain)
    assert equal(model.aside, with_auxiliary().aside)


def test_what_gives_no_logits_is_refused() -> None:
    with pytest.raises(ClassesError, match=r"gives \[8, 3, 1\] for 8 inputs"):
        train(
            nn.Sequential(perceptron(), nn.Unflatten(1, (3, 1))), points(), Recipe(steps=1, batch_size=8), devices=CPU
        )


def test_frozen_weights_stay() -> None:
    model = perceptron()
    model[0].requires_grad_(False)
    train(model, points(), Recipe(steps=5, batch_size=8), devices=CPU)
    assert equal(model[0], perceptron()[0])
    assert not equal(model[3], perceptron()[3])


def texts(*, count: int = 40) -> ResidentFeed:
    """Texts of six symbols that count up by one, from anywhere."""
    starts = torch.arange(count)[:, None] % 5
    chains = (starts + torch.arange(7)) % 5
    return ResidentFeed(held_in_memory("texts", chains[:, :-1].float(), chains[:, 1:], classes=tuple("abcde")))


def test_a_network_that_answers_at_every_position_trains_on_the_mean_over_all() -> None:
    ours, theirs = (LanguageModel(layers=1, width=32, classes=5, context=6, seed=1) for _ in range(2))
    recipe = Recipe(steps=30, batch_size=16, learning_rate=0.01, weight_decay=0.01)
    training = train(ours, texts(), recipe, devices=CPU, held_out=texts())
    made = make_optimizer(theirs.parameters(), recipe)
    for step in range(30):
        inputs, targets = texts().batch(step * 16, 16)
        flat = theirs(inputs).movedim(1, 2).reshape(-1, 5)
        loss = functional.cross_entropy(flat, targets.reshape(-1))
        assert training.losses[step] == pytest.approx(loss.item(), rel=1e-4)
        made.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        set_rates(made, rates(recipe, step, 30))
        made.step()
    assert training.score is not None
    assert training.score.examples == 40 * 6
    assert training.score.accuracy == 1


def test_a_network_that_answers_at_every_pixel_trains_on_the_mean_over_all() -> None:
    ours, theirs = (Segmenter(width=0.125, seed=1) for _ in range(2))
    recipe = Recipe(steps=3, batch_size=4, accumulate=2, optimizer="sgd", learning_rate=0.1)
    masks = SceneFeed(Scenes("mask", size=12, batch=4, steps=2), augmentation=Augmentation(flip=True))
    training = train(ours, masks, recipe, devices=CPU, held_out=masks)
    made = make_optimizer(theirs.parameters(), recipe)
    for step in range(3):
        inputs, targets = masks.batch(step * 4, 4)
        made.zero_grad()
        parts = zip(torch.split(inputs, 2), torch.split(targets, 2), strict=True)
        losses = [functional.cross_entropy(theirs(images), answers) / 2 for images, answers in parts]
        assert training.losses[step] == pytest.approx(float(sum(loss.detach() for loss in losses)), rel=1e-5)
        for loss in losses:
            loss.backward()  # type: ignore[no-untyped-call]
        set_rates(made, rates(recipe, step, 3))
        made.step()
    assert training.score is not None
    assert training.score.examples == 8 * 12 * 12


def test_losses_are_whole_without_a_folder_too_and_the_model_ends_in_evaluation_mode() -> None:
    heard: list[tuple[int, int]] = []
    model = perceptron(dropout=0.5)
    training = train(
        model,
        points(),
        Recipe(steps=19, batch_size=8),
        devices=CPU,
        progress=lambda done, total, _label: heard.append((done, total)),
    )
    assert training.losses.shape == (19,)
    assert np.isfinite(training.losses).all()
    assert heard[-1] == (19, 19)
    assert not any(module.training for module in model.modules())
    assert training.score is None
    assert training.seconds > 0


def test_the_score_is_that_of_the_network_as_it_is_left() -> None:
    model, held_out = perceptron(), points(seed=1)
    training = train(
        model, points(), Recipe(steps=40, batch_size=16, learning_rate=0.05), devices=CPU, held_out=held_out
    )
    assert training.score == evaluate(model, held_out.in_order(256))
    assert training.score.accuracy > 0.6


def test_only_the_examples_asked_for_are_scored() -> None:
    fabric, model = open_fabric(CPU, "32-true"), perceptron()
    many = points(count=600)
    assert evaluate_together(fabric, model, many, examples=300).examples == 300
    assert evaluate_together(fabric, model, many).examples == 600


def test_every_kept_checkpoint_is_scored_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.held():
        training = train(
            perceptron(),
            points(),
            Recipe(steps=6, batch_size=8),
            devices=CPU,
            folder=folder,
            held_out=points(seed=1),
            keeps=frozenset({0, 2, 6}),
            saves=frozenset({3}),
        )
    rows = [row for row in folder.rows() if "loss" not in row]
    assert [row["step"] for row in rows] == [0, 2, 6]
    assert rows[-1]["test_accuracy"] == training.score.accuracy  # type: ignore[union-attr]


def broken_at(step: int) -> Log:
    def log(_row: object, number: int) -> None:
        if number >= step:
            raise KeyboardInterrupt

    return log


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop", [2, 17, 30])
def test_a_run_that_was_interrupted_ends_with_the_same_bits(tmp_path: Path, optimizer: Optimizer, stop: int) -> None:
    def one(folder: RunFolder | None, **more: Any) -> tuple[nn.Module, Any]:  # noqa: ANN401 - handed on
        model = seeded(lambda: nn.Sequential(convolutional(norm=True), nn.Dropout(0.3)))
        recipe = Recipe(steps=31, batch_size=12, optimizer=optimizer)
        saves, keeps = frozenset(range(0, 31, 5)), frozenset({0, 4, 31})
        return model, train(model, images(), recipe, folder=folder, saves=saves, keeps=keeps, devices=CPU, **more)

    whole, expected = one(RunFolder(tmp_path / "whole"), held_out=images(seed=1))
    folder = RunFolder(tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt), folder.held():
        one(folder, loggers=[broken_at(stop)], held_out=images(seed=1))
    with folder.held():
        again, training = one(folder, held_out=images(seed=1))
    assert equal(whole, again)
    assert training.score == expected.score
    np.testing.assert_array_equal(training.losses, expected.losses)
    without_time = [[{**row, "seconds": 0} for row in RunFolder(tmp_path / name).rows()] for name in ("whole", "cut")]
    assert without_time[0] == without_time[1]


def test_a_run_that_was_stopped_before_it_was_saved_begins_anew(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    recipe = Recipe(steps=40, batch_size=8)
    with pytest.raises(KeyboardInterrupt), folder.held():
        train(perceptron(), points(), recipe, folder=folder, devices=CPU, loggers=[broken_at(16)])
    assert folder.saved() == ()
    assert folder.rows() != []
    with folder.held():
        train(perceptron(), points(), recipe, folder=folder, devices=CPU)
    assert [row["step"] for row in folder.rows()] == list(range(1, 41))


def test_a_folder_of_a_longer_run_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    train(perceptron(), points(), Recipe(steps=9, batch_size=8), folder=folder, devices=CPU)
    with pytest.raises(SourceError, match="it is at step 9 of a run of 5"):
        train(perceptron(), points(), Recipe(steps=5, batch_size=8), folder=folder, devices=CPU)


def test_a_batch_too_small_for_the_processes_is_refused() -> None:
    several: Any = SimpleNamespace(world_size=3)
    with pytest.raises(SourceError, match="a batch has fewer examples than the 3 processes; raise --batch-size"):
        train(perceptron(), points(), Recipe(steps=5, batch_size=2), devices=several)


def saved_every(folder: RunFolder, model: nn.Module, feed: Feed, *, every: int = 4, **more: Any) -> None:  # noqa: ANN401 - handed on
    recipe = Recipe(steps=40, **{"batch_size": 8, **more})
    train(model, feed, recipe, folder=folder, saves=frozenset(range(0, 41, every)), devices=CPU)


def test_an_input_that_is_no_number_stops_the_run_and_says_where(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    feed = points(count=400, spoilt=123)
    step = next(step for step in range(40) if bool(feed.batch(step * 8, 8)[0].isnan().any())) + 1
    assert step > 4, "otherwise nothing is saved before"
    good = (step - 1) // 4 * 4
    with pytest.raises(DivergedError, match=rf"the loss is nan at step {step}; check .*step-{good:08d}.safetensors"):
        saved_every(folder, perceptron(), feed)
    model = perceptron()
    folder.load(good, model, torch.optim.AdamW(model.parameters()))
    assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())
    assert [row["step"] for row in folder.rows()] == list(range(1, step))


def test_a_learning_rate_that_explodes_leaves_a_finite_checkpoint(tmp_path: Path) -> None:
    folder, model = RunFolder(tmp_path), perceptron()
    more = {"optimizer": "sgd", "learning_rate": 1e30, "schedule": "constant", "weight_decay": 0.0}
    with pytest.raises(DivergedError, match="lower the learning rate"):
        saved_every(folder, model, points(), every=1, **more)
    for step in folder.saved():
        folder.load(step, model, torch.optim.SGD(model.parameters(), momentum=0.9, nesterov=True))
        assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())


def test_weights_broken_by_the_last_update_are_not_saved(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    recipe = Recipe(steps=1, batch_size=8, optimizer="sgd", learning_rate=1e38, schedule="constant")
    with pytest.raises(
        DivergedError, match=r"is not finite after step 1; lower the learning rate; nothing was saved yet"
    ):
        train(nn.Sequential(perceptron(), Scaled()), points(), recipe, folder=folder, devices=CPU)
    assert folder.saved() == ()


class Scaled(nn.Module):
    """Multiplies gradients, not values, so that the first update is too large."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs + 100 * (inputs - inputs.detach())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Quota")])
def test_a_disk_that_fills_while_saving_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    from weightatlas.lab import records

    folder, real = RunFolder(tmp_path), save_file

    def filling(tensors: Any, path: Any, **more: Any) -> None:  # noqa: ANN401 - handed on
        if "step-00000012" in str(path) and "checkpoints" in str(path):
            raise error
        real(tensors, path, **more)

    monkeypatch.setattr(records, "save_file", filling)
    with pytest.raises(
        SourceError, match=r"no space is left for step 12; its last good checkpoint is of step 8; make room"
    ):
        saved_every(folder, perceptron(), points())
    assert folder.saved() == (4, 8)
    monkeypatch.undo()
    model, unbroken = perceptron(), perceptron()
    saved_every(folder, model, points())
    train(unbroken, points(), Recipe(steps=40, batch_size=8), devices=CPU)
    assert equal(model, unbroken)
    assert not list(tmp_path.rglob(".step*"))


class Hungry(nn.Module):
    """Asks for more memory than there is, once."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = perceptron()
        self.calls = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == 7:
            torch.empty(2**46, dtype=torch.uint8)
        logits: torch.Tensor = self.inner(inputs)
        return logits


def test_memory_that_runs_out_is_said_with_what_to_lower(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(OutOfMemoryError, match=r"at step 7 with a batch of 8 in 1 part; .*step-00000004.safetensors"):
        saved_every(folder, Hungry(), points())
