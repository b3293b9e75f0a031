from __future__ import annotations

import numpy as np
import torch

from tests.connectivity.aligning.planted import NETWORKS, network
from weightatlas.anatomy.symmetries.layout import Combined, Factor, Joined
from weightatlas.connectivity.aligning.blocks import blocks_of, is_identity, moving


def test_every_entry_of_a_tensor_is_in_one_block() -> None:
    nested = Combined((Joined((Factor(2, "a"), Combined((Factor(3, "b"), Factor(2))))), Factor(3, "b")))
    layouts = {"x": (Factor(4, "c"), nested), "y": (Joined((Factor(5), Factor(2, "a"))),), "z": ()}
    for name, axes in layouts.items():
        shape = [axis.size for axis in axes]
        numbers = torch.arange(int(np.prod(shape))).reshape(shape)
        views = [block.view(numbers) for block in blocks_of({name: axes})]
        assert sorted(torch.cat([view.flatten() for view in views]).tolist()) == numbers.flatten().tolist()
        assert all(view.data_ptr() >= numbers.data_ptr() for view in views), "views, not copies"


def test_the_axes_of_a_block_are_its_factors_and_permute_as_the_tensor_does() -> None:
    for name in NETWORKS:
        model, found = network(name)
        state = {key: tensor for key, tensor in model.state_dict().items() if key in found.layouts}
        permutations = found.random(2)
        moved = found.permute(state, permutations)
        for block in blocks_of({key: found.layouts[key] for key in state}):
            view = block.view(state[block.tensor])
            assert list(view.shape) == [factor.size for factor in block.factors]
            for axis, factor in enumerate(block.factors):
                order = moving(factor, permutations)
                view = view if order is None else view.index_select(axis, torch.from_numpy(order))
            assert torch.equal(view, block.view(moved[block.tensor]))


def test_a_group_on_two_axes() -> None:
    (block,) = blocks_of({"square": (Factor(3, "g"), Factor(3, "g"))})
    assert block.axes_of("g") == (0, 1)
    assert block.axes_of("other") == ()
    assert block.groups == {"g"}


def test_what_stays_is_no_order() -> None:
    assert is_identity(np.arange(4))
    assert not is_identity(np.array([1, 0]))
    assert moving(Factor(2, "g"), {"g": np.arange(2)}) is None
    assert moving(Factor(2), {"g": np.array([1, 0])}) is None
    assert moving(Factor(2, "other"), {"g": np.array([1, 0])}) is None
