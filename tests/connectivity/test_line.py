from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.connectivity.line import interpolate
from weightatlas.errors import SourceError


def state(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "weight": torch.randn(3, 2, generator=generator).to(dtype),
        "running_var": torch.rand(3, generator=generator).to(dtype),
        "num_batches_tracked": torch.tensor(seed),
        "mask": torch.tensor([seed % 2 == 0]),
    }


def test_floating_entries_are_blended_and_integers_are_those_of_the_first() -> None:
    a, b = state(0), state(1)
    found = interpolate(a, b, 0.25)
    for name in ("weight", "running_var"):
        torch.testing.assert_close(found[name], 0.75 * a[name] + 0.25 * b[name])
    assert int(found["num_batches_tracked"]) == 0
    assert bool(found["mask"])


@settings(deadline=None, max_examples=30)
@given(st.floats(-2, 3), st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
def test_ends_and_what_both_share_are_exact_in_every_type(alpha: float, dtype: torch.dtype) -> None:
    a, b = state(0, dtype), state(1, dtype)
    assert all(torch.equal(interpolate(a, b, 0)[name], a[name]) for name in a)
    assert all(torch.equal(interpolate(a, b, 1)[name], b[name]) for name in ("weight", "running_var"))
    assert all(torch.equal(interpolate(a, a, alpha)[name], a[name]) for name in a)
    assert interpolate(a, b, alpha)["weight"].dtype == dtype


def test_half_precision_is_blended_in_single() -> None:
    a, b = {"w": torch.tensor([1.0], dtype=torch.bfloat16)}, {"w": torch.tensor([256.0], dtype=torch.bfloat16)}
    expected = torch.tensor([1 + 0.3 * 255]).to(torch.bfloat16)
    assert torch.equal(interpolate(a, b, 0.3)["w"], expected)


def test_what_comes_back_is_new_and_beyond_the_ends_the_line_goes_on() -> None:
    a, b = state(0), state(1)
    for alpha in (0, 0.5, 1):
        found = interpolate(a, b, alpha)
        assert not any(found[name].data_ptr() in (a[name].data_ptr(), b[name].data_ptr()) for name in a)
    torch.testing.assert_close(interpolate(a, b, 2.0)["weight"], 2 * b["weight"] - a["weight"])


def test_states_of_different_networks_are_refused() -> None:
    a = state(0)
    fewer = {name: tensor for name, tensor in a.items() if name != "weight"}
    with pytest.raises(SourceError, match="the second state: it has no weight; give two states"):
        interpolate(a, fewer, 0.5)
    with pytest.raises(SourceError, match="the first state: it has no weight"):
        interpolate(fewer, a, 0.5)
    with pytest.raises(SourceError, match=r"weight is \[3\] where the first has \[3, 2\]"):
        interpolate(a, {**a, "weight": torch.zeros(3)}, 0.5)
    del fewer["num_batches_tracked"]
    assert "num_batches_tracked" in interpolate({**fewer, "num_batches_tracked": torch.tensor(1)}, fewer, 0.5)
