from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.checkpoints.runs.steps import Reading, parse_number, read_name, read_names, stem

STEPS = {
    "step1000": 1000,
    "step-1000/": 1000,
    "step_1000.safetensors": 1000,
    "step=1000.ckpt": 1000,
    "Step 1000.pt": 1000,
    "step__1000.pt": 1000,
    "checkpoint-1000": 1000,
    "checkpoint_1000.pt": 1000,
    "checkpoint12.pth.tar": 12,
    "ckpt-1000.npz": 1000,
    "ckpt_000100.pt": 100,
    "model.ckpt-1000": 1000,
    "global_step1000": 1000,
    "global_step0": 0,
    "globalstep7.pt": 7,
    "iter_0001000": 1000,
    "iteration_5.pt": 5,
    "it5000.npz": 5000,
    "snapshot_iter_100": 100,
    "network-snapshot-000200.pkl": 200,
    "epoch=3-step=1000.ckpt": 1000,
    "run-epoch=0-step=200-val_loss=0.1618-f1=0.6.ckpt": 200,
    "step1k": 1000,
    "step1.5M.pt": 1_500_000,
    "step_1e3.pt": 1000,
    "step_1.5e4.pt": 15_000,
    "step1e+06": 1_000_000,
    "step=1.5k.ckpt": 1500,
    "epoch=0-step=2.5e3-val_loss=1.5e-3.ckpt": 2500,
    "1e3step.pt": 1000,
    "step1000e5.pt": 1000,
    "step1000-tokens4B": 1000,
    "stage1-step1000-tokens4B": 1000,
    "checkpoint-21000step": 21000,
    "checkpoint_1_5000.pt": 5000,
    "2024-01-01_step_5.pt": 5,
    "step_00100_of_05000.pt": 100,
    "step1000_seed3.pt": 1000,
    "7b-step20.gguf": 20,
}
EPOCHS = {
    "epoch=3-step=1000.ckpt": 3,
    "epoch=3.ckpt": 3,
    "epoch_10.pth": 10,
    "ep10.pt": 10,
    "checkpoint_epoch_3.pt": 3,
    "10_epochs.pt": 10,
    "checkpoint_1_5000.pt": 1,
    "epoch=02-val_loss=0.32.ckpt": 2,
}
DECOYS = (
    "model-00001-of-00003.safetensors",
    "resnet50.pt",
    "v2.pt",
    "gpt2",
    "yolov8n.pt",
    "bit8.pt",
    "unit16.pt",
    "timestep100.pt",
    "gemma-2b-it.gguf",
    "2024-01-01.pt",
    "20240101.pt",
    "ckpt-20240101.pt",
    "ckpt_2024-01-01_12-30-00.pt",
    "last.ckpt",
    "last-v1.ckpt",
    "best.pt",
    "final",
    "checkpoint.pth.tar",
    "model_0004999.pth",
    "weights.03-0.12.hdf5",
    "step_1.25e1.pt",
    "val_step=0.33.ckpt",
    "",
)


@pytest.mark.parametrize(("name", "step"), STEPS.items())
def test_words_tell_the_step(name: str, step: int) -> None:
    assert read_name(name).step == step


@pytest.mark.parametrize(("name", "epoch"), EPOCHS.items())
def test_words_tell_the_epoch(name: str, epoch: int) -> None:
    assert read_name(name).epoch == epoch


@pytest.mark.parametrize("name", DECOYS)
def test_other_numbers_alone_are_no_steps(name: str) -> None:
    assert not read_names([name])[name].tells


def test_tokens_stages_and_copies_are_told() -> None:
    assert read_name("tokens4B") == Reading(tokens=4_000_000_000)
    assert read_name("stage2-ingredient3-step10-tokens1B").stage == "stage2-ingredient3"
    assert read_name("epoch=3-step=9-v2.ckpt") == Reading(step=9, epoch=3, copy=2)


