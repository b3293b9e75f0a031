from __future__ import annotations

import pytest
import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation.states import StateOutputs, first_names, fit_state, own_tensors


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.9), nn.Linear(4, 2))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2, bias=False)
        self.second = nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("offset", torch.ones(2), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.second(self.first(inputs)) + self.offset
        return answer


def test_a_models_own_state_fits_it() -> None:
    model = network()
    fitted = fit_state(model, model.state_dict())
    assert list(fitted) == list(own_tensors(model))
    assert all(torch.equal(fitted[name], tensor) for name, tensor in model.state_dict().items())


def test_tied_tensors_are_found_under_any_of_their_names_and_unsaved_buffers_are_the_models() -> None:
    model, value = Tied(), torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    assert first_names(model)["second.weight"] == "first.weight"
    for name in ("first.weight", "second.weight"):
        fitted = fit_state(model, {name: value})
        assert set(fitted) == {"first.weight", "offset"}
        outputs = StateOutputs(model)
        with outputs.ready():
            assert outputs(fitted, torch.ones(1, 2)).tolist() == [[5.0, 10.0]]


def test_a_state_takes_the_models_types_and_may_lack_the_count_of_batches() -> None:
    model = network()
    state = {name: tensor.to(torch.float64) for name, tensor in model.state_dict().items()}
    del state["1.num_batches_tracked"]
    fitted = fit_state(model, state)
    assert fitted["0.weight"].dtype == torch.float32
    assert fitted["1.num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: state.pop("3.bias"), r"ours: it has no 3\.bias; give"),
        (lambda state: state.update({"4.bias": torch.zeros(2)}), r"ours: 4\.bias is no tensor of the model"),
        (lambda state: state.update({"3.bias": torch.zeros(3)}), r"3\.bias is \[3\] where the model has \[2\]"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change: object, problem: str) -> None:
    model = network()
    state = dict(model.state_dict())
    change(state)  # type: ignore[operator]
    with pytest.raises(SourceError, match=problem):
        fit_state(model, state, name="ours")


def test_outputs_are_those_in_evaluation_mode_and_the_model_is_left_as_it_is() -> None:
    model = network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {name: tensor * 2 for name, tensor in model.state_dict().items()}
    outputs, inputs = StateOutputs(model), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    generator = torch.get_rng_state()
    with outputs.ready():
        found = outputs(fit_state(model, state), inputs)
    assert not found.requires_grad
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    model.load_state_dict(state)
    torch.testing.assert_close(found, model.eval()(inputs).detach())


def test_layers_that_are_random_in_evaluation_too_draw_the_same_for_every_state() -> None:
    class Noise(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs + torch.randn(inputs.shape)

    def drawn(seed: int) -> torch.Tensor:
        outputs = StateOutputs(Noise(), seed=seed)
        with outputs.ready():
            found: torch.Tensor = outputs({}, torch.zeros(3))
        return found

    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))


def test_inputs_that_the_network_cannot_take_are_the_datas_fault() -> None:
    model = network()
    outputs = StateOutputs(model)
    with (
        outputs.ready(),
        pytest.raises(SourceError, match=r"the data: the network cannot take inputs of float32 \[5, 7\]"),
    ):
        outputs(fit_state(model, model.state_dict()), torch.zeros(5, 7))
