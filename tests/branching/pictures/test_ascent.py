from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.branching.pictures.ascent import Ascent
from weightatlas.branching.pictures.normalising import Normalizing
from weightatlas.branching.pictures.objectives import Objective, aims_at
from weightatlas.branching.pictures.parametrisation import FourierImages
from weightatlas.branching.pictures.tap import trunk
from weightatlas.branching.pictures.transforms import Robustness
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIDE = 8


@contextmanager
def ascent(
    layer: nn.Module, units: Sequence[int], *, available: int = 3, objective: Objective = "channel", seed: int = 0
) -> Iterator[Ascent]:
    """An ascent to units of a network of a single layer."""
    model = nn.Sequential(layer)
    with trunk(model, "0") as run:
        normalizing = Normalizing.of(model, "none", channels=3, device=torch.device("cpu"), dtype=torch.float32)
        aims = aims_at(np.array(units), objective=objective, available=available, layer="0")
        yield Ascent(run, FourierImages(SIDE), normalizing, aims, seed)


def convolution(*, bias: float = 0.0) -> Any:  # noqa: ANN401 - its parts are changed
    layer = nn.Conv2d(3, 3, 3)
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
    return layer


def climb(up: Ascent, spectra: torch.Tensor, *, steps: int = 8, transforms: Robustness | None = None) -> torch.Tensor:
    return up.climb(spectra, steps=steps, learning_rate=0.05, transforms=transforms, after=lambda: None)


@pytest.mark.parametrize("transforms", [None, Robustness(jitter=1, scale=0.05, rotate=2, jitter_after=1)])
def test_every_image_climbs_to_its_own_aim_and_what_was_given_stays(transforms: Robustness | None) -> None:
    done: list[int] = []
    with ascent(convolution(), [2, 0, 1]) as up:
        start = up.start()
        before = start.clone()
        end = up.climb(start, steps=12, learning_rate=0.05, transforms=transforms, after=lambda: done.append(1))
        reached = [up.aims.activations(up.responses(up.images.pictures(each))) for each in (start, end)]
        assert bool((reached[1] > reached[0]).all())
        assert torch.equal(start, before)
    assert not end.requires_grad
    assert len(done) == 12


def test_a_step_of_a_linear_aim_goes_up_its_gradient() -> None:
    # Of a unit that sums a channel of the image up, the best image is bright there and stays grey in no other way.
    layer = nn.Conv2d(3, 3, SIDE, bias=False)
    layer.weight.data = torch.eye(3)[:, :, None, None].expand(3, 3, SIDE, SIDE).clone()
    with ascent(layer, [0, 1, 2]) as up:
        end = climb(up, up.start(), steps=60)
        means = up.images.pictures(end).mean((2, 3)) - up.images.pictures(up.start()).mean((2, 3))
    assert means.argmax(1).tolist() == [0, 1, 2]
    assert bool((means.diagonal() > 0.05).all())


def test_an_image_starts_from_its_own_seed_whichever_are_beside_it() -> None:
    with ascent(convolution(), [0, 2]) as both, ascent(convolution(), [2]) as alone:
        assert torch.equal(both.start()[1:], alone.start())
        assert not torch.equal(both.start()[0], both.start()[1])
        assert float((both.images.pictures(both.start()) - 0.5).abs().max()) < 0.1, "nearly grey"
    with ascent(convolution(), [2], seed=1) as other:
        assert not torch.equal(other.start(), alone.start())


def test_an_image_that_nothing_moves_is_put_back_and_the_others_are_not() -> None:
    layer = convolution()
    layer.weight.data[1] = 0
    with ascent(layer, [0, 1, 2]) as up:
        start = up.start()
        end = climb(up, start)
    assert [torch.equal(one, other) for one, other in zip(start, end, strict=True)] == [False, True, False]


def test_a_shut_rectifier_is_shaken_open() -> None:
    # Nearly grey images leave the unit shut; without random steps it would have no gradient for ever.
    inner = convolution(bias=-1.0)
    inner.weight.data -= inner.weight.data.mean((1, 2, 3), keepdim=True)
    with ascent(nn.Sequential(inner, nn.ReLU()), [0, 1, 2]) as up:
        start = up.start()
        assert float(up.responses(up.images.pictures(start)).detach().abs().max()) == 0
        end = climb(up, start, steps=40)
        assert bool((up.responses(up.images.pictures(end)).detach().amax(1) > 0).all())


def test_what_has_no_gradient_is_refused() -> None:
    class Rounded(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return (images > 0.5).float()

    with ascent(Rounded(), [0]) as up, pytest.raises(SourceError, match=r"^0: .* by any gradient"):
        climb(up, up.start(), steps=1)


def test_bytes_are_the_images_rounded() -> None:
    with ascent(convolution(), [0]) as up:
        grey = torch.zeros_like(up.start())
        assert bool((up.bytes_of(grey) == 128).all())
        spectra = up.images.noise([1, 2], deviation=3.0)
        shown = up.bytes_of(spectra)
        assert shown.dtype == torch.uint8
        assert float((shown / 255 - up.images.pictures(spectra)).abs().max()) <= 0.5 / 255 + 1e-6


def test_excess_has_the_sign_of_what_a_unit_likes() -> None:
    layer = nn.Conv2d(3, 3, SIDE, bias=False)
    pattern = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    layer.weight.data = torch.stack([pattern, -pattern, torch.zeros_like(pattern)])
    with ascent(layer, [0, 1, 2], objective="neuron") as up:
        best = climb(up, up.start(), steps=60)[:1].expand(3, -1, -1, -1, -1)
        with torch.no_grad():
            liked, disliked, dead = up.excess(best, noise=24)
    assert liked > 3
    assert disliked == pytest.approx(-liked, rel=1e-4), "the mirror image of a linear unit"
    assert np.isnan(dead)
