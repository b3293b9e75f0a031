from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nn.maps import random_maps, working_head
from weightatlas.nn import HEADS, GlobalMean, HeadName, MapHead, build_head

KEEP_Y = {"no-pooling", "x-pooling", "xy-pooling", "masks-3", "masks-5", "masks-16", "full-mask", "channel-groups"}
KEEP_Y |= {"spatial-film"}
KEEP_X = (KEEP_Y | {"y-pooling"}) - {"x-pooling"}


def features_by_formula(name: str, channels: int, height: int, width: int) -> int:
    groups = {512: 16, 24: 12, 7: 7, 2: 2}[channels]
    return {
        "gap": channels,
        "no-pooling": channels * height * width,
        "x-pooling": channels * height,
        "y-pooling": channels * width,
        "xy-pooling": channels * (height + width),
        "global-max": 4096,
        "masks-3": 3 * channels,
        "masks-5": 5 * channels,
        "masks-16": 16 * channels,
        "full-mask": channels,
        "attention": channels,
        "channel-groups": 64 * groups,
        "spatial-film": channels,
    }[name]


@pytest.mark.parametrize(("channels", "height", "width"), [(512, 7, 7), (24, 6, 8), (7, 1, 5), (2, 3, 1)])
@pytest.mark.parametrize("name", HEADS)
def test_every_head_gives_as_many_features_as_it_says(name: HeadName, channels: int, height: int, width: int) -> None:
    head = build_head(name, channels, height, width)
    assert head.out_features == features_by_formula(name, channels, height, width)
    assert head(torch.ones(2, channels, height, width)).shape == (2, head.out_features)


@pytest.mark.parametrize("name", HEADS)
def test_images_do_not_mix_in_evaluation(name: HeadName) -> None:
    head = working_head(name, 4, 6, 5).eval()
    maps = random_maps(3, 4, 6, 5)
    torch.testing.assert_close(torch.cat([head(one[None]) for one in maps]), head(maps))


@pytest.mark.parametrize("name", HEADS)
def test_a_head_sees_the_axes_that_its_name_says_and_no_other(name: HeadName) -> None:
    head = working_head(name, 4, 6, 5).eval()
    maps = random_maps(2, 4, 6, 5)
    answer = head(maps)
    keeps = {axis for axis, turned in (("y", maps.flip(2)), ("x", maps.flip(3))) if not head(turned).allclose(answer)}
    assert keeps == {axis for axis, names in (("y", KEEP_Y), ("x", KEEP_X)) if name in names}


@pytest.mark.parametrize("name", HEADS)
def test_every_entry_of_the_map_and_every_parameter_is_used(name: HeadName) -> None:
    head = working_head(name, 4, 6, 5)
    maps = (10 * random_maps(512, 4, 6, 5)).requires_grad_()
    head(maps).square().sum().backward()
    assert isinstance(maps.grad, torch.Tensor)
    assert bool(maps.grad.any(0).all())
    for key, parameter in head.named_parameters():
        assert isinstance(parameter.grad, torch.Tensor), key
        assert bool(parameter.grad.any()), key


@pytest.mark.parametrize("name", ["gap", "full-mask", "spatial-film"])
def test_heads_that_start_from_the_baseline_do(name: HeadName) -> None:
    maps = random_maps(2, 4, 6, 5).abs()
    torch.testing.assert_close(build_head(name, 4, 6, 5).double()(maps), GlobalMean(4, 6, 5)(maps))


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(["gap", "no-pooling", "x-pooling", "y-pooling", "xy-pooling", "full-mask"]),
    seed=st.integers(0, 10**6),
    factor=st.floats(-3, 3),
)
def test_heads_without_a_nonlinearity_are_linear(name: HeadName, seed: int, factor: float) -> None:
    head = working_head(name, 3, 4, 5, seed=seed)
    first, second = random_maps(2, 2, 3, 4, 5, seed=seed)
    torch.testing.assert_close(head(first + factor * second), head(first) + factor * head(second))


@pytest.mark.parametrize("name", HEADS)
def test_a_map_of_another_shape_is_refused_or_taken_by_design(name: HeadName) -> None:
    head = working_head(name, 4, 6, 6).eval()
    with pytest.raises(ValueError, match=r"was built for maps of 4 .*, not for 5 x 6 x 6"):
        head(random_maps(2, 5, 6, 6))
    with pytest.raises(ValueError, match="was built for maps of 4 "):
        head(random_maps(4, 6, 6))
    if name in {"gap", "global-max", "attention", "spatial-film"}:
        assert head(random_maps(2, 4, 9, 8)).shape == (2, head.out_features)
    else:
        with pytest.raises(ValueError, match="was built for maps of 4 x 6 x 6, not for 4 x 1 x 1"):
            head(random_maps(2, 4, 1, 1))


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"head must be one of gap, .*, spatial-film, not 'mean'"):
        build_head("mean", 4, 6, 6)  # type: ignore[arg-type]
    for name in HEADS:
        for sizes in ((0, 6, 6), (4, 0, 6)):
            with pytest.raises(ValueError, match="a head needs 1 or more of everything"):
                build_head(name, *sizes)


def test_a_head_says_its_sizes() -> None:
    head: MapHead = build_head("masks-3", 8, 6, 7)
    assert repr(head) == "SpatialMasks(8, 6, 7, out_features=24)"
