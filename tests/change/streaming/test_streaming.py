from __future__ import annotations

import errno
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from weightatlas.change.statistics import statistics
from weightatlas.change.streaming import streaming
from weightatlas.change.streaming.streaming import Pair, Part, measure_part, pair_at
from weightatlas.change.summing.measuring import CHUNK, Asked
from weightatlas.change.summing.sums import figures
from weightatlas.checkpoints import Checkpoint, TensorInfo
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from weightatlas.change.streaming.packed import Packed

ELEMENTS = CHUNK + 5000
ALL = Asked()


class Spied:
    """Checkpoints of one tensor that note what is fetched, and how much is alive at once."""

    def __init__(self, count: int, errors: Mapping[int, Exception] | None = None, elements: int = ELEMENTS) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weights = torch.randn(count, elements, generator=generator)
        self.fetched: list[tuple[int, int, int]] = []
        self.most = 0
        self._alive: list[weakref.ref[npt.NDArray[np.float32]]] = []
        self._errors = errors or {}

    def checkpoints(self) -> list[Checkpoint]:
        return [self._checkpoint(place) for place in range(len(self.weights))]

    def _checkpoint(self, place: int) -> Checkpoint:
        info = TensorInfo("w", "w", "weight", (self.weights.shape[1],), "float32", self.weights[0].nbytes, "")

        def parts(_info: TensorInfo) -> Callable[[int, int], torch.Tensor]:
            return lambda low, high: self._fetch(place, low, high)

        return Checkpoint("spied", [info], lambda _: self.weights[place], parts=parts, is_mapped=lambda _: True)

    def _fetch(self, place: int, low: int, high: int) -> torch.Tensor:
        self.fetched.append((place, low, high))
        if place in self._errors:
            raise self._errors[place]
        part = self.weights[place, low:high].numpy().copy()
        self._alive = [reference for reference in self._alive if reference() is not None]
        self._alive.append(weakref.ref(part))
        self.most = max(self.most, len(self._alive))
        return torch.from_numpy(part)


def part_of(count: int, *, is_mapped: bool = True, pairs: Sequence[int] | None = None, low: int = 0) -> Part:
    pairs = range(1, count) if pairs is None else pairs
    return Part(0, ("w",) * count, low, ELEMENTS, tuple(pairs), is_mapped)


def assert_measured(spied: Spied, part: Part, measured: Mapping[Pair, Packed], asked: Asked = ALL) -> None:
    """Each pair has the figures of the whole tensors that it names."""
    whole = list(spied.weights[:, part.low : part.high])
    for pair, packed in measured.items():
        start = None if pair.start is None else whole[pair.start]
        previous = None if pair.previous is None else whole[pair.previous]
        reference = statistics(
            whole[pair.before],
            whole[pair.after],
            start=start,
            previous=previous,
            only_norms=asked.only_norms,
        )
        found = figures(
            packed.sums,
            part.high - part.low,
            only_norms=asked.only_norms,
            with_previous=previous is not None,
            with_start=start is not None,
        )
        assert found.ratio_l1 == reference.ratio_l1
        np.testing.assert_allclose(
            [found.elementwise, found.ratio_l2, found.cosine, found.from_start, found.angle_from_start],
            [
                reference.elementwise,
                reference.ratio_l2,
                reference.cosine,
                reference.from_start,
                reference.angle_from_start,
            ],
            rtol=1e-6,
        )


@pytest.mark.parametrize(
    ("names", "after", "expected"),
    [
        ("ww", 1, Pair(1, 0)),
        ("www", 2, Pair(2, 0, 0)),
        ("-www", 3, Pair(3, 1, 1)),
        ("w-ww", 3, Pair(3, 0)),
        ("-ww", 1, None),
        ("w-w", 2, None),
        ("ww", 0, None),
    ],
)
def test_a_pair_names_what_it_rests_on(names: str, after: int, expected: Pair | None) -> None:
    named = [None if name == "-" else name for name in names]
    assert pair_at(named, after, ALL) == expected
    assert pair_at(named, after, Asked(only_norms=True)) == (None if expected is None else Pair(after))


