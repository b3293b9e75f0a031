from __future__ import annotations

import pytest
import torch

from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.lab.published import ShiftedResNet50, TemporalShift


def slow_shift(images: torch.Tensor, frames: int) -> torch.Tensor:
    """The definition, element by element."""
    clips = images.reshape(-1, frames, *images.shape[1:])
    found = torch.zeros_like(clips)
    part = images.shape[1] // 8
    for time in range(frames):
        for channel in range(images.shape[1]):
            source = time + 1 if channel < part else time - 1 if channel < 2 * part else time
            if 0 <= source < frames:
                found[:, time, channel] = clips[:, source, channel]
    return found.flatten(0, 1)


@pytest.mark.parametrize(("frames", "channels"), [(1, 8), (3, 16), (4, 5), (8, 24)])
def test_the_shift_is_its_definition(frames: int, channels: int) -> None:
    images = torch.randn((2 * frames, channels, 2, 3), generator=torch.Generator().manual_seed(frames))
    assert torch.equal(TemporalShift(frames)(images), slow_shift(images, frames))


def test_images_that_make_no_whole_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="7 images are no whole clips of 4 frames"):
        TemporalShift(4)(torch.zeros(7, 8, 1, 1))


def test_the_network_sees_the_order_of_frames_and_clips_alone() -> None:
    torch.manual_seed(0)
    network = ShiftedResNet50(5, frames=3).eval()
    clips = torch.randn((2, 3, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = network(clips)
        turned = network(clips.flip(2))
        alone = network(clips[1:])
    assert logits.shape == (2, 5)
    torch.testing.assert_close(alone, logits[1:], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(turned, logits, rtol=1e-4, atol=1e-4)


def test_an_image_network_has_the_same_weights_under_its_names() -> None:
    import_torchvision()
    from torchvision.models import resnet50

    with torch.device("meta"):
        own = {name.replace("conv1.1.", "conv1.") for name in ShiftedResNet50().resnet.state_dict()}
        images = set(resnet50(weights=None).state_dict())
    assert own ^ images == {"fc.weight", "fc.bias", "fc.1.weight", "fc.1.bias"}


@pytest.mark.parametrize("shape", [(1, 3, 7, 32, 32), (8, 3, 32, 32)])
def test_clips_of_another_length_are_refused(shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = ShiftedResNet50(5)
        with pytest.raises(ValueError, match="clips are"):
            network(torch.zeros(shape))
