from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.data.pictures import encoded, pixels
from weightatlas.checkpoints import import_torchvision
from weightatlas.data.decoding import Fit
from weightatlas.data.image_folder import read_image_folder
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("dog/b.png", "dog/a.PNG", "dog/inner/c.bmp", "Cat/10.png", "Cat/9.png", "ant/x.jpeg", "ant/note.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {".bmp": "BMP", ".jpeg": "JPEG"}.get(path.suffix, "PNG")
        path.write_bytes(b"text" if path.suffix == ".txt" else encoded(pixels(number), kind))
    return tmp_path / "photos"


def test_order_classes_and_pixels_are_those_of_torchvision(folder: Path) -> None:
    import_torchvision()
    from torchvision.datasets import ImageFolder

    reference = ImageFolder(str(folder))
    examples = read_image_folder(folder)
    assert list(examples.classes or ()) == reference.classes
    assert examples.targets.tolist() == reference.targets
    images, _ = examples.fetch(torch.arange(len(examples)))
    for image, (picture, _) in zip(images, reference, strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(picture))


def test_splits_are_recognised_and_chosen(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "whole"
    root.mkdir()
    folder.rename(root / "val")
    assert len(read_image_folder(root)) == 6
    (root / "train" / "dog").mkdir(parents=True)
    (root / "train" / "dog" / "one.png").write_bytes(encoded(pixels(0)))
    assert len(read_image_folder(root)) == 1
    assert len(read_image_folder(root, split="validation")) == 6
    with pytest.raises(SourceError, match="no split 'test'; there is train, val"):
        read_image_folder(root, split="test")
    with pytest.raises(SourceError, match="its sub-folders are classes; drop"):
        read_image_folder(root / "val", split="train")


def test_a_class_without_images_keeps_its_number_and_is_noted(folder: Path) -> None:
    (folder / "bee").mkdir()
    (folder / ".hidden").mkdir()
    examples = read_image_folder(folder)
    assert examples.classes == ("Cat", "ant", "bee", "dog")
    assert sorted(set(examples.targets.tolist())) == [0, 1, 3]
    assert examples.notes == ("without images: 'bee'",)


def test_unreadable_images_are_skipped_with_their_path(folder: Path) -> None:
    (folder / "ant" / "y.png").write_bytes(b"no image")
    (folder / "ant" / "z.png").symlink_to(folder / "gone.png")
    examples = read_image_folder(folder, fit=Fit(size=4))
    images, read = examples.fetch(torch.arange(len(examples)))
    assert len(examples) == 8
    assert images.shape == (6, 3, 4, 4)
    assert len(read) == 6
    assert [entry.name for entry in examples.skipped] == ["ant/y.png", "ant/z.png"]


def test_links_below_a_class_are_not_followed_into_a_circle(folder: Path) -> None:
    (folder / "dog" / "again").symlink_to(folder, target_is_directory=True)
    assert len(read_image_folder(folder)) == 6


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no sub-folders"):
        read_image_folder(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(SourceError, match="no images in its sub-folders"):
        read_image_folder(tmp_path)
