from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.anatomy.graph.example_walks import walk_of
from weightatlas.anatomy.graph.channel_ids import Channels, Constant
from weightatlas.anatomy.graph.paths import Paths, along, bottleneck_of, kernel_of

IMAGES = (1, 3, 8, 8)


def paths_of(call: Any, **layers: nn.Module) -> Paths:  # noqa: ANN401
    return Paths(walk_of(call, IMAGES, **layers))


def result_ids(paths: Paths) -> Any:  # noqa: ANN401
    return along(paths.walk.results[0], 1)


def two_paths(self: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
    stem = self.stem(x)
    left = self.wide(functional.max_pool2d(self.narrow(stem), 3, 1, 1))
    return torch.cat([left, self.short(stem)], 1)


@pytest.fixture(scope="module")
def parallel() -> Paths:
    return paths_of(
        two_paths, stem=nn.Conv2d(3, 5, 3, padding=1), narrow=nn.Conv2d(5, 2, (1, 7), padding=(0, 3)),
        wide=nn.Conv2d(2, 6, (5, 1), padding=(2, 0)), short=nn.Conv2d(5, 4, 1),
    )  # fmt: skip


def test_channels_know_the_layer_and_the_row_that_made_them(parallel: Paths) -> None:
    ids = result_ids(parallel)
    wide, short = parallel.origin(ids[:6]), parallel.origin(ids[[9, 6]])
    assert wide is not None
    assert short is not None
    assert (wide.read.layer, wide.rows.tolist()) == ("wide", [*range(6)])
    assert (short.read.layer, short.rows.tolist()) == ("short", [3, 0])
    assert parallel.origin(ids) is None, "two layers made them"
    assert parallel.origin(parallel.walk.inputs[0].numpy()) is None, "no layer made the input"


def test_a_chain_is_what_lies_on_the_path_and_nothing_beside_it(parallel: Paths) -> None:
    ids = result_ids(parallel)
    origin = parallel.origin(ids[:6])
    assert origin is not None
    chain = parallel.chain(origin.read, parallel.until(parallel.walk.results[0]))
    assert [read.layer for read in chain] == ["stem", "narrow", "wide"]
    assert (kernel_of(chain), bottleneck_of(chain), bottleneck_of(chain[-1:])) == ((5, 7), 2, None)
    stem = parallel.walk.reads[0].step
    within = parallel.until(parallel.walk.results[0]) & ~(1 << stem)
    assert [read.layer for read in parallel.chain(origin.read, within)] == ["narrow", "wide"]


def test_a_pool_over_windows_counts_and_one_over_the_whole_map_does_not(parallel: Paths) -> None:
    pool = parallel.walk.operators.index("max_pool2d")
    assert parallel.pools(1 << pool)
    assert not parallel.pools(~(1 << pool) & (1 << len(parallel.walk.operators)) - 1)
    whole = paths_of(lambda _, x: functional.adaptive_avg_pool2d(x, 1))
    assert not whole.pools(whole.until(whole.walk.results[0]))


def test_what_something_is_added_to_is_not_alone() -> None:
    layers = {name: nn.Conv2d(3, 3, 1) for name in ("left", "right")}
    summed = paths_of(lambda self, x: self.left(x) + self.right(x), **layers)
    shortcut = paths_of(lambda self, x: x + self.left(x), **layers)
    plain = paths_of(lambda self, x: self.right(self.left(x)), **layers)
    twice = paths_of(lambda self, x: self.left(x) + self.left(x.flip(3)), **layers)
    assert [paths.alone(result_ids(paths)) for paths in (summed, shortcut, plain, twice)] == [False, False, True, True]


def test_rows_of_a_part_are_counted_in_the_whole_matrix() -> None:
    walk = walk_of(
        lambda self, x: functional.linear(x, self.weight[2:]), (2, 3), weight=nn.Parameter(torch.zeros(6, 3))
    )
    origin = Paths(walk).origin(walk.reads[0].outputs.numpy())
    assert origin is not None
    assert origin.rows.tolist() == [2, 3, 4, 5]


def test_a_constant_depends_on_no_step_and_has_no_ids(parallel: Paths) -> None:
    assert parallel.until(Constant((1, 4))) == 0
    assert along(Constant((1, 4)), 1) is None
    np.testing.assert_array_equal(along(Channels(torch.tensor([[7], [9]]), (2, 3), 0), 0), [7, 9])
