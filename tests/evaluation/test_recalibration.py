from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.reference.barrier import recalibrated, with_state
from weightatlas.errors import SourceError
from weightatlas.evaluation.recalibration import batch_norms, has_batch_statistics, recalibrate
from weightatlas.nn import BatchChannelNorm2d

Batch = tuple[torch.Tensor, torch.Tensor]


def network(norm: type[nn.Module] = nn.BatchNorm2d) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), norm(4), nn.ReLU(), nn.Conv2d(4, 6, 3), norm(6), nn.ReLU(), nn.Dropout(0.5)
        ).double()


def batches(*sizes: int, sort: bool = False) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(sum(sizes), 3, 8, 8, generator=generator, dtype=torch.float64)
    values += torch.randn(sum(sizes), 1, 1, 1, generator=generator, dtype=torch.float64)
    if sort:
        values = values[values.mean((1, 2, 3)).argsort()]
    return [(part, torch.zeros(len(part))) for part in torch.split(values, list(sizes))]


def test_one_batch_gives_what_torch_gives_in_training_mode() -> None:
    model, data = network(), batches(7)
    found, expected = recalibrate(model, model.state_dict(), data), recalibrated(model, data).state_dict()
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-10, atol=1e-12)


def test_the_first_norms_statistics_do_not_depend_on_how_data_are_dealt_even_if_sorted() -> None:
    model, sorted_data = network(), batches(3, 5, 4, sort=True)
    expected = recalibrated(model, sorted_data).state_dict()  # all at once
    found = recalibrate(model, model.state_dict(), sorted_data)
    for name in ("1.running_mean", "1.running_var"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-10, atol=1e-12)
    averaged = torch.optim.swa_utils.AveragedModel(model.train())
    torch.optim.swa_utils.update_bn([inputs for inputs, _ in sorted_data], averaged)
    theirs = averaged.module.get_submodule("1").get_buffer("running_var")
    assert float(theirs.sum()) < 0.8 * float(expected["1.running_var"].sum())


def test_as_many_passes_as_norms_give_all_statistics_exactly() -> None:
    model, data = network(), batches(3, 5, 4)
    far: list[float] = []
    for passes in (1, 2):
        found = recalibrate(model, model.state_dict(), data, passes=passes)
        maps = with_state(model, found)[:4](torch.cat([inputs for inputs, _ in data])).detach()
        far.append(float((maps.var((0, 2, 3)) / found["4.running_var"] - 1).abs().max()))
    assert far[0] > 1e-3
    assert far[1] < 1e-12


def test_the_model_is_left_as_it_is_and_only_statistics_are_new() -> None:
    model = network().train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.get_rng_state()
    found = recalibrate(model, {name: tensor * 2 for name, tensor in before.items()}, batches(4, 4))
    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    changed = {name for name, tensor in found.items() if not torch.equal(tensor, before[name] * 2)}
    assert changed == {f"{place}.{name}" for place in (1, 4) for name in STATISTICS}
    assert int(found["1.num_batches_tracked"]) == 2


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def test_dropout_is_off() -> None:
    model, data = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(2)).train(), [(torch.randn(50, 2), torch.zeros(50))]
    found = recalibrate(model, model.state_dict(), data)
    torch.testing.assert_close(found["1.running_mean"], data[0][0].mean(0))


def test_a_norm_that_is_called_twice_has_the_statistics_of_both_calls() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.norm(inputs) + self.norm(inputs + 4)
            return answer

    found = recalibrate(Twice(), Twice().state_dict(), [(torch.tensor([[-1.0], [1.0]]), torch.zeros(2))])
    assert found["norm.running_mean"].item() == pytest.approx(2)
    assert found["norm.running_var"].item() == pytest.approx(torch.tensor([-1.0, 1.0, 3.0, 5.0]).var().item())


def test_the_batch_part_of_batch_channel_norm_is_estimated_in_both_its_forms() -> None:
    for estimated in (False, True):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), BatchChannelNorm2d(4, 2, estimated=estimated)).double()
        data = batches(3, 5)
        maps = model[0](torch.cat([inputs for inputs, _ in data])).detach()
        found = recalibrate(model, model.state_dict(), data)
        torch.testing.assert_close(found["1.running_mean"], maps.mean((0, 2, 3)))
        torch.testing.assert_close(found["1.running_var"], maps.var((0, 2, 3)))


def test_statistics_of_variances_alone_and_of_channels_last_are_estimated() -> None:
    class VarianceLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("running_var", torch.ones(3))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs / self.get_buffer("running_var").sqrt()

    values = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(0))
    found = recalibrate(VarianceLast(), {"running_var": torch.ones(3)}, [(values, torch.zeros(6))])
    torch.testing.assert_close(found["running_var"], values.flatten(0, 1).var(0))


def test_timms_norm_with_an_activation_has_statistics() -> None:
    from weightatlas.evaluation import open_model

    model = open_model("timm:mobilenetv3_small_050?pretrained=false", seed=0)
    assert {type(module).__name__ for module in batch_norms(model).values()} == {"BatchNormAct2d"}
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = recalibrate(model, model.state_dict(), [(images, torch.zeros(4))])
    maps = model.get_submodule("conv_stem")(images).detach()
    torch.testing.assert_close(found["bn1.running_var"], maps.var((0, 2, 3)))


def test_norms_without_running_estimates_have_none() -> None:
    frozen = type("FrozenBatchNorm2d", (nn.BatchNorm2d,), {})
    others = (
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.GroupNorm(2, 4),
        nn.InstanceNorm2d(4, track_running_stats=True),
        nn.LayerNorm(4),
        frozen(4),
    )
    assert not any(has_batch_statistics(module) for module in others)
    assert has_batch_statistics(nn.Sequential(nn.SyncBatchNorm(4)))


def test_no_data_no_pass_and_data_that_do_not_fit_are_refused() -> None:
    model = network()
    with pytest.raises(ValueError, match="no example"):
        recalibrate(model, model.state_dict(), [])
    with pytest.raises(ValueError, match="passes must be 1 or more"):
        recalibrate(model, model.state_dict(), batches(2), passes=0)
    with pytest.raises(SourceError, match="cannot take inputs"):
        recalibrate(model, model.state_dict(), [(torch.zeros(2, 5, 8, 8).double(), torch.zeros(2))])