def test_the_checkpoints_of_a_pair_are_each_named_once() -> None:
    assert Pair(7, 2, 5).places == (2, 5, 6, 7)
    assert Pair(1, 0).places == (0, 1)
    assert Pair(2, 0, 0).places == (0, 1, 2)


@pytest.mark.parametrize("is_mapped", [True, False])
@pytest.mark.parametrize("asked", [ALL, Asked(only_norms=True), Asked(median=True)])
@pytest.mark.parametrize("window", [1, 3, 16])
def test_each_checkpoint_is_read_once_and_few_are_held(
    monkeypatch: pytest.MonkeyPatch, asked: Asked, window: int, is_mapped: bool
) -> None:
    monkeypatch.setattr(streaming, "WINDOW", window)
    spied, part = Spied(9), part_of(9, is_mapped=is_mapped, low=3000)
    answer = measure_part(spied.checkpoints(), asked, part)
    assert [pair.after for pair in answer.measured] == list(range(1, 9))
    assert_measured(spied, part, answer.measured, asked)
    assert sorted(spied.fetched) == [(place, 3000, ELEMENTS) for place in range(9)]
    assert answer.bytes_read == 9 * 4 * (ELEMENTS - 3000)
    assert spied.most <= 3 + (window if is_mapped else 1)
    assert (answer.failed, answer.lost) == ({}, None)


def test_only_what_a_new_pair_needs_is_read() -> None:
    spied, part = Spied(9), part_of(9, pairs=(5, 8))
    answer = measure_part(spied.checkpoints(), ALL, part)
    assert_measured(spied, part, answer.measured)
    assert [place for place, *_ in spied.fetched] == [0, 3, 4, 5, 6, 7, 8]
    spied = Spied(9)
    measure_part(spied.checkpoints(), Asked(only_norms=True), part_of(9, pairs=(8,)))
    assert [place for place, *_ in spied.fetched] == [7, 8], "equation 1 needs no other"


@pytest.mark.parametrize("is_mapped", [True, False])
@pytest.mark.parametrize("window", [2, 16])
@pytest.mark.parametrize("bad", [(0,), (1,), (4,), (7,), (0, 1), (0, 4), (3, 5), (6, 7)])
def test_what_rests_on_a_checkpoint_that_cannot_be_read_is_measured_without_it(
    monkeypatch: pytest.MonkeyPatch, bad: tuple[int, ...], window: int, is_mapped: bool
) -> None:
    monkeypatch.setattr(streaming, "WINDOW", window)
    error = SourceError("step.pt", "the file is shorter", "copy it again")
    spied, part = Spied(8, dict.fromkeys(bad, error)), part_of(8, is_mapped=is_mapped)
    answer = measure_part(spied.checkpoints(), ALL, part)
    tried = [place for place in bad if (place, bad) != (7, (6, 7))]  # no pair is left that would need it
    assert dict(answer.failed) == dict.fromkeys(tried, "it cannot be read at this step: the file is shorter")
    names = [None if place in bad else "w" for place in range(8)]
    assert set(answer.measured) == {pair for after in range(8) if (pair := pair_at(names, after, ALL))}
    assert_measured(spied, part, answer.measured)
    places = [place for place, *_ in spied.fetched]
    assert sorted(places) == sorted(set(places)), "each is tried once"


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), ValueError("odd"), RuntimeError("bad\nthing")]
)
def test_whatever_reading_raises_is_that_checkpoints_reason(error: Exception) -> None:
    spied = Spied(3, {2: error})
    answer = measure_part(spied.checkpoints(), ALL, part_of(3))
    assert "it cannot be read at this step: " in answer.failed[2]
    assert "\n" not in answer.failed[2]
    assert list(answer.measured) == [Pair(1, 0)]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.parametrize("wrapped", [True, False])
def test_no_checkpoint_is_blamed_for_what_this_process_lacks(number: int, wrapped: bool) -> None:
    error: Exception = OSError(number, "none left")
    if wrapped:
        cause, error = error, SourceError("step.pt", "'w' cannot be read", "copy it again")
        error.__cause__ = cause
    with pytest.raises(SourceError, match=r"has run out of memory or open files .* take fewer jobs"):
        measure_part(Spied(3, {2: error}).checkpoints(), ALL, part_of(3))
