"""Kinds and roles from names and shapes alone."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.anatomy import describe_tensors
from weightatlas.checkpoints import TensorInfo


def header(name: str, *shape: int, dtype: str = "float32") -> TensorInfo:
    layer, _, parameter = name.rpartition(".")
    return TensorInfo(name, layer or name, parameter or name, shape, dtype, 4, "model.safetensors")


def describe(*tensors: TensorInfo) -> list[tuple[str, str]]:
    return [(layer.kind, layer.role) for layer in describe_tensors(tensors)]


def test_a_description_copies_the_header_and_counts_the_elements() -> None:
    (layer,) = describe_tensors([header("stem.conv.weight", 8, 3, 5, 5, dtype="bfloat16")])
    assert (layer.layer, layer.tensor, layer.parameter) == ("stem.conv", "stem.conv.weight", "weight")
    assert (layer.shape, layer.dtype, layer.parameters, layer.nbytes) == ((8, 3, 5, 5), "bfloat16", 600, 4)
    assert layer.skipped is None


def test_a_tensor_without_elements_says_so() -> None:
    assert describe_tensors([header("conv.weight", 0, 3, 3, 3)])[0].skipped == "it has no elements"


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (header("embed.weight", 64, 3, 7, 7), ("convolution", "dense")),
        (header("q_proj.weight", 64, 3, 7, 7), ("convolution", "dense")),
        (header("norm.weight", 64, 64), ("linear", "linear")),
        (header("conv.weight", 64, 64), ("linear", "linear")),
        (header("conv.weight", 64), ("norm", "norm")),
    ],
)
def test_the_shape_wins_over_the_name(tensor: TensorInfo, expected: tuple[str, str]) -> None:
    assert describe(tensor) == [expected]


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (header("bn.num_batches_tracked", dtype="int64"), ("buffer", "statistic")),
        (header("bn.running_var", 64), ("buffer", "statistic")),
        (header("attn.bias", 1, 1, 16, 16), ("buffer", "other")),
        (header("rotary_emb.inv_freq", 32), ("buffer", "other")),
        (header("embeddings.position_ids", 1, 512, dtype="int64"), ("buffer", "other")),
        (header("fc.bias", 10), ("bias", "bias")),
        (header("wte.weight", 100, 8), ("embedding", "embedding")),
        (header("cls_token", 1, 1, 8), ("embedding", "embedding")),
        (header("pos_embed", 1, 17, 8), ("embedding", "embedding")),
        (header("act.weight", 8), ("other", "other")),
        (header("blocks.0.gamma_1", 8), ("other", "other")),
        (header("mixer.A_log", 8, 4), ("other", "other")),
        (header("experts.down_proj", 4, 8, 16), ("linear", "linear")),
        (header("conv1", 8, 3, 5, 5), ("convolution", "dense")),
        (header("rnn.weight_ih_l0", 8, 4), ("linear", "linear")),
        (header("layer.weight_scale", 8, 4), ("other", "other")),
    ],
)
def test_what_names_tell_where_the_shape_leaves_it_open(tensor: TensorInfo, expected: tuple[str, str]) -> None:
    assert describe(tensor) == [expected]


def test_an_embedding_has_no_bias() -> None:
    assert describe(header("embed.weight", 8, 4), header("embed.bias", 8))[0] == ("linear", "linear")


def test_a_norm_is_known_by_its_statistics_or_by_a_shift_of_its_own_shape() -> None:
    assert describe(header("c.weight", 1), header("c.running_mean", 1))[0] == ("norm", "norm")
    assert describe(header("c.weight", 4, 6, 6), header("c.bias", 4, 6, 6))[0] == ("norm", "norm")
    assert describe(header("c.weight", 4, 6, 6), header("c.bias", 4))[0] == ("convolution", "dense")


def test_an_empty_file_has_no_layers() -> None:
    assert describe_tensors([]) == ()


names = st.text(alphabet="abknqv._0", max_size=12)
shapes = st.lists(st.integers(0, 5), max_size=6).map(tuple)


@given(st.lists(st.tuples(names, shapes), max_size=8))
def test_no_name_and_no_shape_is_too_odd_to_describe(tensors: list[tuple[str, tuple[int, ...]]]) -> None:
    described = describe_tensors([header(name, *shape) for name, shape in tensors])
    assert [layer.tensor for layer in described] == [name for name, _ in tensors]


def test_describing_loads_no_heavy_library() -> None:
    code = (
        "import sys, weightatlas.anatomy, weightatlas.anatomy.listing\n"
        "print(sorted({'torch', 'numpy', 'numba', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"
