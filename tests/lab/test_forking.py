"""Forked runs against their trunks, bit for bit, and the stream that a fork trains on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.lab.small_runs import CPU, on_points, perceptron, points
from weightatlas import open_checkpoint
from weightatlas.errors import SourceError
from weightatlas.lab import Configuration, Fork, Recipe, RunFolder, run
from weightatlas.lab.configuration_file import configuration_from
from weightatlas.lab.forking import ForkedFeed
from weightatlas.lab.preparing import open_feeds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STEPS = 11
"""Of `on_points`: two epochs of 90 examples in batches of 16."""


def weights_after(folder: Path, step: int) -> Mapping[str, torch.Tensor]:
    return dict(open_checkpoint(RunFolder(folder).checkpoint(step)))


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def configured(tmp_path: Path, fork: Fork | None, **more: Any) -> Configuration:  # noqa: ANN401 - handed on
    made = on_points(tmp_path, every=1, seed=3, fork=fork, **more)
    return replace(made, model="tests.lab.test_forking:dropping")


def trained(tmp_path: Path, name: str, fork: Fork | None = None) -> Path:
    run(configured(tmp_path, fork), tmp_path / name, devices=CPU)
    return tmp_path / name


def dropping() -> torch.nn.Module:
    """A perceptron that draws in every update."""
    return perceptron(dropout=0.3)


@pytest.mark.parametrize("step", [0, 4, STEPS - 1])
def test_a_forked_run_is_its_trunk_up_to_the_fork_and_another_from_there_on(step: int, tmp_path: Path) -> None:
    trunk = trained(tmp_path, "trunk")
    forked = trained(tmp_path, "forked", Fork(step))
    for number in range(STEPS + 1):
        assert same(weights_after(trunk, number), weights_after(forked, number)) == (number <= step)


def test_forks_differ_by_their_seed_and_by_their_run_s(tmp_path: Path) -> None:
    folders = [trained(tmp_path, f"fork-{seed}", Fork(2, seed)) for seed in (1, 2)]
    first, second = (weights_after(folder, STEPS) for folder in folders)
    assert not same(first, second)
    assert Fork(0).seed_at(0, seed=1) != Fork(0).seed_at(0, seed=2)


def test_an_independent_network_has_weights_data_and_draws_of_its_own(tmp_path: Path) -> None:
    trunk, other = configured(tmp_path, None), configured(tmp_path, Fork(None))
    assert trunk.first_seed == 3
    assert other.first_seed == Fork(None).seed_at(5, seed=3) != 3
    (feed, held_out), (own, tested) = open_feeds(trunk), open_feeds(other)
    assert not torch.equal(feed.batch(0, 32)[0], own.batch(0, 32)[0])
    assert held_out is not None
    assert tested is not None
    for one, two in zip(held_out.in_order(16), tested.in_order(16), strict=True):
        assert torch.equal(one[0], two[0])


def test_a_killed_fork_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = trained(tmp_path, "whole", Fork(5))
    for stop in (3, 5, 8):
        folder = tmp_path / f"stopped-{stop}"
        configuration = configured(tmp_path, Fork(5))

        def kill(_: Mapping[str, Any], step: int, *, at: int = stop) -> None:
            if step > at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(configuration, folder, devices=CPU, loggers=(kill,))
        run(configuration, folder, devices=CPU)
        assert same(weights_after(whole, STEPS), weights_after(folder, STEPS))


def test_scenes_before_a_fork_are_the_trunk_s_and_other_scenes_after_it() -> None:
    recipe = Recipe(steps=8, batch_size=12)
    trunk, _ = open_feeds(Configuration(model="m", data="scenes", recipe=recipe))
    forked, _ = open_feeds(Configuration(model="m", data="scenes", recipe=recipe, fork=Fork(3)))
    for step in range(8):
        same_images = torch.equal(trunk.batch(12 * step, 12)[0], forked.batch(12 * step, 12)[0])
        assert same_images == (step < 3)
    assert torch.equal(next(trunk.in_order(20))[0], next(forked.in_order(20))[0])


def test_a_forked_feed_can_be_cut_anywhere() -> None:
    feed = ForkedFeed(points(seed=1), points(seed=2), 30)
    whole = feed.batch(20, 24)
    parts = [feed.batch(20, 3), feed.batch(23, 7), feed.batch(30, 14)]
    shares = [feed.batch(20, 24, rank=rank, ranks=3) for rank in range(3)]
    for pieces in (parts, shares):
        for place in (0, 1):
            assert torch.equal(torch.cat([piece[place] for piece in pieces]), whole[place])
    assert torch.equal(whole[0][:10], points(seed=1).batch(20, 10)[0])
    assert torch.equal(whole[0][10:], points(seed=2).batch(30, 14)[0])
    assert feed.fingerprint() == points(seed=1).fingerprint()


def test_a_forked_configuration_has_an_identity_of_its_own_and_unforked_ones_keep_theirs() -> None:
    plain = Configuration(model="m", data="d", seed=2)
    assert "fork" not in plain.to_dict()
    assert plain.identity == "ebd1e8070b857b04"
    forks = [Fork(None), Fork(0), Fork(4), Fork(4, 2)]
    made = [Configuration(model="m", data="d", seed=2, fork=fork) for fork in forks]
    assert len({plain.identity, *(one.identity for one in made)}) == 5
    for one in made:
        assert configuration_from(json.loads(json.dumps(one.to_dict()))) == one


def test_a_fork_beyond_the_run_or_of_batches_of_one_s_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"a fork at step {STEPS} leaves nothing of a run of {STEPS}"):
        run(on_points(tmp_path, fork=Fork(STEPS)), tmp_path / "run", devices=CPU)
    own = Configuration(model="m", data="tests.lab.test_forking:own_batches", fork=Fork(1))
    with pytest.raises(SourceError, match="a fork cannot change"):
        open_feeds(own)


def own_batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches that nobody can put into another order."""
    return [(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))]


@pytest.mark.parametrize("wrong", [{"step": -1}, {"step": 2.5}, {"step": True}, {"step": 1, "seed": -1}, {"seed": "1"}])
def test_forks_without_meaning_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="of a fork must be a whole number"):
        Fork(**wrong)
    with pytest.raises(SourceError, match=r"fork"):
        configuration_from({"model": "m", "data": "d", "fork": wrong})
