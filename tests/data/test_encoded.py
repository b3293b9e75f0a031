from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.data.pictures import encoded, pixels
from weightatlas.data import encoded as module
from weightatlas.data.decoding import Fit
from weightatlas.data.encoded import encoded_examples
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.data.examples import Examples


def examples_of(files: list[bytes], fit: Fit | None = None, loads: list[int] | None = None) -> Examples:
    def load(number: int) -> bytes:
        if loads is not None:
            loads.append(number)
        return files[number]

    targets = torch.arange(len(files))
    return encoded_examples("photos", load, targets, title=lambda number: f"image {number}", fit=fit or Fit())


FILES = [encoded(pixels(number)) for number in range(6)]


def expected(numbers: list[int]) -> torch.Tensor:
    return torch.from_numpy(np.stack([pixels(number) for number in numbers])).permute(0, 3, 1, 2)


@pytest.mark.parametrize("memory", [0, 2**20])
def test_images_come_in_the_order_asked_for(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY", memory)
    examples = examples_of(FILES)
    for numbers in ([4, 1, 4], [0, 1, 2, 3, 4, 5], [5]):
        images, read = examples.fetch(torch.tensor(numbers))
        assert torch.equal(images, expected(numbers))
        assert read.tolist() == numbers
    assert examples.shape == (3, 8, 8)


def test_a_small_set_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []
    examples = examples_of(FILES, loads=loads)
    loads.clear()
    for _ in range(3):
        examples.fetch(torch.arange(6))
    assert sorted(loads) == list(range(6))
    monkeypatch.setattr(module, "MEMORY", 0)
    examples = examples_of(FILES, loads=loads)
    loads.clear()
    examples.fetch(torch.arange(6))
    examples.fetch(torch.arange(6))
    assert len(loads) == 12


@pytest.mark.parametrize("memory", [0, 2**20])
def test_what_cannot_be_decoded_is_left_out_and_said_once(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY", memory)
    examples = examples_of([b"broken", FILES[1], FILES[2][:30], FILES[3]])
    for _ in range(2):
        images, read = examples.fetch(torch.arange(4))
        assert read.tolist() == [1, 3]
        assert torch.equal(images, expected([1, 3]))
    assert [entry.name for entry in examples.skipped] == ["image 0", "image 2"]
    assert all("cannot be decoded" in entry.reason for entry in examples.skipped)


def test_another_size_is_an_error_that_says_what_to_do() -> None:
    examples = examples_of([*FILES, encoded(pixels(9, height=4, width=5))])
    with pytest.raises(SourceError, match=r"image 6 is 5 x 4, the first is 8 x 8; add a size .*\?size=224"):
        examples.fetch(torch.arange(7))
    fitted = examples_of([*FILES, encoded(pixels(9, height=4, width=5))], Fit(size=4))
    assert fitted.fetch(torch.arange(7))[0].shape == (7, 3, 4, 4)


def test_data_without_a_readable_image_are_refused() -> None:
    with pytest.raises(SourceError, match="no image"):
        examples_of([])
    with pytest.raises(SourceError, match=r"none of its first 100 images can be read \(image 0"):
        examples_of([b"broken"] * 150 + FILES)
