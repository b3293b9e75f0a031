"""Little networks in which rectified layers are wired in every way, and what a direction changes in them."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.func import functional_call, jvp
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(4, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.second, self.last = nn.Conv2d(5, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        inner = self.second(functional.relu(self.norm(self.first(inputs)), inplace=True))
        inner += inputs
        return self.last(functional.adaptive_avg_pool2d(torch.relu_(inner), 1).flatten(1))  # type: ignore[no-any-return]


class Concatenating(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 4, 1)
        self.joint, self.last = nn.Conv2d(7, 2, 3), nn.Linear(8, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        both = torch.cat([functional.relu(self.left(inputs)), self.right(inputs).clamp(min=0)], dim=1)
        return self.last(self.joint(both).flatten(1))  # type: ignore[no-any-return]


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        one, other = (self.second(functional.relu(self.first(each))) for each in (inputs, 2 * inputs))
        return one + other  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        state = functional.relu(self.first(inputs))
        for _ in range(2):
            state = functional.relu(self.again(state))
        return self.last(state)  # type: ignore[no-any-return]


class ChannelsLast(nn.Module):
    """A flattened map with channels last: a unit's columns are not side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 6, 1), nn.Linear(96, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        maps = functional.relu(self.first(inputs)).permute(0, 2, 3, 1) / 2.0
        return self.last(maps.reshape(len(maps), -1))  # type: ignore[no-any-return]


class Matrices(nn.Module):
    """Weights that are multiplied from the right, as transformers' GPT-2 has them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.bias = nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.randn(6))
        self.last = nn.Parameter(torch.randn(6, 2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return functional.relu(torch.addmm(self.bias, inputs, self.first)) @ self.last


class Stream(nn.Module):
    """An MLP beside a stream of symbols, whose mean over places is the output."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.last = nn.Linear(5, 6), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last((inputs + self.down(functional.relu(self.up(inputs)))).mean(1))  # type: ignore[no-any-return]


def _mlp() -> nn.Module:
    widths = ((6, 8), (8, 8), (8, 3))
    one, two, three = (nn.Linear(*width, bias=False) for width in widths)
    return nn.Sequential(one, nn.ReLU(), two, nn.ReLU(), three)


def _vgg() -> nn.Module:
    rectifier = nn.ReLU(inplace=True)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), rectifier, nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 5, 3, padding=1), rectifier, nn.AvgPool2d(2), nn.Flatten(), nn.Dropout()),
        *(nn.Linear(20, 6), rectifier, nn.Linear(6, 3)),
    )


def _grouped() -> nn.Module:
    rectifier = nn.ReLU()
    return nn.Sequential(
        *(nn.Conv2d(4, 6, 1, groups=2), rectifier),
        *(nn.Conv2d(6, 4, 3, groups=2, padding=1, padding_mode="circular"), rectifier),
        *(nn.Conv2d(4, 4, 1), rectifier, nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(4, 2)),
    )


def _transposed() -> nn.Module:
    first, second = nn.ConvTranspose2d(3, 4, 3, stride=2), nn.ConvTranspose2d(4, 2, 3)
    return nn.Sequential(first, nn.ReLU(), second, nn.Flatten(), nn.Linear(162, 2))


def _enlarging() -> nn.Module:
    upsample = nn.Upsample(scale_factor=2, mode="bilinear")
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), upsample, nn.ZeroPad2d(1), nn.Conv2d(3, 2, 1))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (_mlp, (6,)),
    "normed": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)),
        (6,),
    ),
    "vgg": (_vgg, (2, 8, 8)),
    "residual": (Residual, (4, 5, 5)),
    "concatenating": (Concatenating, (2, 4, 4)),
    "shared": (Shared, (5,)),
    "channels last": (ChannelsLast, (2, 4, 4)),
    "places flattened": (lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2)), (3, 4)),
    "matrices": (Matrices, (4,)),
    "stream": (Stream, (3, 5)),
    "leaky": (lambda: nn.Sequential(nn.Linear(4, 6), nn.LeakyReLU(), nn.Linear(6, 2)), (4,)),
    "one slope": (lambda: nn.Sequential(nn.Linear(4, 6), nn.PReLU(), nn.Linear(6, 2)), (4,)),
    "many slopes": (lambda: nn.Sequential(nn.Linear(4, 6), nn.PReLU(6), nn.Linear(6, 2)), (4,)),
    "grouped": (_grouped, (4, 3, 3)),
    "transposed": (_transposed, (3, 3, 3)),
    "enlarging": (_enlarging, (2, 2, 2)),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), (3, 8)),
}


def made(name: str, seed: int = 0) -> tuple[nn.Module, torch.Tensor]:
    """A network in float64 whose norms have statistics and scales of their own, and four examples for it."""
    torch.manual_seed(seed)
    factory, shape = NETWORKS[name]
    model = factory().double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.9)
    return model, torch.randn(4, *shape, dtype=torch.float64)


def parameters_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: one.detach() for name, one in model.named_parameters()}


def change(model: nn.Module, inputs: torch.Tensor, direction: Mapping[str, torch.Tensor]) -> float:
    """|J v| / |v| with the outputs' derivative J, in the largest entry."""
    parameters = parameters_of(model)
    tangents = {name: direction.get(name, torch.zeros_like(one)) for name, one in parameters.items()}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(value=False)
    try:
        with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):  # other kernels have no forward mode
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's forward mode scripts its own formulas
            found: torch.Tensor = jvp(_outputs(model, inputs), (parameters,), (tangents,))[1]
    finally:
        torch.backends.mha.set_fastpath_enabled(value=fast)
    size = sum(float(one.square().sum()) for one in tangents.values())
    return float(found.abs().max()) / math.sqrt(size)


def _outputs(model: nn.Module, inputs: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], torch.Tensor]:
    return lambda own: functional_call(model, own, (inputs,))
