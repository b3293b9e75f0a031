from __future__ import annotations

from dataclasses import replace

import torch

from tests.data.feeds import IMAGES, LABELS, PIXELS, partly
from weightatlas.data.examples import held_in_memory, limited
from weightatlas.data.fingerprint import SAMPLE, fingerprint_of, fingerprint_of_fields


def test_it_changes_with_a_target_an_input_the_shape_the_dtype_and_the_count() -> None:
    pixels = PIXELS.clone()
    pixels[22, 0, 0, 0] += 1
    labels = LABELS.clone()
    labels[9] = 0
    others = [
        held_in_memory("x", pixels, LABELS),
        held_in_memory("x", PIXELS, labels),
        held_in_memory("x", PIXELS, LABELS.float()),
        held_in_memory("x", PIXELS.float(), LABELS),
        held_in_memory("x", PIXELS.mT, LABELS),
        limited(IMAGES, 22),
        partly(set(range(22))),
        IMAGES,
    ]
    assert len({fingerprint_of(other) for other in others}) == len(others)


def test_it_does_not_change_with_the_name_the_layout_in_memory_or_the_blocks() -> None:
    strided = PIXELS.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    same = replace(held_in_memory("other", strided, LABELS), blocks=(20, 3))
    assert fingerprint_of(same) == fingerprint_of(IMAGES)
    assert fingerprint_of(partly(set(range(23)))) == fingerprint_of(IMAGES)


def test_few_inputs_of_many_are_read_the_first_and_the_last_among_them() -> None:
    asked: list[int] = []

    def fetch(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        asked.extend(numbers.tolist())
        return torch.zeros(len(numbers), 1), numbers

    fingerprint_of(replace(IMAGES, fetch=fetch, targets=torch.arange(10_000)))
    assert len(asked) == SAMPLE
    assert (asked[0], asked[-1]) == (0, 9999)
    steps = torch.tensor(asked).diff()
    assert int(steps.max()) - int(steps.min()) <= 1


def test_fields_count_by_name_and_not_by_order() -> None:
    assert fingerprint_of_fields({"a": 1, "b": "x"}) == fingerprint_of_fields({"b": "x", "a": 1})
    assert fingerprint_of_fields({"a": 1}) != fingerprint_of_fields({"a": 2})
