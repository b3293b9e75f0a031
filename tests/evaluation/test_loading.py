from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError
from weightatlas.evaluation import Cast, Reshaped, load_checkpoint

if TYPE_CHECKING:
    from pathlib import Path


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    model.load_state_dict(
        model.state_dict() | {"1.running_mean": torch.randn(4), "1.num_batches_tracked": torch.tensor(seed)}
    )
    return model


def same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_state_dict_a_module_a_file_and_a_checkpoint_load_alike(tmp_path: Path) -> None:
    source = network(1)
    save_file(source.state_dict(), tmp_path / "net.safetensors")
    torch.save({"state_dict": source.state_dict(), "epoch": 3}, tmp_path / "net.pt")
    named = (source, source.state_dict(), tmp_path / "net.safetensors", str(tmp_path / "net.pt"))
    for checkpoint in (*named, open_checkpoint(tmp_path / "net.pt")):
        model = network(2)
        report = load_checkpoint(model, checkpoint)
        assert same(model, source)
        assert report.complete
        assert report.loaded == tuple(source.state_dict())
        assert report.summary.startswith("nine tensors of")
        assert report.summary.endswith(" loaded")


def test_values_are_copied_into_the_tensors_that_were_there() -> None:
    model, source = network(1), network(2)
    before = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    load_checkpoint(model, source)
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == before
    source.state_dict()["0.weight"].zero_()
    assert bool(model.state_dict()["0.weight"].any())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("side", ["model", "checkpoint", "both"])
def test_wrappers_on_either_side_are_undone(side: str) -> None:
    source, target = network(1), network(2)
    model = nn.DataParallel(target) if side in {"model", "both"} else target
    state = source.state_dict()
    if side in {"checkpoint", "both"}:
        state = {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()}
    load_checkpoint(model, state)
    assert same(target, source)


def test_a_backbone_that_lies_one_module_deeper_is_found() -> None:
    source = network(1)
    model = nn.ModuleDict({"backbone": network(2), "head": nn.Linear(2, 2)})
    report = load_checkpoint(model, source, strict=False)
    assert same(model["backbone"], source)
    assert report.missing == ("head.weight", "head.bias")
    assert any("'backbone.' was put before 9" in note for note in report.notes)


def test_what_is_missing_or_extra_is_listed_and_strict_refuses_before_anything_changes() -> None:
    model, untouched = network(1), network(1)
    state = network(2).state_dict()
    del state["3.bias"], state["1.running_mean"]
    state["4.weight"] = torch.zeros(1)
    with pytest.raises(SourceError, match=r"lacks two tensors of Sequential \(1.running_mean, 3.bias\)"):
        load_checkpoint(model, state)
    assert same(model, untouched)
    report = load_checkpoint(model, state, strict=False)
    assert report.missing == ("1.running_mean", "3.bias") == report.required
    assert report.extra == ("4.weight",)
    after, before = model.state_dict(), untouched.state_dict()
    assert torch.equal(after["3.bias"], before["3.bias"])
    assert torch.equal(after["0.weight"], state["0.weight"])


def test_a_count_of_batches_may_be_missing() -> None:
    state = network(2).state_dict()
    del state["1.num_batches_tracked"]
    report = load_checkpoint(network(1), state)
    assert report.missing == report.optional == ("1.num_batches_tracked",)
    assert report.complete


