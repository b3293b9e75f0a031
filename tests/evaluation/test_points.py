from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from weightatlas.checkpoints import import_torchvision
from weightatlas.errors import SourceError
from weightatlas.evaluation.points import NamedPoints


@pytest.fixture(autouse=True)
def _apart() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))


class Residual(nn.Module):
    """A block whose inside is no cut."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(3, 3)
        self.after = nn.ReLU()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = self.after(self.inside(inputs) + inputs)
        return total


def test_values_are_those_of_the_modules() -> None:
    model, inputs = mlp(), torch.randn(6, 3)
    found = NamedPoints(model, ["input", "0:output", "2", "2:output", "output"]).values(inputs)
    assert list(found) == ["input", "0:output", "2", "2:output", "output"]
    torch.testing.assert_close(found["input"], inputs)
    torch.testing.assert_close(found["0:output"], model[0](inputs))
    torch.testing.assert_close(found["2"], model[:2](inputs))
    torch.testing.assert_close(found["2:output"], model[:3](inputs))
    torch.testing.assert_close(found["output"], model(inputs))
    assert not any(values.requires_grad for values in found.values())


def test_some_of_the_points() -> None:
    points = NamedPoints(mlp(), ["0", "2", "output"])
    assert list(points.values(torch.randn(6, 3), "2")) == ["2"]


@pytest.mark.parametrize(
    ("module", "shape", "axis"),
    [
        (nn.Linear(4, 4), (2, 5, 6, 4), 3),
        (nn.Conv1d(4, 4, 1), (2, 4, 7), 1),
        (nn.Conv2d(4, 4, 1), (2, 4, 7, 7), 1),
        (nn.BatchNorm1d(4), (2, 4, 7), 1),
        (nn.AvgPool1d(2), (2, 4, 8), 1),
        (nn.LayerNorm(4), (2, 7, 7, 4), 3),
        (nn.ReLU(), (2, 7, 4), 2),
        (nn.ReLU(), (2, 4, 7, 7), 1),
        (nn.ReLU(), (2, 4), 1),
    ],
)
def test_the_axis_of_features(module: nn.Module, shape: tuple[int, ...], axis: int) -> None:
    points = NamedPoints(nn.Sequential(module), ["0"])
    values = points.values(torch.randn(shape))["0"]
    assert points.axis("0", values) == axis
    positions = values.numel() // (shape[0] * 4)
    assert points.rows("0", values).shape == (2, positions, 4)


def test_another_axis_by_name() -> None:
    points = NamedPoints(nn.Sequential(nn.ReLU()), ["0"], axes={"0": 1})
    values = torch.arange(24.0).reshape(2, 3, 4)
    assert points.axis("0", values) == 1
    torch.testing.assert_close(points.rows("0", values), values.transpose(1, 2))


def test_one_number_for_each_example() -> None:
    points = NamedPoints(nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), ["0", "output"])
    assert points.rows("output", points.values(torch.randn(4, 3))["output"]).shape == (4, 1, 1)


def test_what_follows_where_other_values_are_put() -> None:
    model, inputs = mlp(), torch.randn(6, 3)
    points = NamedPoints(model, ["0", "2", "4", "output"])
    values = torch.randn(6, 4)
    torch.testing.assert_close(points.onward(inputs, "2", values, "4"), model[2:4](values))
    torch.testing.assert_close(points.onward(inputs, "2", values, "output"), model[2:](values))
    torch.testing.assert_close(
        points.onward(inputs, "2:output", torch.ones(6, 5), "output"), model[3:](torch.ones(6, 5))
    )


def test_it_can_be_differentiated() -> None:
    model, inputs = mlp(), torch.randn(6, 3)
    points = NamedPoints(model, ["0", "2", "output"])
    values = torch.randn(6, 4, requires_grad=True)
    found = torch.autograd.grad(points.onward(inputs, "2", values, "output").square().sum(), values)[0]
    expected = torch.autograd.grad(model[2:](values).square().sum(), values)[0]
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        assert not points.onward(inputs, "2", values, "output").requires_grad


def test_links_lead_from_the_point_or_from_behind_its_module() -> None:
    model, inputs = mlp(), torch.randn(6, 3)
    points = NamedPoints(model, ["0", "2", "output"])
    values = torch.randn(6, 4)
    leaf, reached = points.linked(inputs, "2", values, "output")
    before = torch.autograd.grad(reached.sum(), leaf)[0]
    behind, same = points.linked(inputs, "2", values, "output", behind=True)
    torch.testing.assert_close(reached, same)
    torch.testing.assert_close(behind, model[2](values))
    torch.testing.assert_close(torch.autograd.grad(same.sum(), behind)[0] @ model.state_dict()["2.weight"], before)
    whole, _ = NamedPoints(model[0], ["input", "output"]).linked(inputs, "input", inputs, "output", behind=True)
    torch.testing.assert_close(whole, model[0](inputs))


def test_weights_are_known_of_linear_layers_as_they_are() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(4, 4, 1, stride=2),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 1, groups=2),
        nn.Linear(4, 2),
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)),
        nn.Linear(3, 1),
    )
    model[6].register_forward_hook(lambda *_: None)
    points = NamedPoints(model, [*map(str, range(7)), "4:output"])
    torch.testing.assert_close(points.weights("0"), model.state_dict()["0.weight"].flatten(1))
    torch.testing.assert_close(points.weights("4"), model.state_dict()["4.weight"])
    torch.testing.assert_close(points.weights("5"), getattr(model[5], "weight").detach())  # noqa: B009 - as computed
    assert all(points.weights(name) is None for name in ("1", "2", "3", "6", "4:output"))


def test_cuts_are_seen() -> None:
    inputs = torch.randn(6, 3)
    NamedPoints(mlp(), ["input", "0", "2", "4:output", "output"]).check(inputs)
    model = nn.Sequential(Residual(), Residual())
    NamedPoints(model, ["0", "1", "output"]).check(inputs)
    NamedPoints(model, ["0.after", "1", "output"]).check(inputs)
    for count in (6, 1):
        with pytest.raises(
            SourceError, match=r"^0\.inside:output: it is no cut: 1 knows of the inputs by another path"
        ):
            NamedPoints(model, ["0.inside:output", "1", "output"]).check(inputs[:count])


def test_one_example_of_integers_is_turned() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), Residual(), nn.Linear(3, 2))
    NamedPoints(model, ["1", "2", "output"]).check(torch.tensor([[0, 1, 2]]))
    with pytest.raises(SourceError, match="no cut"):
        NamedPoints(model, ["1.inside", "2"]).check(torch.tensor([[0, 1, 2]]))
    NamedPoints(model, ["1.inside", "2"]).check(torch.tensor([[1, 1]]))  # nothing else to give it


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["hidden", "output"], "hidden: the network has no module hidden; name a module, such as"),
        (["2", "0", "output"], "^2: the network reaches the points in another order .* in its order: 0, 2, output"),
        (["0:weights"], "^0:weights: a module has no weights"),
    ],
)
def test_names_that_are_wrong(names: list[str], problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        NamedPoints(mlp(), names).check(torch.randn(6, 3))


def test_near_names_are_given() -> None:
    model = nn.Sequential()
    model.add_module("layer1", nn.Sequential(nn.Linear(3, 3)))
    model.add_module("layer2", nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(SourceError, match=r"layer3: the network has no module layer3; name a module, such as layer2"):
        NamedPoints(model, ["layer3"])


def test_points_are_different() -> None:
    for names in (["0", "0"], "output"):
        with pytest.raises(ValueError, match="different names"):
            NamedPoints(mlp(), names)


def test_modules_that_never_run_or_more_than_once() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            twice: torch.Tensor = self.used(self.used(inputs))
            return twice

    with pytest.raises(SourceError, match="unused: the network never comes there"):
        NamedPoints(Odd(), ["unused", "output"]).values(torch.randn(2, 3))
    with pytest.raises(SourceError, match="used: the network comes there more than once"):
        NamedPoints(Odd(), ["used", "output"]).values(torch.randn(2, 3))
    with pytest.raises(SourceError, match=r"4: the network never comes there, or not before the later point"):
        NamedPoints(mlp(), ["2", "4"]).onward(torch.randn(2, 3), "4", torch.zeros(2, 5), "2")


def test_integers_and_other_first_axes_are_told() -> None:
    with pytest.raises(SourceError, match=r"input: it holds int64; name a later point"):
        NamedPoints(nn.Sequential(nn.Embedding(5, 3)), ["input", "output"]).values(torch.tensor([[0, 1]]))
    with pytest.raises(SourceError, match=r"output: it holds \[6\] for 2 examples"):
        NamedPoints(nn.Sequential(nn.ReLU(), nn.Flatten(0)), ["0", "output"]).values(torch.randn(2, 3))


def test_a_network_called_output_inside_is_reached() -> None:
    model = nn.ModuleDict({"output": nn.Linear(3, 2)})
    model.forward = lambda inputs: model["output"](inputs) + 1
    inputs = torch.randn(4, 3)
    found = NamedPoints(model, ["output:input", "output:output", "output"]).values(inputs)
    torch.testing.assert_close(found["output:input"], inputs)
    torch.testing.assert_close(found["output:output"] + 1, found["output"])


def test_it_runs_in_evaluation_and_leaves_no_trace() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)).train()
    model[1].eval()
    inputs = torch.randn(8, 3)
    state = torch.random.get_rng_state()
    points = NamedPoints(model, ["1", "3", "output"])
    points.check(inputs)
    found = points.values(inputs)["output"]
    assert [module.training for module in model] == [True, False, True, True]
    assert torch.equal(state, torch.random.get_rng_state())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.is_grad_enabled()
    torch.testing.assert_close(found, model.eval()(inputs).detach())


def test_an_error_of_the_network_leaves_no_hooks() -> None:
    model = mlp()
    points = NamedPoints(model, ["0", "output"])
    with pytest.raises(RuntimeError):
        points.values(torch.randn(2, 7))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.backends.mha.get_fastpath_enabled()


def test_random_networks_draw_the_same_in_every_pass() -> None:
    class Noisy(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return nn.functional.dropout(inputs, 0.5, training=True)

    points = NamedPoints(nn.Sequential(nn.Linear(3, 40), Noisy(), nn.Linear(40, 2)), ["1", "2", "output"])
    points.check(torch.randn(6, 3))


def test_inside_of_attention_and_its_encoder_layer() -> None:
    model = nn.Sequential(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Linear(4, 2)).eval()
    inputs = torch.randn(3, 5, 4)
    points = NamedPoints(model, ["0", "0.linear2", "0.self_attn", "1", "output"])
    assert points.values(inputs)["0.linear2"].shape == (3, 5, 8)
    with pytest.raises(SourceError, match="another order"):
        points.check(inputs)
    attention = nn.Sequential(nn.Linear(4, 4), _SelfAttention(), nn.Linear(4, 2))
    NamedPoints(attention, ["1.attention", "2", "output"]).check(inputs)  # query, key and value are one


class _SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        attended: torch.Tensor = self.attention(query=inputs, key=inputs, value=inputs)[0]
        return attended


def test_wrapped_networks() -> None:
    model, inputs = mlp(), torch.randn(4, 3)
    found = NamedPoints(torch.compile(model, backend="eager"), ["2", "output"]).values(inputs)  # type: ignore[arg-type]
    torch.testing.assert_close(found["output"], model(inputs).detach())
    found = NamedPoints(nn.DataParallel(model), ["2", "output"]).values(inputs)
    torch.testing.assert_close(found["2"], model[:2](inputs).detach())


@pytest.mark.parametrize("name", ["GPT2", "Llama"])
def test_a_language_model_of_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    import_torchvision()
    sizes = {"GPT2": {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 6, "bos_token_id": 0, "eos_token_id": 0}}
    llama = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 12}
    config = getattr(transformers, f"{name}Config")(vocab_size=13, **sizes.get(name, llama))
    model = getattr(transformers, f"{name}{'LMHeadModel' if name == 'GPT2' else 'ForCausalLM'}")(config)
    blocks, inside = ("transformer.h", "mlp") if name == "GPT2" else ("model.layers", "mlp")
    points = NamedPoints(model, [f"{blocks}.0", f"{blocks}.1", f"{blocks}.1:output", "output"])
    tokens = torch.randint(13, (3, 6))
    points.check(tokens)
    assert points.values(tokens)["output"].shape == (3, 6, 13)
    with pytest.raises(SourceError, match=r"0\.mlp: it is no cut"):
        NamedPoints(model, [f"{blocks}.0", f"{blocks}.0.{inside}", f"{blocks}.1"]).check(tokens)
    if name == "GPT2":
        weights = NamedPoints(model, ["transformer.h.1.mlp.c_fc"]).weights("transformer.h.1.mlp.c_fc")
        assert weights is not None
        assert weights.shape == (32, 8)
