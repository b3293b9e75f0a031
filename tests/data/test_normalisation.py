from __future__ import annotations

from pathlib import Path

import pytest
import torch

from weightatlas.checkpoints import import_torchvision
from weightatlas.data import read_cifar
from weightatlas.data.normalisation import STATISTICS, Normalization, normalised

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def test_bytes_become_numbers_from_0_to_1() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    found = normalised(images)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    assert torch.equal(found.flatten(), torch.arange(256) / 255)


@pytest.mark.parametrize("name", list(STATISTICS))
def test_statistics_are_applied_as_torchvision_does(name: Normalization) -> None:
    import_torchvision()
    from torchvision.transforms import v2

    images = torch.randint(0, 256, (4, 3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, deviation = STATISTICS[name]
    expected = v2.functional.normalize(images.float() / 255, list(mean), list(deviation))
    assert torch.equal(normalised(images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), name), expected)


def test_floating_point_inputs_are_cast_only_and_never_changed() -> None:
    inputs = torch.tensor([[3.0, 300.0]], dtype=torch.float64)
    assert normalised(inputs).tolist() == [[3.0, 300.0]]
    floats = torch.ones(2, 2)
    normalised(floats).add_(1)
    images = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    normalised(images, "half")
    assert int(images.min()) == 255


def test_statistics_need_images_of_three_channels() -> None:
    for inputs in (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, 3, 4, 4), torch.zeros(3).byte()):
        with pytest.raises(ValueError, match="three channels"):
            normalised(inputs, "imagenet")
    with pytest.raises(ValueError, match=r"no normalisation 'imagnet'; there is none, imagenet"):
        normalised(torch.zeros(1, 3, 2, 2).byte(), "imagnet")  # type: ignore[arg-type]


@pytest.mark.reference
@pytest.mark.parametrize("classes", [10, 100])
def test_cifars_statistics_are_those_of_its_training_images(classes: int) -> None:
    folder = DATA / f"cifar{classes}"
    if not folder.is_dir():
        pytest.skip(f"the data are absent: no folder {folder}")
    examples = read_cifar(folder, classes=classes)
    images, _ = examples.fetch(torch.arange(0, len(examples), 25))
    scaled = images.double() / 255
    mean, deviation = STATISTICS[f"cifar{classes}"]
    assert torch.allclose(scaled.mean(dim=(0, 2, 3)), torch.tensor(mean).double(), atol=0.005)
    assert torch.allclose(scaled.std(dim=(0, 2, 3)), torch.tensor(deviation).double(), atol=0.005)


@pytest.mark.parametrize("default", [torch.float16, torch.bfloat16, torch.float64])
def test_torch_s_default_type_does_not_matter(default: torch.dtype) -> None:
    images = torch.arange(48, dtype=torch.uint8).reshape(1, 3, 4, 4)
    expected = normalised(images, "imagenet")
    torch.set_default_dtype(default)
    try:
        found = normalised(images, "imagenet")
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)
