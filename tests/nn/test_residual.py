from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.zoo import zoo_model
from weightatlas.evaluation import evaluate, open_data, open_model
from weightatlas.nn import DEPTHS, ResidualNetwork
from weightatlas.nn.residual import BLOCKS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("depth", "classes", "parameters", "tensors"),
    [
        (18, 10, 11_173_962, 21),
        (34, 10, 21_282_122, 37),
        (34, 100, 21_328_292, 37),
        (50, 10, 23_520_842, 54),
        (152, 10, 58_156_618, 156),
    ],
)
def test_it_has_the_parameters_of_public_code(depth: int, classes: int, parameters: int, tensors: int) -> None:
    with torch.device("meta"):
        network = ResidualNetwork(depth, classes=classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert sum(parameter.ndim > 1 for parameter in network.parameters()) == tensors


@pytest.mark.parametrize("depth", [depth for depth in DEPTHS if len(BLOCKS[depth]) == 4])
def test_weights_fit_torchvision_s_network_of_that_depth_but_for_the_stem(depth: int) -> None:
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    with torch.device("meta"):
        ours = {name: value.shape for name, value in ResidualNetwork(depth).state_dict().items()}
    theirs = zoo_model(f"torchvision:resnet{depth}?pretrained=false&num_classes=10").state_dict()
    assert ours == {name: value.shape for name, value in theirs.items()} | {"conv1.weight": (64, 3, 3, 3)}


@pytest.mark.parametrize("depth", [20, 56, 110])
def test_those_made_for_cifar_have_as_many_layers_as_their_name_says(depth: int) -> None:
    with torch.device("meta"):
        network = ResidualNetwork(depth)
    weights = {name: value for name, value in network.named_parameters() if value.ndim > 1}
    assert sum("downsample" not in name for name in weights) == depth
    units = [len(network.get_parameter(f"layer{stage}.0.conv1.weight")) for stage in (1, 2, 3)]
    assert units == [16, 32, 64]
    assert network(torch.zeros(2, 3, 32, 32, device="meta")).shape == (2, 10)


@pytest.mark.reference
@pytest.mark.parametrize(("depth", "file"), [(20, "resnet20-12fca82f.th"), (56, "resnet56-4bfd9763.th")])
def test_public_weights_fit_those_made_for_cifar_but_for_their_shortcuts(
    depth: int, file: str, reference: Path
) -> None:
    public = open_checkpoint(reference / "cifar_resnets" / file)
    theirs = {layer.tensor.removeprefix("module."): tuple(layer.shape) for layer in public.layers}
    ours = {name: tuple(tensor.shape) for name, tensor in ResidualNetwork(depth).named_parameters() if tensor.ndim > 1}
    weights = {name.replace("linear.", "fc."): shape for name, shape in theirs.items() if len(shape) > 1}
    assert weights == {name: shape for name, shape in ours.items() if "downsample" not in name}


@pytest.mark.reference
def test_public_weights_answer_about_as_published(reference: Path) -> None:
    """Published: 91.7 % of the test images as they were; these were compressed again."""
    images = reference.parent / "data" / "cifar10"
    if not images.exists():
        pytest.skip("needs CIFAR-10 beside the checkout")
    weights = reference / "cifar_resnets" / "resnet20-12fca82f.th"
    network = open_model("weightatlas:resnet20-cifar?shortcut=zeros", checkpoint=weights)
    data = open_data(f"cifar10:{images}?split=test&limit=256&normalize=imagenet&batch_size=128")
    assert evaluate(network, data).accuracy > 0.85


@pytest.mark.parametrize(("depth", "shortcut"), [(50, "zeros"), (20, "none")])
def test_shortcuts_that_there_are_not_are_refused(depth: int, shortcut: str) -> None:
    with pytest.raises(ValueError, match="shortcut must be one of"):
        ResidualNetwork(depth, shortcut=shortcut)  # type: ignore[arg-type]


def basic_blocks_by_hand(network: ResidualNetwork, images: torch.Tensor) -> torch.Tensor:
    """ResNet-18 in evaluation mode, written out from its weights."""
    state = network.state_dict()

    def layer(features: torch.Tensor, convolution: str, norm: str, stride: int) -> torch.Tensor:
        weight = state[f"{convolution}.weight"]
        features = functional.conv2d(features, weight, stride=stride, padding=weight.shape[-1] // 2)
        figures = [state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(features, *figures)

    features = layer(images, "conv1", "bn1", 1).relu()
    for stage in range(1, 5):
        for number in range(2):
            block, stride = f"layer{stage}.{number}", 2 if stage > 1 and number == 0 else 1
            change = layer(features, f"{block}.conv1", f"{block}.bn1", stride).relu()
            change = layer(change, f"{block}.conv2", f"{block}.bn2", 1)
            if stride == 2:
                features = layer(features, f"{block}.downsample.0", f"{block}.downsample.1", 2)
            features = (features + change).relu()
    return functional.linear(features.mean(dim=(2, 3)), state["fc.weight"], state["fc.bias"])


def test_it_computes_what_its_blocks_say() -> None:
    network = ResidualNetwork(18, width=1 / 16, classes=5, seed=3)
    images = torch.randn(4, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    network.train()(images)
    network.eval()
    torch.testing.assert_close(network(images), basic_blocks_by_hand(network, images))


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_narrow_one_keeps_its_depth_and_takes_any_size(depth: int) -> None:
    narrow = ResidualNetwork(depth, width=1 / 64, classes=3)
    assert [name for name, _ in narrow.named_parameters()] == [
        name for name, _ in ResidualNetwork(depth, width=1 / 32).named_parameters()
    ]
    assert narrow(torch.zeros(2, 3, 17, 33)).shape == (2, 3)


def test_the_seed_fixes_the_weights_and_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (ResidualNetwork(18, width=1 / 32, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_two_tasks_start_from_the_same_weights_but_for_the_classifier() -> None:
    few, many = (ResidualNetwork(18, width=1 / 32, classes=classes, seed=4).state_dict() for classes in (4, 24))
    assert [name for name in few if few[name].shape != many[name].shape] == ["fc.weight", "fc.bias"]
    assert all(torch.equal(few[name], many[name]) for name in few if not name.startswith("fc."))


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="depth must be one of 8, 14, 18, 20, 34, 50, 56, 110, 152, not 19"):
        ResidualNetwork(19)
    with pytest.raises(ValueError, match="width must be above 0"):
        ResidualNetwork(18, width=0)
