from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from tests.nn.conversion.networks import Places, PreActivation, Residual, parts, with_estimates
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.errors import SourceError
from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d
from weightatlas.nn.conversion.weight_replacement import is_standardized
from weightatlas.nn.convert import convert
from weightatlas.nn.standardization import STANDARDIZATIONS, standardize
from weightatlas.nn.synchronised import SynchronisedBatchNorm2d
from weightatlas.nn.ws_conv import WSConv1d, WSConv2d, WSConv3d, WSConvTranspose2d

if TYPE_CHECKING:
    from weightatlas.nn.conversion.report import Conversion, ConvertedLayer


def entries(conversion: Conversion) -> dict[str, ConvertedLayer]:
    return {layer.layer: layer for layer in conversion.layers}


def converted(model: nn.Module, recipe: str, **options: Any) -> Any:  # noqa: ANN401 - parts are looked up by name
    return convert(model, recipe, **options).model


def kinds(model: nn.Module) -> dict[str, str]:
    return {name: type(module).__name__ for name, module in model.named_modules() if not list(module.children())}


def test_a_residual_network_becomes_one_of_standardised_weights_and_group_norm() -> None:
    model = Residual()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    conversion = convert(model, "ws+gn")
    assert kinds(conversion.model) == {
        "stem": "WSConv2d",
        "stem_norm": "GroupNorm",
        "conv1": "WSConv2d",
        "bn1": "GroupNorm",
        "conv2": "WSConv2d",
        "bn2": "GroupNorm",
        "head": "Linear",
    }
    for name in ("stem.weight", "stem.bias", "conv1.weight", "conv2.weight", "head.weight", "head.bias"):
        assert torch.equal(parts(conversion.model).state_dict()[name], before[name]), name
    assert all(layer.evidence == "seen" and layer.skipped is None for layer in conversion.layers)
    assert [layer.groups for layer in conversion.layers if layer.kind == "norm"] == [4, 4, 4]  # two channels or more
    assert conversion.summary == "Residual to ws+gn: three of three convolutions and three of three norms converted"
    assert kinds(model)["conv1"] == "Conv2d"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_residual_branch_that_begins_at_zero_still_does() -> None:
    values = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    for recipe, name in (
        ("ws+gn", "weight"),
        ("in", "weight"),
        ("bcn", "channel_weight"),
        ("micro-bcn", "channel_weight"),
    ):
        model = converted(Residual(), recipe).train()
        assert not getattr(model.bn2, name).any(), recipe
        assert getattr(model.bn1, name).all(), recipe
        given: list[torch.Tensor] = []
        model.bn2.register_forward_hook(lambda *of, kept=given: kept.append(of[2]))
        model(values)
        assert not given[0].any(), recipe
    last = converted(Residual(), "bcn").bn2
    assert torch.equal(last.weight, torch.ones(8))
    assert entries(convert(Residual(), "bcn"))["bn2"].carried == "running estimates, weight of zero"


def test_zero_goes_back_from_the_channel_part() -> None:
    there = converted(Residual(), "bcn")
    back = converted(there, "bn")
    assert not back.bn2.weight.any()
    assert back.bn1.weight.all()


def test_without_standardisation_estimates_and_affine_go_into_the_batch_part() -> None:
    model: Any = with_estimates(Residual())
    norm = converted(model, "bcn").bn1
    assert isinstance(norm, BatchChannelNorm2d)
    assert not norm.estimated
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(getattr(norm, name), getattr(model.bn1, name)), name
    assert torch.equal(parts(norm).channel_weight, torch.ones(norm.groups))
    values = torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.group_norm(model.bn1.eval()(values), norm.groups)
    assert torch.allclose(norm.eval()(values), expected, atol=1e-5)


def test_estimates_begin_anew_where_the_weights_before_are_standardised_now() -> None:
    model: Any = with_estimates(Residual())
    for recipe in ("ws+bcn", "ws+bn", "ws", "ws+syncbn"):
        conversion = convert(model, recipe)
        norm = parts(conversion.model).bn1
        assert torch.equal(norm.running_mean, torch.zeros(8)), recipe
        assert torch.equal(norm.running_var, torch.ones(8)), recipe
        assert torch.equal(norm.weight, model.bn1.weight), recipe
        assert "running estimates" not in str(entries(conversion)["bn1"].carried).partition("all but")[0], recipe


