"""Groups are told from the channels that flow in."""

from __future__ import annotations

from weightatlas.anatomy.convolutions import convolution_roles
from weightatlas.anatomy.vocabulary import Part


def kernel(layer: str, *shape: int, groups: int | None = None, activated: bool | None = None) -> Part:
    return Part(layer, "weight", shape, "convolution", groups=groups, activated=activated)


def roles(*parts: Part) -> list[str]:
    found = convolution_roles(parts, {})
    return [found[index] for index in sorted(found)]


def test_one_input_channel_is_depthwise_only_when_more_flow_in() -> None:
    assert roles(kernel("conv1", 32, 1, 3, 3), kernel("conv2", 32, 1, 3, 3)) == ["dense", "depthwise"]
    assert roles(kernel("a", 8, 3, 3), kernel("b", 16, 1, 3)) == ["dense", "depthwise"]
    assert roles(kernel("a", 8, 3, 3, 3, 3), kernel("b", 8, 1, 3, 3, 3)) == ["dense", "depthwise"]


def test_the_halves_of_alexnet_are_two_groups() -> None:
    parts = [
        kernel("features.0", 96, 3, 11, 11),
        kernel("features.3", 256, 48, 5, 5),
        kernel("features.6", 384, 256, 3, 3),
        kernel("features.8", 384, 192, 3, 3),
    ]
    assert roles(*parts) == ["dense", "grouped", "dense", "grouped"]


def test_a_branch_that_takes_what_its_sister_takes_is_dense() -> None:
    fire = [kernel("squeeze", 16, 64, 1, 1), kernel("expand1x1", 64, 16, 1, 1), kernel("expand3x3", 64, 16, 3, 3)]
    assert roles(kernel("stem", 64, 3, 3, 3), *fire) == ["dense", "pointwise", "pointwise", "dense"]
    assert roles(kernel("stem", 64, 3, 3, 3), *fire[1:], fire[0]) == ["dense", "pointwise", "dense", "pointwise"]


def test_a_shortcut_that_takes_what_entered_the_block_is_pointwise() -> None:
    block = [
        kernel("b.0.conv1", 128, 64, 3, 3),
        kernel("b.0.conv2", 128, 128, 3, 3),
        kernel("b.0.down.0", 128, 64, 1, 1),
    ]
    assert roles(kernel("stem", 64, 3, 7, 7), *block) == ["dense", "dense", "dense", "pointwise"]


def test_the_first_block_of_a_stage_is_grouped_as_its_sisters_are() -> None:
    # It could take the 80 channels that enter; the next block, where 240 do, shows that it does not.
    stage = [
        kernel(f"s2.b{block}.conv{layer}.conv", *shape)
        for block, first in ((1, 80), (2, 240))
        for layer, shape in ((1, (240, first, 1, 1)), (2, (240, 80, 3, 3)), (3, (240, 240, 1, 1)))
    ]
    before = [kernel("stem.conv", 32, 3, 3, 3), kernel("s1.b1.conv3.conv", 80, 32, 1, 1)]
    assert roles(*before, *stage)[2:] == ["pointwise", "grouped", "pointwise"] * 2


def test_a_module_that_knows_its_groups_is_believed() -> None:
    parts = [kernel("a", 8, 4, 3, 3, groups=2), kernel("b", 8, 8, 1, 1, groups=1), kernel("c", 8, 4, 1, 1, groups=2)]
    assert roles(*parts) == ["grouped", "pointwise", "grouped"]


def test_a_projection_narrows_what_a_depthwise_convolution_makes() -> None:
    stem = kernel("stem", 8, 3, 3, 3)
    narrowing = [kernel("0.dw", 8, 1, 3, 3), kernel("0.pw", 4, 8, 1, 1)]
    keeping = [kernel("1.dw", 4, 1, 3, 3), kernel("1.pw", 4, 4, 1, 1)]
    widening = [kernel("2.dw", 8, 1, 3, 3), kernel("2.pw", 16, 8, 1, 1)]
    assert roles(stem, *narrowing, *keeping)[2::2] == ["pointwise-linear", "pointwise-linear"]
    assert roles(stem, *widening)[2] == "pointwise"
    equal = [kernel("0.dw", 8, 1, 3, 3), kernel("0.pw", 8, 8, 1, 1)]
    assert roles(stem, *equal)[2] == "pointwise"


def test_what_modules_say_of_activations_wins_over_the_shape() -> None:
    stem, depthwise = kernel("stem", 8, 3, 3, 3), kernel("dw", 8, 1, 3, 3)
    assert roles(stem, depthwise, kernel("pw", 4, 8, 1, 1, activated=True))[2] == "pointwise"
    assert roles(stem, depthwise, kernel("pw", 16, 8, 1, 1, activated=False))[2] == "pointwise-linear"


def test_a_norm_that_a_file_names_before_its_convolution_changes_nothing() -> None:
    def norm(layer: str, units: int) -> Part:
        return Part(layer, "weight", (units,), "norm")

    parts = [norm("bn1", 24), kernel("conv1", 24, 3, 5, 5), norm("bn2", 64), kernel("conv2", 64, 12, 5, 5)]
    assert roles(*parts) == ["dense", "grouped"]
    # What a norm says of channels laid side by side still counts: the next convolution takes them all.
    dense = [kernel("conv0", 64, 3, 7, 7), kernel("a", 32, 64, 3, 3), norm("b.norm", 96), kernel("b", 32, 96, 3, 3)]
    assert roles(*dense) == ["dense", "dense", "dense"]
