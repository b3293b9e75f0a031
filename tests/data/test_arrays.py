from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from weightatlas.data.arrays import read_arrays
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(5, 8, 9, 3), (5, 8, 9, 1), (5, 3, 8, 9), (5, 8, 9)])
def test_bytes_are_images_with_their_channels_in_front(tmp_path: Path, shape: tuple[int, ...]) -> None:
    inputs = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / "data.npz", inputs=inputs, targets=np.arange(5))
    examples = read_arrays(tmp_path / "data.npz")
    channels = 3 if 3 in {shape[1], shape[-1]} else 1
    assert examples.shape == (channels, 8, 9)
    images, _ = examples.fetch(torch.tensor([4]))
    expected = inputs[4] if shape[1] == 3 else np.moveaxis(inputs[4].reshape(8, 9, -1), 2, 0)
    assert np.array_equal(images[0].numpy(), expected)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_features_and_targets_of_any_kind(tmp_path: Path, save: Any) -> None:  # noqa: ANN401
    inputs = RANDOM.normal(size=(6, 4))
    save(tmp_path / "data.npz", inputs=inputs, targets=np.arange(6, dtype=np.uint8), test_inputs=inputs[:2],
         test_targets=RANDOM.normal(size=(2, 3)))  # fmt: skip
    examples = read_arrays(tmp_path / "data.npz")
    assert examples.targets.dtype == torch.int64
    assert np.array_equal(examples.fetch(torch.arange(6))[0].numpy(), inputs)
    held_out = read_arrays(tmp_path / "data.npz", split="test")
    assert held_out.targets.shape == (2, 3)
    assert held_out.targets.dtype == torch.float32


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"inputs": np.zeros(3)}, "no array 'targets'; save it with that name; there is inputs"),
        ({"x": np.zeros(3), "targets": np.zeros(3)}, "no array 'inputs'"),
        ({"inputs": np.zeros((3, 2)), "targets": np.zeros(4)}, r"inputs of \[3, 2\] and targets of \[4\]"),
        ({"inputs": np.zeros((0, 2)), "targets": np.zeros(0)}, "one or more"),
        ({"inputs": np.zeros(()), "targets": np.zeros(())}, "save as many targets"),
        ({"inputs": np.array([{}], dtype=object), "targets": np.zeros(1)}, "no array 'inputs'"),
    ],
)
def test_archives_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(SourceError, match=words):
        read_arrays(tmp_path / "data.npz")


def test_without_names_of_no_split_it_is_the_training_split(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"train_inputs": np.zeros((3, 2)), "train_targets": np.arange(3)}
    np.savez(tmp_path / "both.npz", **arrays, test_inputs=np.ones((1, 2)), test_targets=np.arange(1))
    examples = read_arrays(tmp_path / "both.npz")
    assert (len(examples), examples.split) == (3, "train")
    np.savez(tmp_path / "plain.npz", **arrays, inputs=np.ones((1, 2)), targets=np.arange(1))
    plain = read_arrays(tmp_path / "plain.npz")
    assert (len(plain), plain.split) == (1, None)