def test_a_warm_up_begins_with_no_estimates() -> None:
    model: Any = with_estimates(Residual())
    assert torch.equal(converted(model, "micro-bcn").bn1.running_mean, model.bn1.running_mean)
    norm = converted(model, "micro-bcn", warmup=3, rate=0.25).bn1
    assert (norm.estimated, norm.warmup, float(norm.rate), int(norm.num_batches_tracked)) == (True, 3, 0.25, 0)
    assert not norm.running_mean.any()


@pytest.mark.parametrize("recipe", ["bn", "syncbn"])
def test_batch_norms_of_all_kinds_compute_the_same_as_each_other(recipe: str) -> None:
    import_torchvision()
    from torchvision.ops import FrozenBatchNorm2d

    values = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    kinds_of_norm = (FrozenBatchNorm2d, nn.SyncBatchNorm, SynchronisedBatchNorm2d, nn.BatchNorm2d)
    for kind in kinds_of_norm:
        model: Any = with_estimates(nn.Sequential(nn.Conv2d(3, 4, 3), kind(4), nn.ReLU())).eval()
        if (kind is nn.BatchNorm2d) == (recipe == "bn") and kind is not FrozenBatchNorm2d:
            continue  # it is what is asked for, or a synchronised one that is asked for
        conversion = convert(model, recipe)
        assert torch.allclose(conversion.model(values), model(values), atol=1e-6), kind
        assert entries(conversion)["1"].carried == "affine, running estimates"


def test_what_is_asked_for_already_is_said() -> None:
    conversion = convert(Residual(), "ws+bn")
    assert entries(conversion)["bn1"].skipped == "batch norm already"
    with pytest.raises(SourceError, match="three times: batch norm already"):
        convert(Residual(), "bn")


def test_standardised_weights_are_those_of_the_preset() -> None:
    model = Residual()
    for how, recipe in (("qiao2019", "ws"), ("bcn2019", "ws+gn"), ("centred", "centred+gn"), ("scaled", "scaled")):
        given = converted(model, recipe, how=how if recipe.startswith("ws") else "timm")
        expected = standardize(model.conv1.weight, how=STANDARDIZATIONS[how])
        assert torch.equal(given.conv1.standardized_weight(), expected), how


def test_what_is_not_followed_by_a_norm_stays_unless_all_are_asked_for() -> None:
    conversion = convert(PreActivation(), "ws+gn")
    assert not is_standardized(parts(conversion.model).conv2)
    assert entries(conversion)["conv2"].skipped == "no norm is right behind it: add takes its output"
    assert entries(conversion)["conv2"].standardized is False
    assert entries(conversion)["bn3"].after == "GroupNorm"  # on a sum: replaced all the same
    every = converted(PreActivation(), "ws+gn", standardized="all")
    assert all(isinstance(getattr(every, name), WSConv2d) for name in ("stem", "conv1", "conv2"))


def test_layer_norms_stay_with_a_reason() -> None:
    conversion = convert(Places(), "ws+gn")
    reason = "LayerNorm normalises the channels of each position, whatever the batch"
    assert entries(conversion)["flat_norm"].skipped == reason


def test_depthwise_convolutions_are_an_option() -> None:
    model: Any = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8))
    conversion = convert(model, "ws+gn")
    assert "depthwise=True" in str(entries(conversion)["2"].skipped)
    assert type(parts(conversion.model)[2]) is nn.Conv2d
    assert type(converted(model, "ws+gn", depthwise=True)[2]) is WSConv2d
    pointwise = nn.Sequential(nn.Conv2d(8, 8, 1, groups=8), nn.BatchNorm2d(8))
    with pytest.raises(SourceError, match="one weight a unit"):
        convert(pointwise, "ws", depthwise=True)


