"""Small networks whose norms stand in every place that matters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """A stem, and a residual block after activation; the last norm begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 3)
        nn.init.zeros_(self.bn2.weight)

    def forward(self, values: Tensor) -> Tensor:
        values = self.stem_norm(self.stem(values)).relu()
        branch = self.bn1(self.conv1(values)).relu()
        answer: Tensor = self.head((values + self.bn2(self.conv2(branch))).relu().mean((2, 3)))
        return answer


class PreActivation(nn.Module):
    """The norms stand before the convolutions: on a sum and on the answer of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(8)

    def forward(self, values: Tensor) -> Tensor:
        values = self.stem(values)
        branch = self.conv1(self.bn1(values).relu())
        branch = self.conv2(self.bn2(branch).relu())
        answer: Tensor = self.bn3(values + branch)
        return answer


class Places(nn.Module):
    """Outputs of convolutions: to a norm through dropout, changed in place, viewed, concatenated, taken twice."""

    def __init__(self) -> None:
        super().__init__()
        self.through = nn.Conv2d(3, 4, 1)
        self.dropout = nn.Dropout2d()
        self.through_norm = nn.BatchNorm2d(4)
        self.changed = nn.Conv2d(3, 4, 1)
        self.changed_norm = nn.BatchNorm2d(4)
        self.flat = nn.Conv2d(3, 4, 1)
        self.flat_norm = nn.LayerNorm(4)
        self.joined = nn.Conv2d(3, 4, 1)
        self.joined_norm = nn.BatchNorm2d(8)
        self.both = nn.Conv2d(3, 4, 1)
        self.both_norm = nn.BatchNorm2d(4)

    def forward(self, values: Tensor) -> Tensor:
        through = self.through_norm(self.dropout(self.through(values)))
        changed = self.changed(values)
        changed += through
        changed = self.changed_norm(changed)
        flat = self.flat_norm(self.flat(values).flatten(2).transpose(1, 2))
        joined = self.joined_norm(torch.cat((self.joined(values), through), 1))
        both = self.both(values)
        answer: Tensor = joined.sum() + flat.sum() + changed.sum() + (self.both_norm(both) * both).sum()
        return answer


class Auxiliary(nn.Module):
    """A branch that runs in training only, and one that no pass ever reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.auxiliary = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6))
        self.unused = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6))
        self.alone = nn.Conv2d(4, 6, 1)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        values = self.norm(self.conv(values))
        return values, self.auxiliary(values) if self.training else None


class Undecided(nn.Module):
    """The number of its steps depends on its values: no pass without values comes to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.late = nn.Conv2d(4, 4, 1)
        self.late_norm = nn.BatchNorm2d(4)

    def forward(self, values: Tensor) -> Tensor:
        values = self.norm(self.conv(values))
        answer: Tensor = self.late_norm(self.late(values)) if values.sum().item() == values.sum().item() else values
        return answer


def with_estimates(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every norm an affine part and running estimates as training leaves them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            last = name.rpartition(".")[2]
            if tensor.ndim == 1 and tensor.is_floating_point():
                drawn = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
                positive = last in ("running_var", "weight", "channel_weight")
                tensor.copy_(drawn + 0.5 if positive else drawn - 0.5)
    return model


def parts(model: nn.Module) -> Any:  # noqa: ANN401
    """A model whose parts are looked up by name, whatever they are."""
    return model
