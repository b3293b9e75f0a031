"""What batch-channel norm is compared with: the notes' lines, one channel and one group at a time."""

from __future__ import annotations

import torch
from torch import nn


class SlowBatchChannelNorm(nn.Module):
    """Both forms, with the same parameters and buffers; autograd finds the gradients."""

    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor
    rate: torch.Tensor

    def __init__(self, channels: int, groups: int, *, estimated: bool, rate: float, warmup: int = 0) -> None:
        super().__init__()
        self.channels, self.groups, self.estimated = channels, groups, estimated
        self.warmup, self.eps, self.momentum = warmup, 1e-5, 0.1
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.channel_weight, self.channel_bias = nn.Parameter(torch.ones(groups)), nn.Parameter(torch.zeros(groups))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.register_buffer("rate", torch.tensor(rate))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.num_batches_tracked += 1
        z = torch.stack([self.batch_normalised(x[:, channel], channel) for channel in range(self.channels)], dim=1)
        y = torch.empty_like(z)
        size = self.channels // self.groups
        for sample in range(len(x)):
            for group in range(self.groups):
                members = slice(group * size, (group + 1) * size)
                part = z[sample, members]
                distance = part - part.mean()
                normalised = distance / torch.sqrt((distance**2).mean() + self.eps)
                y[sample, members] = self.channel_weight[group] * normalised + self.channel_bias[group]
        return y

    def batch_normalised(self, x: torch.Tensor, channel: int) -> torch.Tensor:
        if self.training and self.estimated:
            self.move(x.detach(), channel)
        elif self.training:
            mean, variance = x.mean(), ((x - x.mean()) ** 2).mean()
            with torch.no_grad():
                unbiased = variance * x.numel() / (x.numel() - 1)
                self.running_mean[channel] += self.momentum * (mean - self.running_mean[channel])
                self.running_var[channel] += self.momentum * (unbiased - self.running_var[channel])
            return self.weight[channel] * (x - mean) / torch.sqrt(variance + self.eps) + self.bias[channel]
        mean, variance = self.running_mean[channel].clone(), self.running_var[channel].clone()
        return self.weight[channel] * (x - mean) / torch.sqrt(variance + self.eps) + self.bias[channel]

    def move(self, x: torch.Tensor, channel: int) -> None:
        old, spread = self.running_mean[channel].clone(), self.running_var[channel].clone()
        batch = int(self.num_batches_tracked)
        if batch <= self.warmup:
            new = old + (x.mean() - old) / batch
            self.running_mean[channel] = new
            self.running_var[channel] = (1 - 1 / batch) * spread + ((x - old) * (x - new)).mean() / batch
        else:
            self.running_mean[channel] = (1 - self.rate) * old + self.rate * x.mean()
            self.running_var[channel] = (1 - self.rate) * spread + self.rate * ((x - old) ** 2).mean()