@pytest.mark.parametrize("training", [True, False])
def test_type_mode_and_what_is_trained_stay(training: bool) -> None:
    model: Any = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, eps=0.01, momentum=0.3)).double().train(training)
    model[1].train(not training)
    model[1].bias.requires_grad_(False)
    model[0].weight.requires_grad_(False)
    for recipe in ("ws+gn", "ws+bcn", "micro-bcn", "syncbn", "in"):
        convolution, norm = converted(model, recipe)
        assert (convolution.training, norm.training) == (training, not training)
        assert norm.weight.dtype == torch.float64
        assert (norm.weight.requires_grad, norm.bias.requires_grad) == (True, False)
        assert convolution.weight.requires_grad is False
        assert norm.eps == 0.01
        assert getattr(norm, "momentum", 0.3) in (0.3, 0.1 if recipe in ("in", "micro-bcn") else 0.3)


def test_norms_without_an_affine_part_or_estimates_stay_so() -> None:
    model: Any = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False, track_running_stats=False))
    for recipe in ("gn", "bcn", "in", "syncbn"):
        norm = converted(model, recipe)[1]
        assert not list(norm.parameters()), recipe
    assert converted(model, "syncbn")[1].running_mean is None


def test_signals_films_and_transposed_convolutions() -> None:
    for convolution, norm, ours in (
        (nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), WSConv1d),
        (nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), WSConv3d),
        (nn.ConvTranspose2d(2, 4, 3), nn.BatchNorm2d(4), WSConvTranspose2d),
    ):
        there = convert(nn.Sequential(nn.Identity(), convolution, norm), "ws+bcn", example_inputs=None)
        assert type(parts(there.model)[1]) is ours
        assert type(parts(there.model)[2]).__name__ == type(norm).__name__.replace("Batch", "BatchChannel")
        back = converted(there.model, "bn")
        assert type(back[2]) is type(norm)


def test_group_norm_becomes_batch_norm_of_as_many_axes_as_its_input() -> None:
    model: Any = nn.Sequential(nn.Conv3d(2, 4, 3), nn.GroupNorm(2, 4))
    assert type(converted(model, "bn")[1]) is nn.BatchNorm3d
    features = nn.Sequential(nn.Linear(5, 4), nn.GroupNorm(2, 4))
    assert type(converted(features, "bn")[1]) is nn.BatchNorm1d


def test_a_module_in_two_places_stays_one() -> None:
    norm = nn.BatchNorm2d(3)
    model: Any = nn.Sequential(nn.Conv2d(3, 3, 1), norm, nn.Conv2d(3, 3, 1), norm)
    given = converted(model, "ws+gn")
    assert given[1] is given[3]
    assert type(given[1]) is nn.GroupNorm
    assert type(given[2]) is WSConv2d


def test_in_place_keeps_the_very_parameters() -> None:
    model = Residual()
    weight = model.conv1.weight
    given = converted(model, "ws+gn", in_place=True)
    assert given is model
    assert model.conv1.weight is weight
    assert type(model.bn1) is nn.GroupNorm
    alone = nn.BatchNorm2d(8)
    assert type(converted(alone, "gn", in_place=True, example_inputs=torch.zeros(1, 8, 2, 2))) is nn.GroupNorm


def test_weights_that_are_made_otherwise_stay_with_a_reason() -> None:
    normed = parametrizations.weight_norm(nn.Conv2d(3, 8, 3))
    model: Any = nn.Sequential(normed, nn.BatchNorm2d(8))
    conversion = convert(model, "ws+gn")
    assert entries(conversion)["0"].skipped == "its weights are parametrised already (WeightNorm)"
    spectral = parametrizations.spectral_norm(nn.Conv2d(3, 8, 3))
    assert "SpectralNorm" in str(entries(convert(nn.Sequential(spectral, nn.BatchNorm2d(8)), "ws+gn"))["0"].skipped)


