from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.anatomy.graph.branch_names import around, below, kernel_names

PATHS = st.lists(st.lists(st.sampled_from(["a", "b", "0", "1"]), min_size=1, max_size=3).map(".".join), min_size=1,
                 max_size=5)  # fmt: skip


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        (["fire2.expand1x1", "fire2.expand3x3"], "fire2"),
        (["features.fire.left.conv", "features.fire.right.conv"], "features.fire"),
        (["mixed_3a_1x1", "mixed_3a_3x3"], "mixed_3a"),
        (["head.conv"], "head.conv"),
        (["block.conv", "block.conv"], "block.conv"),
        (["left", "right"], "otherwise"),
        ([], "otherwise"),
    ],
)
def test_the_module_around_layers(layers: list[str], found: str) -> None:
    assert around(layers, "otherwise") == found


@settings(max_examples=80, deadline=None, derandomize=True)
@given(PATHS)
def test_names_below_are_one_each_and_all_different(layers: list[str]) -> None:
    names = below(layers)
    assert len(names) == len(layers) == len(set(names))
    assert all(names)


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        (["stage.0.conv2", "stage.3.conv2"], ["block 0", "block 3"]),
        (["mixed.b1.conv", "mixed.b2.0.conv"], ["b1", "b2"]),
        (["m.a.x", "m.a.y", "m.b.x"], ["a.x", "a.y", "b.x"]),
        (["only.conv"], ["conv"]),
        (["conv", "conv"], ["conv (1)", "conv (2)"]),
        (["net", "net.inner"], ["net", "inner"]),
    ],
)
def test_names_take_as_many_parts_as_tell_them_apart(layers: list[str], names: list[str]) -> None:
    assert below(layers) == names


def test_kernels_name_paths_only_where_no_two_are_alike() -> None:
    assert kernel_names([(1, 7), (7, 1)], pools=[False, False]) == ["1x7", "7x1"]
    assert kernel_names([(3, 3), (1, 1)], pools=[True, True]) == ["3x3", "pool"]
    assert kernel_names([(1, 1), (1, 1)], pools=[True, True]) is None
    with pytest.raises(ValueError, match="zip"):
        kernel_names([(1, 1)], pools=[])
