from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.checkpoint import Checkpoint, TensorInfo
from weightatlas.errors import SourceError
from weightatlas.evaluation import Cast, Reshaped, load_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
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


@pytest.mark.parametrize(
    "kind",
    [
        lambda: nn.ConvTranspose1d(3, 5, 3),
        lambda: nn.ConvTranspose2d(4, 4, 2),
        lambda: nn.ConvTranspose2d(4, 6, 2),
        lambda: nn.ConvTranspose2d(4, 8, 3, groups=2),
        lambda: nn.ConvTranspose2d(4, 4, 3, groups=4),
        lambda: nn.ConvTranspose3d(3, 5, 2),
    ],
    ids=["1d", "square", "2d", "groups", "depthwise", "3d"],
)
@pytest.mark.parametrize("source", ["module", "checkpoint of a module", "state dict", "safetensors", "pt", "onnx"])
def test_transposed_convolutions_keep_torchs_own_order(kind: Callable[[], nn.Module], source: str, path: Path) -> None:
    first, second = (nn.Sequential(kind(), nn.ReLU()) for _ in range(2))
    report = load_checkpoint(second, form(first, source, path))
    assert same(first, second)
    assert report.reshaped == ()


def form(model: nn.Sequential, source: str, path: Path) -> nn.Module | Checkpoint | dict[str, Any] | Path:
    if source == "safetensors":
        save_file(model.state_dict(), path)
    elif source == "pt":
        torch.save(model.state_dict(), path)
    elif source == "onnx":
        pytest.importorskip("onnx")
        kernel = model.state_dict()["0.weight"]
        example = torch.zeros(1, kernel.shape[0], *[4] * (kernel.dim() - 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, of its older exporter
            torch.onnx.export(model, (example,), path, dynamo=False)
    in_memory: dict[str, nn.Module | Checkpoint | dict[str, Any]] = {
        "module": model,
        "checkpoint of a module": open_checkpoint(model),
        "state dict": model.state_dict(),
    }
    return in_memory.get(source, path)


@pytest.fixture
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return tmp_path / f"net.{request.getfixturevalue('source').split()[0]}"


@pytest.mark.parametrize("channels", [(4, 4), (4, 6)])
def test_a_transposed_convolution_of_keras_loads_into_torchs(channels: tuple[int, int], tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    model = nn.ModuleDict({"conv2d_transpose": nn.ConvTranspose2d(*channels, 2)})
    kernel, bias = torch.randn(2, 2, *channels[::-1]), torch.randn(channels[1])  # (h, w, out, in)
    with h5py.File(tmp_path / "net.h5", "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"conv2d_transpose"]
        layer = group.create_group("conv2d_transpose")
        layer.attrs["weight_names"] = [b"conv2d_transpose/kernel:0", b"conv2d_transpose/bias:0"]
        layer["conv2d_transpose/kernel:0"], layer["conv2d_transpose/bias:0"] = kernel.numpy(), bias.numpy()
        layers = [{"class_name": "Conv2DTranspose", "config": {"name": "conv2d_transpose"}}]
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": layers}})
    report = load_checkpoint(model, tmp_path / "net.h5")
    assert report.complete
    state = model.state_dict()
    assert torch.equal(state["conv2d_transpose.weight"], kernel.permute(3, 2, 0, 1))
    assert torch.equal(state["conv2d_transpose.bias"], bias)


class Quantised(nn.Module):
    """A weight of half precision, and its scale in small whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, dtype=torch.float16))
        self.register_buffer("scale", torch.zeros(2, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"weight": torch.tensor([1.0, 1e6, 2.0])}, "weight: it holds 1000000, and float16 ends at 65504"),
        ({"weight": torch.tensor([1.0, -1e6, torch.nan])}, "weight: it holds -1000000, and float16 begins at -65504"),
        ({"scale": torch.tensor([300, -1])}, "scale: it holds 300, and uint8 ends at 255"),
        ({"scale": torch.tensor([3, -1])}, "scale: it holds -1, and uint8 begins at 0"),
        ({"scale": torch.tensor([2**32, 1])}, "scale: it holds 4294967296, and uint8 ends at 255"),
    ],
)
def test_values_beyond_the_models_type_are_refused_before_anything_changes(
    changed: dict[str, torch.Tensor], reason: str, tmp_path: Path
) -> None:
    state = {"weight": torch.ones(3), "scale": torch.tensor([7, 8])} | changed
    save_file(state, tmp_path / "net.safetensors")
    (key,) = changed
    for source in (state, tmp_path / "net.safetensors"):
        model = Quantised()
        with pytest.raises(SourceError, match="does not fit Quantised") as caught:
            load_checkpoint(model, source)
        assert reason in str(caught.value)
        assert same(model, Quantised())

        report = load_checkpoint(model, source, strict=False)
        assert report.refused == (key,)
        assert key not in report.loaded
        assert report.missing == ()
        assert next(entry.reason for entry in report.cast if not entry.loaded) in reason
        after, fresh = model.state_dict(), Quantised().state_dict()
        assert {name for name in after if not torch.equal(after[name], fresh[name])} == {"weight", "scale"} - {key}


def test_a_checkpoint_none_of_which_fits_says_why() -> None:
    with pytest.raises(SourceError, match=r"none of its tensors fits Linear \(weight: it holds 1000000, and float16"):
        load_checkpoint(nn.Linear(1, 1, bias=False).half(), {"weight": torch.tensor([[1e6]])}, strict=False)


def test_values_that_a_narrow_type_holds_are_cast() -> None:
    model = Quantised()
    load_checkpoint(model, {"weight": torch.tensor([65504.0, -0.1, 1e-9]), "scale": torch.tensor([255, 0])})
    assert torch.equal(model.weight, torch.tensor([65504.0, -0.1, 1e-9]).half())
    assert model.state_dict()["scale"].tolist() == [255, 0]


def test_two_tensors_of_a_checkpoint_under_one_key_are_refused() -> None:
    info = [TensorInfo(name, "0", "weight", (2, 2), "float32", 16, "net.npz") for name in ("0/weight", "0.weight")]
    checkpoint = Checkpoint("net.npz", info, lambda _: torch.ones(2, 2))
    for strict in (True, False):
        model = nn.Sequential(nn.Linear(2, 2, bias=False))
        before = model.state_dict()["0.weight"].clone()
        with pytest.raises(SourceError, match=r"net.npz: 0/weight and 0.weight are both 0.weight; pass a state dict"):
            load_checkpoint(model, checkpoint, strict=strict)
        assert torch.equal(model.state_dict()["0.weight"], before)


def test_a_student_and_its_teacher_are_refused_and_one_of_them_loads() -> None:
    state = {"student.0.weight": torch.ones(2, 2), "teacher.0.weight": torch.zeros(2, 2)}
    for strict in (True, False):
        with pytest.raises(SourceError, match=r"state dict: .*'student.' taken off and 'teacher.' taken off"):
            load_checkpoint(nn.Sequential(nn.Linear(2, 2, bias=False)), state, strict=strict)
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    load_checkpoint(model, {"teacher.0.weight": torch.full((2, 2), 3.0)})
    assert torch.equal(model.state_dict()["0.weight"], torch.full((2, 2), 3.0))


def test_values_that_are_not_finite_are_refused_or_listed() -> None:
    state = network(2).state_dict()
    state["1.weight"][0] = torch.nan
    with pytest.raises(SourceError, match=r"1.weight holds NaN .* partly loaded, with 2 of 9 tensors; mend it"):
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