def test_axes_of_size_one_come_and_go_and_other_shapes_are_refused() -> None:
    convolutional, linear = nn.Conv2d(6, 4, 1), nn.Linear(6, 4)
    report = load_checkpoint(convolutional, linear)
    assert report.reshaped == (Reshaped("weight", (4, 6), (4, 6, 1, 1), loaded=True),)
    assert torch.equal(convolutional.weight[:, :, 0, 0], linear.weight)
    other = nn.Linear(6, 4)
    load_checkpoint(other, convolutional)
    assert torch.equal(other.weight, linear.weight)

    wrong = {"weight": torch.ones(6, 4), "bias": torch.ones(4)}
    with pytest.raises(SourceError, match=r"does not fit Linear \(weight: \[6, 4\] for \[4, 6\]\)"):
        load_checkpoint(other, wrong)
    assert torch.equal(other.weight, linear.weight)
    assert not torch.equal(other.bias, torch.ones(4))
    report = load_checkpoint(other, wrong, strict=False)
    assert report.refused == ("weight",)
    assert report.loaded == ("bias",)
    assert report.missing == ()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_types_are_cast_and_said(dtype: torch.dtype) -> None:
    model = nn.Linear(3, 2)
    weight = torch.tensor([[0.5, -2.0, 0.25], [1.0, 3.0, -0.125]])
    report = load_checkpoint(model, {"weight": weight.to(dtype), "bias": torch.zeros(2)})
    assert torch.equal(model.weight, weight)
    assert report.cast == (Cast("weight", str(dtype).removeprefix("torch."), "float32", loaded=True),)


def test_complex_numbers_do_not_become_real_ones() -> None:
    model = nn.Linear(3, 2)
    state = {"weight": torch.ones(2, 3, dtype=torch.complex64), "bias": torch.zeros(2)}
    with pytest.raises(SourceError, match="weight: complex64 for float32"):
        load_checkpoint(model, state)
    assert load_checkpoint(model, state, strict=False).refused == ("weight",)


class Tied(nn.Module):
    """An embedding and a head that are one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight


@pytest.mark.parametrize("name", ["embedding.weight", "head.weight"])
def test_a_tied_parameter_needs_one_of_its_names(name: str) -> None:
    model = Tied()
    report = load_checkpoint(model, {name: torch.ones(5, 3)})
    assert report.missing == ()
    assert report.loaded == ("embedding.weight", "head.weight")
    assert model.head.weight is model.embedding.weight
    assert bool((model.head.weight == 1).all())


@pytest.mark.parametrize(("channels", "groups"), [((3, 5), 1), ((4, 4), 1), ((4, 8), 2), ((4, 4), 4)])
@pytest.mark.parametrize("kind", [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
@pytest.mark.parametrize("source", ["module", "checkpoint of a module", "state dict", "file"])
def test_transposed_convolutions_keep_torchs_own_order(
    channels: tuple[int, int], groups: int, kind: type[nn.ConvTranspose2d], source: str, tmp_path: Path
) -> None:
    first, second = (nn.Sequential(kind(*channels, 3, groups=groups), nn.ReLU()) for _ in range(2))
    save_file(first.state_dict(), tmp_path / "net.safetensors")
    sources: dict[str, Any] = {
        "module": first,
        "checkpoint of a module": open_checkpoint(first),
        "state dict": first.state_dict(),
        "file": tmp_path / "net.safetensors",
    }
    report = load_checkpoint(second, sources[source])
    assert same(first, second)
    assert report.reshaped == ()


def test_values_that_are_not_finite_are_refused_or_listed() -> None:
    state = network(2).state_dict()
    state["1.weight"][0] = torch.nan
    with pytest.raises(SourceError, match=r"1.weight holds NaN .* partly loaded, with 2 of 9 tensors; load it all"):
        load_checkpoint(network(1), state)
    model = network(1)
    assert load_checkpoint(model, state, strict=False).not_finite == ("1.weight",)
    assert bool(model.state_dict()["1.weight"][0].isnan())


def test_a_file_that_breaks_half_way_says_that_the_model_is_partly_loaded(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file(network(2).state_dict(), path)
    checkpoint = open_checkpoint(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) - 40])
    with pytest.raises(SourceError) as caught:
        load_checkpoint(network(1), checkpoint)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_model_is_refused_even_if_not_strict() -> None:
    for strict in (True, False):
        with pytest.raises(
            SourceError, match=r"none of its tensors fits Linear \(the model has weight, the checkpoint"
        ):
            load_checkpoint(nn.Linear(2, 2), {"encoder.scale": torch.zeros(3)}, strict=strict)


def test_a_model_without_memory_is_refused() -> None:
    with torch.device("meta"):
        model = nn.Linear(2, 2)
    with pytest.raises(SourceError, match=r"meta device|no tensors"):
        load_checkpoint(model, nn.Linear(2, 2))
