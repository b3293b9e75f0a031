from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from weightatlas.checkpoints import import_torchvision
from weightatlas.errors import MissingDependencyError, SourceError
from weightatlas.evaluation import open_model

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("transformers")
import_torchvision()

SMALL = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
TEXT = SMALL | {"vocab_size": 50}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT2LMHeadModel": ("GPT2Config", {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 50, "n_positions": 8,
                                       "bos_token_id": 0, "eos_token_id": 0}),
    "LlamaForCausalLM": ("LlamaConfig", TEXT | {"num_key_value_heads": 1}),
    "BertForSequenceClassification": ("BertConfig", TEXT),
    "ViTForImageClassification": ("ViTConfig", SMALL | {"image_size": 8, "patch_size": 4}),
    "MixtralForCausalLM": ("MixtralConfig", TEXT | {"num_key_value_heads": 1, "num_local_experts": 2}),
    "ResNetForImageClassification": ("ResNetConfig", {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1],
                                                      "layer_type": "basic"}),
}  # fmt: skip


def save(family: str, folder: Path) -> torch.nn.Module:
    """Save a small network as the hub lays it out, and give it back."""
    import transformers

    config, options = FAMILIES[family]
    torch.manual_seed(0)
    model: torch.nn.Module = getattr(transformers, family)(getattr(transformers, config)(**options)).eval()
    model.save_pretrained(folder)  # type: ignore[operator]
    return model


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_gives_its_class_with_its_weights(family: str, tmp_path: Path) -> None:
    expected = save(family, tmp_path)
    for model in (open_model(tmp_path), open_model(None, checkpoint=str(tmp_path))):
        assert type(model) is type(expected)
        assert not model.training
        state = model.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in expected.state_dict().items())


def test_other_weights_and_other_names_of_the_same_network_are_loaded(tmp_path: Path) -> None:
    expected = save("GPT2LMHeadModel", tmp_path)
    path = tmp_path / "model.safetensors"
    state = {name.removeprefix("transformer."): tensor for name, tensor in load_file(path).items()}
    path.unlink()
    save_file(state, tmp_path / "other.safetensors")
    model = open_model(tmp_path, checkpoint=tmp_path / "other.safetensors")
    found = model.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.state_dict().items())


def test_code_beside_the_weights_is_refused_and_never_imported(tmp_path: Path) -> None:
    save("BertForSequenceClassification", tmp_path)
    (tmp_path / "modeling_own.py").write_text("raise SystemExit('code ran')")
    change_config(tmp_path, auto_map={"AutoModel": "modeling_own.Own"})
    with pytest.raises(SourceError, match="its auto_map names code of its own, which is not run"):
        open_model(tmp_path)
    change_config(tmp_path, auto_map=None, nested={"deep": [{"auto_map": {"AutoConfig": "a.b"}}]})
    with pytest.raises(SourceError, match="auto_map"):
        open_model(tmp_path)


def test_kernels_and_types_of_a_configuration_are_left_out(tmp_path: Path) -> None:
    save("BertForSequenceClassification", tmp_path)
    change_config(
        tmp_path, _attn_implementation="evil/kernels", attn_implementation="evil/kernels", dtype="float16",
        quantization_config={"quant_method": "gptq", "bits": 4}, _name_or_path="/etc/passwd",
    )  # fmt: skip
    model = open_model(tmp_path)
    config: Any = model.config
    assert "evil" not in str(config._attn_implementation)
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": None}, "names no model_type"),
        ({"model_type": "no_such_kind"}, "knows no model_type 'no_such_kind'"),
        (
            {"architectures": ["os.system"]},
            "architectures.0. is os.system, no class of transformers for bert; there is",
        ),
        ({"architectures": ["GPT2LMHeadModel"]}, "no class of transformers for bert"),
        ({"architectures": []}, r"architectures\[0\] is None"),
        ({"architectures": {"0": "BertModel"}}, r"architectures\[0\] is None"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, where 1000 is the most"),
        ({"num_labels": 10**9}, "num_labels is 1000000000"),
        ({"hidden_size": 2**40}, "hidden_size is 1099511627776"),
        ({"hidden_size": 2**20, "intermediate_size": 2**20}, "parameters, where the weights have"),
        ({"hidden_size": -4}, "cannot be built from it"),
        ({"hidden_size": "wide"}, "not a configuration of bert|cannot be built"),
        ({"hidden_size": 17}, "cannot be built from it"),
        ({"num_hidden_layers": 3}, "lacks 16 tensors of BertForSequenceClassification"),
    ],
)
def test_configurations_that_lie_are_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    save("BertForSequenceClassification", tmp_path)
    change_config(tmp_path, **changes)
    with pytest.raises(SourceError, match=words) as caught:
        open_model(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "names no model_type"),
        ("{", "cannot be read"),
        (" " * (2**20 + 1), "more than"),
        ('{"a":1,"a":2}', "twice"),
    ],
)
def test_configurations_that_are_none_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(SourceError, match=words):
        open_model(tmp_path)


def test_nesting_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "x": ' + "[" * 50 + "]" * 50 + "}")
    with pytest.raises(SourceError, match="nested too deeply"):
        open_model(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    save("ViTForImageClassification", tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    state["classifier.bias"] = torch.full_like(state["classifier.bias"], torch.nan)
    save_file(state, path)
    with pytest.raises(SourceError):
        open_model(tmp_path)


def test_without_transformers_the_pip_line_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save("BertForSequenceClassification", tmp_path)
    monkeypatch.setitem(sys.modules, "transformers.models.auto", None)
    with pytest.raises(MissingDependencyError, match="pip install 'weightatlas"):
        open_model(tmp_path)
