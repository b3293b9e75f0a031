from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from weightatlas.anatomy.symmetry import Symmetries, symmetries
from weightatlas.connectivity.merge import COLUMNS, merge
from weightatlas.errors import SourceError
from weightatlas.evaluation import load_checkpoint
from weightatlas.evaluation.recalibration import recalibrate

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = torch.randn(24, 3, 6, 6, generator=torch.Generator().manual_seed(0))
DATA = [(IMAGES[:12], torch.zeros(12, dtype=torch.long)), (IMAGES[12:], torch.zeros(12, dtype=torch.long))]


def network(seed: int, *, width: int = 6, norm: bool = True) -> nn.Sequential:
    """Two convolutions, norms whose figures are not those they begin with, and a linear layer."""
    torch.manual_seed(seed)
    norms: list[nn.Module] = [nn.BatchNorm2d(width) if norm else nn.Identity() for _ in range(2)]
    made = nn.Sequential(
        nn.Conv2d(3, width, 3), norms[0], nn.ReLU(), nn.Conv2d(width, width, 3), norms[1], nn.ReLU(), nn.Flatten(),
        nn.Linear(4 * width, 2),
    )  # fmt: skip
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.5 * torch.rand_like(tensor))
    return made.eval()


@pytest.fixture(scope="module", name="found")
def fixture_found() -> Symmetries:
    return symmetries(network(0), IMAGES[:1])


def outputs(model: nn.Module, state: Any) -> torch.Tensor:  # noqa: ANN401 - any mapping of tensors
    whole = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    found: torch.Tensor = torch.func.functional_call(model.double(), whole, (IMAGES.double(),))
    return found


def test_a_network_whose_units_were_moved_merges_to_itself(found: Symmetries) -> None:
    first = network(0)
    second = found.permute(first.state_dict(), found.random(seed=3))
    merged = merge(first, second, model=first, symmetries=found)
    assert merged.matching is not None
    assert merged.matching.similarity == pytest.approx(1)
    assert merged.similarity_before < 0.99
    assert all(torch.equal(merged.state[name], tensor) for name, tensor in first.state_dict().items())


def test_the_average_is_that_of_aligned_weights_and_the_ends_are_the_networks(found: Symmetries) -> None:
    first, second = network(0), network(1)
    before = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    merged = merge(first, second, model=first, symmetries=found, weight=0.25)
    assert merged.matching is not None
    aligned = merged.matching.align(second.state_dict())
    for name, tensor in first.state_dict().items():
        expected = 0.75 * tensor + 0.25 * aligned[name] if tensor.is_floating_point() else tensor
        torch.testing.assert_close(merged.state[name], expected)
        assert torch.equal(tensor, before[name])
    whole = merge(first, second, model=first, symmetries=found, weight=1)
    torch.testing.assert_close(outputs(network(2), whole.state), outputs(network(2), second.state_dict()))
    none = merge(first, second, model=first, symmetries=found, weight=0)
    assert all(torch.equal(none.state[name], tensor) for name, tensor in before.items())


def test_without_aligning_it_is_the_plain_average_and_nothing_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["weightatlas.connectivity.merge"], "find_symmetries", None)
    first, second = network(0), network(1)
    merged = merge(first, second, model=first, align=False)
    torch.testing.assert_close(
        merged.state["0.weight"], (first.state_dict()["0.weight"] + second.state_dict()["0.weight"]) / 2
    )
    flat = [nn.utils.parameters_to_vector(one.parameters()) for one in (first, second)]
    assert merged.similarity_before == pytest.approx(torch.cosine_similarity(flat[0], flat[1], dim=0).item(), abs=1e-6)
    assert merged.distance_before == pytest.approx((flat[0] - flat[1]).norm().item(), rel=1e-6)
    row = merged.row("new.pt")
    assert list(row) == list(COLUMNS)
    assert (row["similarity"], row["skipped"]) == (None, "not aligned, as asked")


