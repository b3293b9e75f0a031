from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from weightatlas.data import Scenes
from weightatlas.data.scenes import (
    COLOURS,
    LABELS,
    LAWS,
    ORDERS,
    Difficulty,
    Label,
    Law,
    _colours,
    _falloff,
    _layered,
    _owners,
)

DIFFICULTIES = tuple(LAWS)
Images = tuple[torch.Tensor, torch.Tensor]


def collect(label: Label, *, images: int, seed: int = 0, size: int = 24, difficulty: Difficulty = "easy") -> Images:
    batches = list(Scenes(label, size=size, batch=256, steps=images // 256, seed=seed, difficulty=difficulty))
    return torch.cat([inputs for inputs, _ in batches]), torch.cat([targets for _, targets in batches])


TABLE = {
    "easy": (0.16, 0.10, 0.04, 0.6, 0.6),
    "medium": (0.25, 0.09, 0.03, 0.5, 0.5),
    "hard": (1 / 3, 0.07, 0.03, 0.4, 0.4),
}
"""Jitter, radius and its range, strength and its range, as the docstring has them."""


@functools.cache
def one_over_f(size: int) -> np.ndarray:
    """The background's spectrum, frequency by frequency."""
    spectrum = np.zeros((size, size))
    for i, j in itertools.product(range(size), range(size)):
        frequency = np.hypot(np.fft.fftfreq(size)[i], np.fft.fftfreq(size)[j])
        spectrum[i, j] = 1 / frequency if frequency else 0
    return spectrum


def scene_by_the_recipe(rng: np.random.Generator, size: int, difficulty: Difficulty = "easy") -> tuple[np.ndarray, int]:
    """One image and its "top" label, drawn step by step as the definition reads: slow and obvious."""
    jitter, smallest, larger, faintest, stronger = TABLE[difficulty]
    noise = np.fft.fft2(rng.normal(size=(3, size, size))) * one_over_f(size)
    background = np.fft.ifft2(noise).real
    image = 0.7 * background / background.std() + 0.2 * rng.normal(size=(3, size, size))
    kinds = rng.permutation(4)[:3]
    permutation = rng.permutation(3)
    rows, columns = np.mgrid[:size, :size]
    for j in rng.permutation(3):
        y = size * ((j + 0.5) / 3 + jitter * (rng.uniform() - 0.5))
        x = size * ((permutation[j] + 0.5) / 3 + jitter * (rng.uniform() - 0.5))
        radius = size * (smallest + larger * rng.uniform())
        mask = 1 / (1 + np.exp(-2 * (radius - np.hypot(rows - y, columns - x))))
        strength = faintest + stronger * rng.uniform()
        colour = strength * np.array(COLOURS[kinds[j]])[:, None, None]
        content = colour + 0.4 * rng.normal(size=(3, size, size))
        image = image * (1 - mask) + content * mask
    return image, int(kinds[0])


def kind_seen_in(part: torch.Tensor) -> torch.Tensor:
    """The colour with the strongest blurred peak in a part of each image: (images, 3, h, w) to (images,)."""
    colours = torch.tensor(COLOURS)
    colours = colours / colours.norm(dim=1, keepdim=True)
    likeness = torch.einsum("kc,nchw->nkhw", colours, part)
    return functional.avg_pool2d(likeness, 5, stride=1).amax(dim=(2, 3)).argmax(dim=1)


def largest_difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """Largest difference between the means of two samples over all entries, in its own standard errors."""
    error = (first.var(dim=0) / len(first) + second.var(dim=0) / len(second)).sqrt()
    return float(((first.mean(dim=0) - second.mean(dim=0)).abs() / error).max())


def second_moments(images: torch.Tensor) -> torch.Tensor:
    """Products of pixels with their neighbours below and to the right and with themselves."""
    inner = images[:, :, :-1, :-1]
    return torch.stack([inner * inner, inner * images[:, :, 1:, :-1], inner * images[:, :, :-1, 1:]], dim=1)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_vectorised_law_is_that_of_the_recipe_step_by_step(difficulty: Difficulty) -> None:
    rng = np.random.default_rng(0)
    drawn = [scene_by_the_recipe(rng, 12, difficulty) for _ in range(3000)]
    slow = torch.tensor(np.stack([image for image, _ in drawn]), dtype=torch.float32)
    fast, targets = collect("top", images=8192, size=12, difficulty=difficulty)
    assert largest_difference(slow, fast) < 5
    assert largest_difference(second_moments(slow), second_moments(fast)) < 5
    top_red = torch.tensor([label == 0 for _, label in drawn])
    assert largest_difference(slow[top_red], fast[targets == 0]) < 5
    assert largest_difference(slow[top_red], fast[targets == 1]) > 7, "the comparison would see a wrong label"


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("label", LABELS)
def test_images_have_the_same_law_when_x_and_y_change_places(label: Label, difficulty: Difficulty) -> None:
    images, _ = collect(label, images=8192, seed=1, difficulty=difficulty)
    half, other = images.tensor_split(2)
    assert largest_difference(half, other.mT) < 5
    moments, turned = second_moments(half), second_moments(other.mT)
    assert largest_difference(moments, turned) < 5


def test_large_discs_that_cover_each_other_do_not_tell_x_from_y(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAWS, "hard", Law(1 / 3, (0.4, 0.0), (1.0, 0.0)))
    images, _ = collect("top", images=8192, seed=1, size=12, difficulty="hard")
    half, other = images.tensor_split(2)
    assert largest_difference(second_moments(half), second_moments(other.mT)) < 5


@pytest.mark.parametrize(("label", "symmetric"), [("top", False), ("left", False), ("set", True)])
def test_only_a_label_about_position_tells_x_from_y(label: Label, *, symmetric: bool) -> None:
    images, targets = collect(label, images=8192, seed=2)
    red = images[targets == 0]
    half, other = red.tensor_split(2)
    difference = largest_difference(half, other.mT)
    assert difference < 5 if symmetric else difference > 15


@pytest.mark.parametrize(("difficulty", "right"), [("easy", 0.95), ("medium", 0.8), ("hard", 0.45)])
def test_the_label_is_the_kind_of_the_topmost_or_leftmost_disc(difficulty: Difficulty, right: float) -> None:
    for label, part in (("top", np.s_[:, :, :8, :]), ("left", np.s_[:, :, :, :8])):
        images, targets = collect(label, images=1024, difficulty=difficulty)  # type: ignore[arg-type]
        assert float((kind_seen_in(images[part]) == targets).float().mean()) > right
        across = images.mT[part]
        assert float((kind_seen_in(across) == targets).float().mean()) < 0.4, "the other axis says a third"


def test_the_control_asks_for_the_kind_that_is_missing_of_the_same_images() -> None:
    images, top = collect("top", images=1024)
    same, missing = collect("set", images=1024)
    assert torch.equal(images, same)
    assert not bool((top == missing).any())
    shown = torch.stack([kind_seen_in(images[:, :, 8 * third : 8 * third + 8]) for third in range(3)], dim=1)
    assert float((shown != missing[:, None]).all(dim=1).float().mean()) > 0.9


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("label", LABELS)
def test_every_answer_is_equally_frequent(label: Label, difficulty: Difficulty) -> None:
    if label == "mask":
        pytest.skip("a pixel is background most of the time")
    _, targets = collect(label, images=8192, seed=3, size=12, difficulty=difficulty)
    classes = Scenes(label).classes
    counts = torch.bincount(targets, minlength=classes)
    assert counts.shape == (classes,)
    expected = 8192 / classes
    limit = {4: 16.3, 24: 49.7}[classes]
    assert float(((counts - expected).square() / expected).sum()) < limit, "chi-squared, p = .001"


def test_the_order_of_the_same_images_is_told_from_top_to_bottom() -> None:
    images, top = collect("top", images=1024)
    same, orders = collect("order", images=1024)
    assert torch.equal(images, same)
    told = torch.tensor(ORDERS)[orders]
    assert torch.equal(told[:, 0], top)
    assert torch.equal(collect("set", images=1024)[1], 6 - told.sum(dim=1)), "the kind that is missing"
    shown = torch.stack([kind_seen_in(images[:, :, 8 * third : 8 * third + 8]) for third in range(3)], dim=1)
    assert float((shown == told).float().mean()) > 0.9
    names = Scenes("order").class_names
    assert (len(set(names)), names[0], names[-1]) == (24, "red over green over blue", "yellow over blue over green")


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_masks_show_where_the_kinds_of_the_same_images_are(difficulty: Difficulty) -> None:
    images, orders = collect("order", images=512, difficulty=difficulty)
    same, masks = collect("mask", images=512, difficulty=difficulty)
    assert torch.equal(images, same)
    assert masks.shape == (512, 24, 24)
    shown = torch.tensor(ORDERS)[orders]
    counts = torch.stack([(masks == 1 + kind).sum(dim=(1, 2)) for kind in range(4)], dim=1)
    missing = counts.gather(1, 6 - shown.sum(dim=1, keepdim=True))
    assert int(missing.sum()) == 0, "the kind that is not shown owns no pixel"
    # Of a disc of radius r that nothing covers pi r^2 pixels are nearer than r to its middle, where its share is 1/2.
    law = LAWS[difficulty]
    radii = 24 * (law.radius[0] + law.radius[1] * torch.linspace(0, 1, 101))
    expected = float((np.pi * radii.square()).mean())
    seen = float(counts.sum(dim=1).float().mean()) / 3
    assert 0.85 * expected < seen < 1.02 * expected, "neighbours cover a little"


def test_a_mask_s_pixels_have_the_colour_of_their_kind() -> None:
    images, masks = collect("mask", images=256)
    colours = torch.tensor(COLOURS)
    for kind in range(4):
        mean = images.movedim(1, 3)[masks == 1 + kind].mean(dim=0)
        assert int((colours @ mean).argmax()) == kind
        assert float(torch.cosine_similarity(mean, colours[kind], dim=0)) > 0.98
    rows = torch.arange(24.0)
    top = collect("top", images=256)[1]
    middles = torch.stack(
        [((masks == 1 + kind).sum(dim=2) * rows).sum(dim=1) / (masks == 1 + kind).sum(dim=(1, 2)) for kind in range(4)]
    )
    highest = torch.nan_to_num(middles, nan=99.0).argmin(dim=0)
    assert float((highest == top).float().mean()) > 0.97


def test_where_no_disc_has_more_than_half_of_a_pixel_it_is_background() -> None:
    kinds = torch.tensor([[3, 0, 2]])
    shares = torch.tensor([[[[0.6, 0.3, 0.5]], [[0.4, 0.3, 0.0]], [[0.0, 0.3, 0.5]]]])
    assert _owners(kinds, shares).tolist() == [[[4, 0, 0]]]


def test_later_discs_cover_earlier_ones() -> None:
    masks = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    layers = torch.eye(4)[:, :, None, None]
    picture = layers[0].expand(2, 4, 5, 5)
    for disc in range(3):
        mask = masks[:, disc : disc + 1]
        picture = picture * (1 - mask) + layers[disc + 1] * mask
    behind, shares = _layered(masks)
    torch.testing.assert_close(torch.cat([behind, shares], dim=1), picture)


def test_a_second_pass_gives_the_same_batches_and_another_seed_others() -> None:
    scenes = Scenes("top", batch=4, steps=3)
    first, again = list(scenes), list(scenes)
    assert len(first) == len(scenes) == 3
    assert all(torch.equal(a, b) and torch.equal(s, t) for (a, s), (b, t) in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], first[1][0])
    assert not torch.equal(first[0][0], next(iter(Scenes("top", batch=4, seed=1)))[0])


def test_two_passes_at_once_do_not_disturb_each_other() -> None:
    scenes = Scenes("left", batch=4, steps=3)
    for (images, _), (others, _) in zip(scenes, scenes, strict=True):
        assert torch.equal(images, others)


def test_any_batch_can_be_drawn_by_its_number() -> None:
    scenes = Scenes("left", batch=4, steps=3, difficulty="hard")
    for number, (images, targets) in reversed(list(enumerate(scenes))):
        drawn, labels = scenes.drawn(number)
        assert torch.equal(drawn, images)
        assert torch.equal(labels, targets)
    later = [scenes.drawn(number)[0] for number in (3, 10**9)]
    assert not torch.equal(*later)
    with pytest.raises(ValueError, match="numbered from 0, not -1"):
        scenes.drawn(-1)


def test_held_out_scenes_are_fixed_and_not_those_of_any_training_seed() -> None:
    held_out = Scenes("top", batch=4, seed=5).held_out(steps=2)
    assert len(held_out) == 2
    images, targets = next(iter(held_out))
    again, same = next(iter(held_out))
    assert torch.equal(images, again)
    assert torch.equal(targets, same)
    assert all(not torch.equal(images, next(iter(Scenes("top", batch=4, seed=seed)))[0]) for seed in range(20))


def test_images_are_floats_of_about_unit_size_and_global_randomness_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    images, targets = next(iter(Scenes(size=32, batch=64)))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert images.dtype == torch.float32
    assert images.shape == (64, 3, 32, 32)
    assert targets.dtype == torch.int64
    assert 0.6 < float(images.std()) < 1.2
    assert abs(float(images.mean())) < 0.1


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="label must be one of top, left, set, order, mask, not 'bottom'"):
        Scenes("bottom")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="split must be one of"):
        Scenes(split="validation")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="difficulty must be one of easy, medium, hard, not 'harder'"):
        Scenes(difficulty="harder")  # type: ignore[arg-type]
    for options in ({"size": 8}, {"batch": 0}, {"steps": 0}):
        with pytest.raises(ValueError, match="scenes need size >= 12"):
            Scenes(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("default", [torch.bfloat16, torch.float64])
def test_torch_s_default_type_does_not_matter(default: torch.dtype) -> None:
    scenes = Scenes(batch=4, size=13)
    torch.set_default_dtype(default)
    try:
        images, _ = scenes.drawn(5)
    finally:
        torch.set_default_dtype(torch.float32)
    assert images.dtype == torch.float32
    _falloff.cache_clear()
    _colours.cache_clear()
    assert torch.equal(images, scenes.drawn(5)[0])
