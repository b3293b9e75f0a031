from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from weightatlas.data.cifar_pickles import read_batch, read_names
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)


def saved(folder: Path, value: Any) -> Path:  # noqa: ANN401 - whatever a pickle holds
    path = folder / "batch"
    path.write_bytes(pickle.dumps(value))
    return path


@pytest.mark.parametrize(("kind", "key"), [("", "labels"), ("fine", "fine_labels"), ("coarse", "coarse_labels")])
def test_a_batch_is_its_planes_row_by_row_and_the_labels_asked_for(tmp_path: Path, kind: str, key: str) -> None:
    batch = {"labels": [9, 9, 9], "fine_labels": [8, 8, 8], "coarse_labels": [7, 7, 7]} | {key: [5, 0, 2]}
    images, labels = read_batch(saved(tmp_path, batch | {"data": PIXELS}), kind)
    assert labels.tolist() == [5, 0, 2]
    assert images.shape == (3, 3, 32, 32)
    assert int(images[1, 2, 3, 4]) == PIXELS[1, 2 * 1024 + 3 * 32 + 4]


@pytest.mark.parametrize(
    "batch",
    [
        [PIXELS],
        {"data": PIXELS},
        {"data": PIXELS, "labels": [1, 2]},
        {"data": PIXELS, "labels": [1, 2, 3.0]},
        {"data": PIXELS, "labels": [True, False, True]},
        {"data": PIXELS.astype(np.float32), "labels": [1, 2, 3]},
        {"data": np.asfortranarray(PIXELS), "labels": [1, 2, 3]},
        {"data": PIXELS[:0], "labels": []},
    ],
)
def test_what_is_no_batch_is_said(tmp_path: Path, batch: Any) -> None:  # noqa: ANN401 - whatever a pickle holds
    with pytest.raises(SourceError):
        read_batch(saved(tmp_path, batch), "")


def test_names_are_a_list_of_text_or_none(tmp_path: Path) -> None:
    assert read_names(tmp_path / "absent", "label_names") is None
    assert read_names(saved(tmp_path, {"label_names": ["ant", "bee"]}), "label_names") == ("ant", "bee")
    assert read_names(saved(tmp_path, {"label_names": ["ant", 1]}), "label_names") is None
    assert read_names(saved(tmp_path, {"others": ["ant"]}), "label_names") is None
    assert read_names(saved(tmp_path, ["ant"]), "label_names") is None
