from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.nn.norms import CHANNELS, norm, values
from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d
from weightatlas.nn.update_rate import accumulation_rate, follow_learning_rate, set_update_rate


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 1), BatchChannelNorm2d(4, 2, estimated=True), BatchChannelNorm2d(4, 2))


def rates(model: nn.Module) -> list[float]:
    return [round(float(module.rate), 6) for module in model.modules() if isinstance(module, BatchChannelNorm2d)]


def test_the_rate_is_set_where_estimates_are_trained_by() -> None:
    model = network()
    buffer = model[1].rate
    assert set_update_rate(model, 0.25) == 1
    assert rates(model) == [0.25, 0.1]
    assert model[1].rate is buffer, "written in place"


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_rates_out_of_range_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="rate must be from 0 to 1"):
        set_update_rate(network(), wrong)
    with pytest.raises(ValueError, match="rate must be from 0 to 1"):
        accumulation_rate(wrong, 2)


def test_a_model_without_estimates_is_refused() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4), BatchChannelNorm2d(4, 2))
    with pytest.raises(ValueError, match="no batch-channel norm that trains by estimates"):
        set_update_rate(model, 0.1)


def test_the_rate_follows_a_schedule_a_step_behind() -> None:
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters(), "lr": 0.4}]
    optimizer = torch.optim.SGD(groups)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 3], gamma=0.1)
    handle = follow_learning_rate(model, optimizer, rate=0.2)
    seen = []
    for _ in range(5):
        seen.append(rates(model)[0])
        optimizer.step()
        scheduler.step()
    assert seen == [0.2, 0.2, 0.02, 0.02, 0.002]
    assert rates(model)[1] == 0.1
    handle.remove()
    optimizer.param_groups[1]["lr"] = 0.4
    optimizer.step()
    assert rates(model)[0] == 0.002


def test_the_highest_learning_rate_may_be_yet_to_come() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    follow_learning_rate(model, optimizer, rate=0.2, highest=0.1)
    assert rates(model)[0] == 0.02
    optimizer.param_groups[0]["lr"] = 0.3
    optimizer.step()
    assert rates(model)[0] == 0.2, "never above the rate asked for"


def test_a_schedule_that_begins_low_is_followed_to_its_top() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=20)
    follow_learning_rate(model, optimizer, rate=0.2)
    seen = []
    for _ in range(19):
        optimizer.step()
        seen.append((rates(model)[0], round(0.2 * optimizer.param_groups[0]["lr"], 6)))
        scheduler.step()
    assert all(followed == proportional for followed, proportional in seen)
    assert max(seen)[0] == 0.2


def test_a_highest_learning_rate_of_nothing_is_refused() -> None:
    model = network()
    with pytest.raises(ValueError, match="highest must be"):
        follow_learning_rate(model, torch.optim.SGD(model.parameters(), lr=0.0))


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(1, 64))
def test_parts_forget_together_what_a_whole_batch_forgets(rate: float, parts: int) -> None:
    part = accumulation_rate(rate, parts)
    assert 0 <= part <= 1
    assert (1 - part) ** parts == pytest.approx(1 - rate, abs=1e-12)


def test_a_part_s_rate_keeps_its_digits_where_it_is_small() -> None:
    assert accumulation_rate(1e-15, 4) == pytest.approx(2.5e-16, rel=1e-9)
    with pytest.raises(ValueError, match="parts must be at least 1"):
        accumulation_rate(0.1, 0)


def test_accumulated_parts_of_equal_content_are_the_whole_batch() -> None:
    whole, split = (norm(estimated=True, rate=0.3) for _ in range(2))
    set_update_rate(whole, 0.3)
    set_update_rate(split, accumulation_rate(0.3, 4))
    part = values(2, CHANNELS, 3, 3)
    whole(part.repeat(4, 1, 1, 1))
    for _ in range(4):
        split(part)
    torch.testing.assert_close(split.running_mean, whole.running_mean, rtol=1e-12, atol=0)
