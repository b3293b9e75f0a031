from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.feeds import IMAGES, partly
from weightatlas.data.fetching import PART, ThreadedFetch


@settings(deadline=None, max_examples=30)
@given(numbers=st.lists(st.integers(0, 22), min_size=1, max_size=80), workers=st.integers(1, 4))
def test_several_threads_give_what_one_gives(numbers: list[int], workers: int) -> None:
    wanted = torch.tensor(numbers)
    examples = partly({number for number in range(23) if number % 5})
    for one, other in zip(ThreadedFetch(examples, workers)(wanted), examples.fetch(wanted), strict=True):
        assert torch.equal(one, other)


def test_few_examples_are_fetched_by_the_caller_and_many_are_shared_out() -> None:
    seen: list[tuple[int, int]] = []

    def fetch(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append((threading.get_ident(), len(numbers)))
        return IMAGES.fetch(numbers)

    fetched = ThreadedFetch(replace(IMAGES, fetch=fetch), 2)
    fetched(torch.arange(PART))
    assert seen == [(threading.get_ident(), PART)]
    fetched(torch.arange(22))
    assert sorted(size for _, size in seen[1:]) == [6, PART, PART]
    assert threading.get_ident() not in {thread for thread, _ in seen[1:]}


def test_no_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="workers must be 1 or more, not -1"):
        ThreadedFetch(IMAGES, -1)