class Shifted(nn.Conv2d):
    """A convolution with a forward pass of its own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name in torch
        answer: torch.Tensor = self._conv_forward(input + 1, self.weight, self.bias)
        return answer


def test_a_convolution_with_a_forward_pass_of_its_own_keeps_it() -> None:
    model: Any = nn.Sequential(Shifted(3, 8, 3), nn.BatchNorm2d(8))
    conversion = convert(model, "ws+gn")
    assert entries(conversion)["0"].after == "Shifted, weights standardised by a parametrisation"
    values = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    weight = standardize(model[0].weight)
    expected = nn.functional.conv2d(values + 1, weight, model[0].bias)
    assert torch.allclose(parts(conversion.model)[0](values), expected, atol=1e-6)


class Own(nn.BatchNorm2d):
    """A batch norm with a forward pass of its own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name in torch
        return super().forward(input).sigmoid()


def test_a_norm_with_a_forward_pass_of_its_own_stays_and_counts() -> None:
    conversion = convert(nn.Sequential(nn.Conv2d(3, 8, 3), Own(8)), "ws+gn")
    assert entries(conversion)["1"].skipped == "Own has a forward pass of its own"
    assert entries(conversion)["0"].after == "WSConv2d"


def test_frozen_batch_norm_becomes_another_and_undoes_no_scale_itself() -> None:
    import_torchvision()
    from torchvision.ops import FrozenBatchNorm2d

    model: Any = nn.Sequential(nn.Conv2d(3, 8, 3), FrozenBatchNorm2d(8))
    model[0].requires_grad_(False)
    norm = converted(model, "ws+gn")[1]
    assert type(norm) is nn.GroupNorm
    assert not norm.weight.requires_grad  # as the convolution before it, which is frozen
    with pytest.raises(SourceError, match="which stays: it would not undo the new scale"):
        convert(model, "ws")


def test_what_cannot_be_changed_is_refused() -> None:
    model: Any = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    with pytest.warns(DeprecationWarning, match="script"):
        scripted = torch.jit.script(model)
    for what, word in (
        (scripted, "scripted"),
        (torch.compile(model, backend="eager"), "compiled"),
        (nn.DataParallel(model), "wrapper"),
        (nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d()), "not built yet"),
    ):
        with pytest.raises(SourceError, match=word):
            convert(cast("nn.Module", what), "ws+gn")


def test_nothing_to_convert_says_what_there_is() -> None:
    with pytest.raises(SourceError, match="one linear layer and one layer norm"):
        convert(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)), "ws+gn")
    with pytest.raises(SourceError, match="no layer that is known"):
        convert(nn.ReLU(), "ws+gn")


@pytest.mark.parametrize(
    ("options", "word"), [({"standardized": "some"}, "followed"), ({"groups": 0}, "groups"), ({"how": "x"}, "x")]
)
def test_wrong_options_are_refused(options: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        convert(Residual(), "ws+gn", **options)  # type: ignore[arg-type]


def test_no_generator_is_touched_and_the_same_comes_out_twice() -> None:
    model = Residual()
    state = torch.get_rng_state()
    first, second = (converted(model, "ws+bcn").state_dict() for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_converting_twice_changes_nothing_more_and_every_way_can_be_gone() -> None:
    once = converted(Residual(), "ws+gn")
    with pytest.raises(SourceError, match="standardised already"):
        convert(once, "ws+gn")
    assert kinds(converted(once, "ws+bcn"))["bn1"] == "BatchChannelNorm2d"
    assert converted(once, "centred").conv1.how == STANDARDIZATIONS["centred"]


def test_a_state_dict_of_the_converted_network_loads_into_it_again() -> None:
    given = converted(Residual(), "ws+bcn")
    again = converted(copy.deepcopy(Residual()), "ws+bcn")
    again.load_state_dict(given.state_dict())
    values = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.eval()(values), given.eval()(values))


def test_rows_have_all_columns_and_a_chart_counts_them() -> None:
    conversion = convert(PreActivation(), "ws+gn")
    frame = conversion.frame()
    assert list(frame["layer"]) == ["stem", "bn1", "conv1", "bn2", "conv2", "bn3"]
    assert frame["skipped"].notna().sum() == 1
    assert frame["pair"].tolist()[:4] == ["bn1", "stem", "bn2", "conv1"]
    drawn = conversion.chart().to_dict()
    assert sum(value["layers"] for value in drawn["data"]["values"]) == 6
    with pytest.raises(KeyError):
        conversion.rows("units")