def test_an_epoch_alone_is_no_step() -> None:
    assert read_name("epoch=3.ckpt").step is None


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (("model_1000.pt", "model_2000.pt"), (1000, 2000)),
        (("net-1.npz", "net-10.npz"), (1, 10)),
        (("model1000.pt", "model2000.pt"), (1000, 2000)),
        (("1000", "2000"), (1000, 2000)),
        (("000000100.pt", "000000200.safetensors"), (100, 200)),
        (("10k.pt", "1M.pt"), (10_000, 1_000_000)),
        (("a-10k-x.pt", "a-20k-x.pt"), (10_000, 20_000)),
        (("2024-01-01-100.pt", "2024-01-01-200.pt"), (100, 200)),
        (("m_7_100.pt", "m_7_200.pt"), (100, 200)),
        (("model_100.pt", "model_200-v1.pt"), (100, 200)),
        (("42.pt", "last.pt"), (42, None)),
        (("model_1e3.pt", "model_1.5e4.pt", "model_2.5k.pt"), (1000, 15_000, 2500)),
        (("lr_1e-3.pt", "lr_1e-4.pt"), (None, None)),
        (("model_1000.pt", "other.pt"), (None, None)),
        (("resnet18.pt", "resnet50.pt"), (None, None)),
        (("v1.pt", "v2.pt"), (None, None)),
        (("version_0", "version_1"), (None, None)),
        (("seed-1.pt", "seed-2.pt"), (None, None)),
        (("rng_rank_0.pt", "rng_rank_1.pt"), (None, None)),
        (("2024-01-01.pt", "2024-01-02.pt"), (None, None)),
        (("a_20240101_120000.pt", "a_20240101_130000.pt"), (None, None)),
        (("model-00001-of-00002.bin", "model-00002-of-00002.bin"), (None, None)),
        (("alpha-0.5.pt", "alpha-0.7.pt"), (None, None)),
        (("llama-7b.gguf", "llama-13b.gguf"), (None, None)),
    ],
)
def test_a_bare_number_is_a_step_where_names_share_all_else(
    names: tuple[str, ...], steps: tuple[int | None, ...]
) -> None:
    told = read_names(names)
    assert tuple(told[name].step for name in names) == steps


def test_numbers_with_multiples() -> None:
    texts = ("0", "007", "2k", "1.25k", "3T", "1.5", "", "k", "-1", "9" * 16)
    assert [parse_number(text) for text in texts] == [0, 7, 2000, 1250, 3 * 10**12, None, None, None, None, None]


def test_numbers_with_exponents_are_whole() -> None:
    texts = ("1e3", "1.5E4", "1e+06", "1.25e2", "1.25e1", "1e-3", "1.2345k", "e3", "1e", "1e100")
    assert [parse_number(text) for text in texts] == [1000, 15_000, 10**6, 125, *[None] * 6]


def test_what_a_number_counts_may_be_open() -> None:
    assert read_name("checkpoint_90.pth").is_bare
    assert all(reading.is_bare for reading in read_names(["model_1.pt", "model_2.pt"]).values())
    assert not any(read_name(name).is_bare for name in ("step90.pt", "epoch=3.ckpt", "checkpoint_3_90.pt", "last.pt"))


def test_a_stem_keeps_decimals() -> None:
    assert stem("loss=0.12.weights.h5") == "loss=0.12"
    assert stem("model.safetensors.index.json") == "model"


SPELLINGS = (
    "step{}",
    "step-{}.pt",
    "step_{:08d}.safetensors",
    "checkpoint-{}",
    "ckpt_{:06d}.pt",
    "global_step{}",
    "iter_{:07d}",
    "epoch=1-step={}.ckpt",
    "it{}.npz",
    "{}step.pt",
    "step{}-tokens4B",
)


@given(
    st.dictionaries(st.integers(0, 10**9), st.sampled_from(SPELLINGS), min_size=1, max_size=20),
    st.randoms(use_true_random=False),
)
def test_any_spelling_of_a_step_is_read(spelt: dict[int, str], random: object) -> None:
    names = {spelling.format(step): step for step, spelling in spelt.items()}
    shuffled = sorted(names, key=lambda _: random.random())  # type: ignore[attr-defined]
    told = read_names(shuffled)
    assert {name: told[name].step for name in names} == names
    assert sorted(names, key=lambda name: told[name].step or 0) == sorted(names, key=lambda name: names[name])


@given(
    st.sets(st.integers(0, 10**6), min_size=2, max_size=20),
    st.sampled_from(["{}", "model_{}", "net-{}", "w{}", "x_5_{}"]),
    st.sampled_from(["", ".pt", ".npz", ".weights.h5"]),
)
def test_any_bare_numbers_are_read(steps: set[int], template: str, suffix: str) -> None:
    names = {template.format(step) + suffix: step for step in steps}
    assert {name: reading.step for name, reading in read_names(names).items()} == names


@given(st.lists(st.text(max_size=60), max_size=8))
def test_any_names_are_read(names: list[str]) -> None:
    assert list(read_names(names)) == list(dict.fromkeys(names))


def test_long_names_are_read_in_bounded_time() -> None:
    name = "a_" * 200_000 + "step12.pt"
    assert read_names([name])[name].step == 12