def test_names_types_and_format_of_the_first_are_kept(found: Symmetries, tmp_path: Path) -> None:
    first, second = network(0), network(1)
    wrapped = {f"module.{name}": tensor.clone() for name, tensor in first.state_dict().items()}
    wrapped["module.7.weight"] = wrapped["module.7.weight"].half()
    torch.save({"epoch": 7, "state_dict": wrapped, "ema_decay": torch.tensor(0.9)}, tmp_path / "a.pt")
    save_file(second.state_dict(), tmp_path / "b.safetensors")
    merged = merge(tmp_path / "a.pt", tmp_path / "b.safetensors", model=network(5), symmetries=found)
    written = merged.write(tmp_path / "new.pt")
    run = torch.load(tmp_path / "new.pt", weights_only=True)
    assert (list(run), run["epoch"]) == (["epoch", "state_dict", "ema_decay"], 7)
    assert {name: tensor.dtype for name, tensor in run["state_dict"].items()} == {
        name: tensor.dtype for name, tensor in wrapped.items()
    }
    assert set(written.tensors) == set(wrapped)
    model = network(3)
    load_checkpoint(model, tmp_path / "new.pt")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, merged.state[name].to(tensor.dtype))


def test_kernels_of_another_layout_go_back_to_it(found: Symmetries, tmp_path: Path) -> None:
    from weightatlas.checkpoints import open_checkpoint

    first, second = network(0), network(1)
    arrays = {name: tensor.numpy() for name, tensor in first.state_dict().items()}
    turned = {name: one.transpose(2, 3, 1, 0) if one.ndim == 4 else one.T for name, one in arrays.items()}
    np.savez(tmp_path / "a.npz", **turned)
    merged = merge(open_checkpoint(tmp_path / "a.npz", layout="hwio"), second, model=first, symmetries=found)
    merged.write(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as new:
        assert np.array_equal(new["3.weight"].transpose(3, 2, 0, 1), merged.state["3.weight"].numpy())
        assert np.array_equal(new["7.weight"].T, merged.state["7.weight"].numpy())


def test_statistics_are_estimated_on_the_average(found: Symmetries) -> None:
    first, second = network(0), network(1)
    plain = merge(first, second, model=first, symmetries=found)
    assert any("with data (--data)" in note for note in plain.notes)
    merged = merge(first, second, model=first, symmetries=found, data=DATA)
    assert merged.recalibrated == "batch-norm"
    assert merged.notes == ()
    expected = recalibrate(network(4), dict(plain.state), DATA)
    for name, tensor in merged.state.items():
        torch.testing.assert_close(tensor, expected[name])
    assert not torch.equal(merged.state["1.running_var"], plain.state["1.running_var"])
    fewer = merge(first, second, model=first, symmetries=found, data=DATA, recalibration_batches=1)
    assert not torch.equal(fewer.state["1.running_var"], merged.state["1.running_var"])
    ends = merge(first, second, model=first, symmetries=found, data=DATA, weight=1)
    assert ends.recalibrated is None


def test_repair_sets_channels_right_where_there_is_no_norm() -> None:
    first, second = network(0, norm=False), network(1, norm=False)
    merged = merge(first, second, model=first, align=False, recalibrate="repair", data=DATA)
    assert merged.recalibrated == "repair"

    def deviation(state: Any) -> torch.Tensor:  # noqa: ANN401 - any mapping of tensors
        return torch.nn.functional.conv2d(IMAGES, state["0.weight"], state["0.bias"]).std(dim=(0, 2, 3), correction=0)

    goal = (deviation(first.state_dict()) + deviation(second.state_dict())) / 2
    torch.testing.assert_close(deviation(merged.state), goal)
    torch.testing.assert_close(
        merged.state["7.weight"], (first.state_dict()["7.weight"] + second.state_dict()["7.weight"]) / 2
    )


def test_the_same_network_twice_is_said_and_stays_bit_for_bit(found: Symmetries) -> None:
    merged = merge(network(0), network(0), model=network(0), symmetries=found, weight=0.3)
    assert "both networks have the same weights" in merged.notes
    assert all(torch.equal(merged.state[name], tensor) for name, tensor in network(0).state_dict().items())


class Choosing(nn.Module):
    """What torch cannot export: its graph depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(x) if x.sum() > 0 else -self.linear(x)
        return found


def test_a_model_that_cannot_be_exported_can_be_averaged_as_it_is() -> None:
    model = Choosing()
    with pytest.raises(SourceError, match=r"average the networks as they are: align=False \(--no-align\)"):
        merge(model, Choosing(), model=model)
    assert merge(model, model, model=model, align=False).state["linear.weight"].equal(model.linear.weight)


def broken(seed: int) -> dict[str, torch.Tensor]:
    state = dict(network(seed).state_dict())
    return {**state, "3.weight": torch.full_like(state["3.weight"], float("nan"))}


@pytest.mark.parametrize(
    ("networks", "options", "words"),
    [
        ((network(0), network(1, width=5)), {}, "does not fit Sequential"),
        ((network(0), broken(1)), {}, r"3\.weight holds NaN or infinite values; give a checkpoint of before"),
        ((broken(0), network(1)), {"align": False}, r"3\.weight holds NaN or infinite values"),
        ((network(0), {"w": torch.zeros(1)}), {}, "none of its tensors fits"),
        ((network(0), network(1)), {"weight": 1.5}, r"0 to 1, not 1\.5"),
        ((network(0), network(1)), {"weight": float("nan")}, "0 to 1, not nan"),
        ((network(0), network(1)), {"recalibrate": "repair"}, "needs data"),
        (
            (network(0, norm=False), network(1, norm=False)),
            {"recalibrate": "batch-norm", "data": DATA, "align": False, "model": network(0, norm=False)},
            "no batch-norm statistics",
        ),
    ],
)
def test_what_cannot_be_merged_is_said(
    networks: tuple[Any, Any], options: dict[str, Any], words: str, found: Symmetries
) -> None:
    with pytest.raises(ValueError, match=words):  # SourceErrors are ValueErrors
        merge(*networks, **{"model": network(0), "symmetries": found, **options})


def test_nan_in_the_first_of_a_model_by_name(tmp_path: Path) -> None:
    state = dict(network(0).state_dict())
    torch.save({**state, "0.bias": state["0.bias"] / 0}, tmp_path / "a.pt")
    with pytest.raises(SourceError, match=r"0\.bias holds NaN or infinite values; give a checkpoint of before"):
        merge(tmp_path / "a.pt", network(1), model="tests.connectivity.test_merge:plain", align=False)


def plain() -> nn.Module:
    """The network under a name."""
    return network(9)


def test_what_is_no_part_of_the_network_is_named_and_stays(tmp_path: Path) -> None:
    first = {**network(0).state_dict(), "head.weight": torch.ones(2)}
    save_file(first, tmp_path / "a.safetensors")
    merged = merge(
        tmp_path / "a.safetensors", {**network(1).state_dict(), "x": torch.ones(1)}, model=network(0), align=False
    )
    assert any("stays as it is: head.weight" in note for note in merged.notes)
    assert any("is left out: x" in note for note in merged.notes)
    merged.write(tmp_path / "new.safetensors")
    assert torch.equal(load_file(tmp_path / "new.safetensors")["head.weight"], torch.ones(2))


def test_neither_input_is_written_over(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        save_file(network(seed).state_dict(), tmp_path / f"{name}.safetensors")
    merged = merge(tmp_path / "a.safetensors", tmp_path / "b.safetensors", model=network(0), align=False)
    for name in ("a", "b"):
        with pytest.raises(SourceError, match="would be written over an input"):
            merged.write(tmp_path / f"{name}.safetensors")
    with pytest.raises(SourceError, match="no format to keep"):
        merge(network(0), network(1), model=network(0), align=False).write(tmp_path / "new.safetensors")
