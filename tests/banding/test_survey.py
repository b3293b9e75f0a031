from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import false_discovery_control

from weightatlas.banding import BandingSurvey, score, slides, survey, symmetries
from weightatlas.banding.layer import slide_unit_scores
from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError
from weightatlas.plate import Chart, Finding, Table

if TYPE_CHECKING:
    from pathlib import Path


def banded_weight(seed: int, units: int = 32, channels: int = 16, strength: float = 2.0) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    bands = np.repeat(generator.normal(size=(units, channels, 3, 1)), 3, axis=3)
    return torch.from_numpy((strength * bands + generator.normal(size=(units, channels, 3, 3))).astype(np.float32))


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv1.weight": torch.randn(16, 3, 3, 3, generator=generator),
        "conv1.bias": torch.zeros(16),
        "bn1.weight": torch.ones(16),
        "bn1.bias": torch.zeros(16),
        "bn1.running_mean": torch.zeros(16),
        "bn1.running_var": torch.ones(16),
        "bn1.num_batches_tracked": torch.tensor(3),
        "conv2.weight": torch.randn(16, 16, 3, 3, generator=generator),
        "depthwise.weight": torch.randn(16, 1, 3, 3, generator=generator),
        "pointwise.weight": torch.randn(16, 16, 1, 1, generator=generator),
        "wide.weight": torch.randn(16, 16, 1, 7, generator=generator),
        "line.weight": torch.randn(16, 16, 3, generator=generator),
        "broken.weight": torch.full((16, 16, 3, 3), float("nan")),
        "dead.weight": torch.zeros(16, 16, 3, 3),
        "empty.weight": torch.zeros(0, 16, 3, 3),
        "quantised.weight": torch.ones(16, 16, 3, 3, dtype=torch.int8),
        "conv3.weight": banded_weight(1),
        "fc.weight": torch.randn(10, 16, generator=generator),
        "<script>alert(1)</script>.weight": banded_weight(2).swapaxes(2, 3),
    }


@pytest.fixture(scope="module")
def surveyed(state: dict[str, torch.Tensor]) -> BandingSurvey:
    return survey(open_checkpoint(state))


def test_every_weight_is_a_row_and_every_skipped_one_has_a_reason(surveyed: BandingSurvey) -> None:
    rows = {row["layer"]: row for row in surveyed.rows()}
    reasons = {layer: row["skipped"] for layer, row in rows.items() if row["skipped"] is not None}
    for layer, word in {
        "depthwise": "depthwise",
        "pointwise": "1x1",
        "wide": "1x7",
        "line": "1-dimensional",
        "broken": "NaN",
        "dead": "no unit has spatial variance",
        "empty": "no elements",
        "quantised": "int8",
        "fc": "matrix",
    }.items():
        assert word in reasons[layer]
    assert set(rows) - set(reasons) == {"conv1", "conv2", "conv3", "<script>alert(1)</script>"}
    for layer in reasons:
        assert all(rows[layer][field] is None for field in ("score", "p_value", "q_value", "direction", "units"))


def test_planted_bands_are_found_in_both_directions_and_nowhere_else(surveyed: BandingSurvey) -> None:
    directions = {row["layer"]: (row["direction"], row["banded"]) for row in surveyed.rows() if row["score"]}
    assert directions == {
        "conv1": ("none", False),
        "conv2": ("none", False),
        "conv3": ("horizontal", True),
        "<script>alert(1)</script>": ("vertical", True),
    }


def test_a_layer_gets_the_figures_it_would_get_alone(state: dict[str, torch.Tensor], surveyed: BandingSurvey) -> None:
    for banding in surveyed.scored:
        alone = score(state[banding.tensor])
        assert banding.score is not None
        assert banding.slides is not None
        assert banding.score.p_value == alone.p_value
        np.testing.assert_array_equal(banding.score.unit_scores, alone.unit_scores)
        assert [test.p_value for test in banding.symmetries] == [
            test.p_value for test in symmetries(state[banding.tensor])
        ]
        np.testing.assert_array_equal(banding.slide_scores, slide_unit_scores(slides(state[banding.tensor])))


def test_q_values_are_over_the_layers_tested_here(surveyed: BandingSurvey) -> None:
    tested = [row for row in surveyed.rows() if row["skipped"] is None]
    expected = false_discovery_control([row["p_value"] for row in tested])
    np.testing.assert_allclose([row["q_value"] for row in tested], expected)
    rows = [row for row in surveyed.rows("symmetries") if row["skipped"] is None]
    assert len(rows) == 3 * len(tested)
    np.testing.assert_allclose(
        [row["q_value"] for row in rows], false_discovery_control([row["p_value"] for row in rows])
    )


def test_banded_units_are_counted_with_the_layers_sign_beside_chance(surveyed: BandingSurvey) -> None:
    rows = {row["layer"]: row for row in surveyed.rows()}
    units = pd.DataFrame(surveyed.rows("units"))
    for layer, sign in (("conv3", 1), ("<script>alert(1)</script>", -1)):
        scores = units.loc[units.layer == layer, "slide_score"].to_numpy(dtype=float)
        assert rows[layer]["banded_units"] == int((sign * scores >= 0.6).sum()) > 16
        assert 0 <= rows[layer]["banded_units_null"] < 0.1
    assert int(units.banded.fillna(value=False).sum()) == sum(row["banded_units"] or 0 for row in rows.values())


def test_every_table_has_its_schema_for_every_row(surveyed: BandingSurvey) -> None:
    for table, columns in surveyed.tables.items():
        rows = surveyed.rows(table)
        assert rows
        assert all(tuple(row) == columns for row in rows)
        assert columns[-1] == "skipped"
        assert list(surveyed.frame(table).columns) == [*columns[:-1], "source", "skipped"]
        json.dumps(rows, allow_nan=False)
    with pytest.raises(KeyError, match="there is layers, units, symmetries, types, profiles"):
        surveyed.rows("steps")


def test_types_add_up_to_whole_layers(surveyed: BandingSurvey) -> None:
    frame = surveyed.frame("types").dropna(subset=["share"])
    np.testing.assert_allclose(frame.groupby("layer").share.sum(), 1.0)


def test_one_input_channel_has_slides_of_two_factors() -> None:
    found = survey(open_checkpoint({"conv1.weight": torch.randn(8, 1, 3, 3, generator=torch.manual_seed(0))}))
    (banding,) = found.scored
    assert banding.slides is not None
    assert banding.slides.factors.shape == (8, 3, 3, 2)
    assert np.isfinite(banding.slide_score)
    assert len(found.plates()) > 4


def test_a_unit_without_variance_has_a_reason_and_no_figures() -> None:
    weight = banded_weight(0)
    weight[3] = 0
    found = survey(open_checkpoint({"conv1.weight": weight}))
    dead = found.rows("units")[3]
    assert dead["skipped"] == "the unit has no spatial variance"
    assert {dead[key] for key in dead if key not in ("layer", "unit", "skipped")} == {None}


def test_an_unknown_average_is_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match="average"):
        survey(open_checkpoint({"conv1.weight": banded_weight(0)}), average="layer")  # type: ignore[arg-type]


def test_narrow_floats_reach_other_processes() -> None:
    weight = banded_weight(0).to(torch.float8_e4m3fn)
    found = survey(open_checkpoint({"a.weight": weight, "b.weight": weight}), jobs=2, backend="loky")
    assert [banding.direction for banding in found.scored] == ["horizontal", "horizontal"]


def test_a_source_without_kernels_says_so_in_every_row() -> None:
    found = survey(open_checkpoint({"fc.weight": torch.ones(3, 4), "head.weight": torch.ones(2, 3)}))
    assert [row["skipped"] is not None for row in found.rows()] == [True, True]
    finding, table = found.plates()
    assert isinstance(finding, Finding)
    assert isinstance(table, Table)
    assert "no dense convolution" in finding.statement
    assert len(table.rows) == 2


def test_a_matrix_is_read_over_the_map_it_is_given(state: dict[str, torch.Tensor]) -> None:
    weight = state["conv3.weight"].reshape(32, -1)
    found = survey(open_checkpoint({"fc.weight": weight}), feature_maps={"fc": (16, 3, 3)})
    assert found.layers[0].score is not None
    assert found.layers[0].score.score == score(state["conv3.weight"]).score
    profiles = found.frame("profiles")
    assert list(profiles.groupby("axis").share.sum().round(9)) == [1.0, 1.0]
    assert profiles.feature_map.all()
    keys = [plate.heading.key for plate in found.plates() if isinstance(plate, Chart)]
    assert "profiles" in keys
    wrong = survey(open_checkpoint({"fc.weight": weight}), feature_maps={"fc": (16, 4, 4)})
    assert "does not read a map" in str(wrong.layers[0].skipped)
    with pytest.raises(SourceError, match="no layer named head"):
        survey(open_checkpoint({"fc.weight": weight}), feature_maps={"head": (16, 3, 3)})


@pytest.mark.parametrize("backend", ["threading", "loky", "dask"])
def test_every_backend_gives_the_same_rows(
    state: dict[str, torch.Tensor], surveyed: BandingSurvey, backend: str
) -> None:
    found = survey(open_checkpoint(state), jobs=2, backend=backend)  # type: ignore[arg-type]
    assert found.rows() == surveyed.rows()


def test_a_live_model_is_a_source_and_progress_is_told() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3))
    told = []
    found = survey(model, with_slides=False, progress=lambda *report: told.append(report), jobs=1)
    assert told == [(1, 2, "0"), (2, 2, "2")]
    assert [row["slide_score"] for row in found.rows()] == [None, None]
    assert {row["skipped"] for row in found.rows("types")} == {
        "the slides of 0 were not asked for",
        "the slides of 2 were not asked for",
    }


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet", "npz", "svg", "png", "pdf", "html"])
def test_a_survey_saves_by_suffix(surveyed: BandingSurvey, tmp_path: Path, suffix: str) -> None:
    path = surveyed.save(tmp_path / f"survey.{suffix}")
    content = path.read_bytes()
    assert content
    assert [child.name for child in tmp_path.iterdir()] == [path.name]
    if suffix == "json":
        assert json.loads(content) == surveyed.records()
    elif suffix == "csv":
        assert list(pd.read_csv(path)["layer"]) == [row["layer"] for row in surveyed.rows()]
    elif suffix == "parquet":
        assert list(pd.read_parquet(path)["layer"]) == [row["layer"] for row in surveyed.rows()]
    elif suffix == "npz":
        with np.load(path, allow_pickle=False) as arrays:
            assert arrays["conv3/slides"].shape == (32, 3, 3, 3)
    else:
        magic = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF", "html": b"<!"}[suffix]
        assert content.startswith(magic)


def test_an_unknown_suffix_is_refused(surveyed: BandingSurvey, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="end the name in"):
        surveyed.save(tmp_path / "survey.docx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.reference
def test_resnets_band_towards_their_end(reference: Path) -> None:
    """CIFAR-10 ResNets: the figures of the notes on weights that nobody here trained."""
    deep = survey(str(reference / "cifar_resnets" / "resnet56-4bfd9763.th"), with_slides=False).frame()
    scored = deep[deep.skipped.isna()].set_index("layer")
    assert scored.score.idxmax() == "layer3.8.conv2"
    assert scored.score["layer3.8.conv2"] == pytest.approx(0.415, abs=0.001)
    late = scored.loc["layer3.4.conv2":"layer3.8.conv2"]
    assert len(late) == 9
    assert (late.direction == "horizontal").all()
    assert (late.q_value < 0.001).all()
    assert not scored[scored.index.str.match(r"layer[12]\.|conv1")].banded.any()

    shallow = survey(str(reference / "cifar_resnets" / "resnet20-12fca82f.th"), with_slides=False).frame()
    scored = shallow[shallow.skipped.isna()].set_index("layer")
    assert list(scored.index[scored.banded.astype(bool)]) == ["layer3.2.conv1", "layer3.2.conv2"]
    assert scored.score["layer3.2.conv1"] == pytest.approx(0.143, abs=0.001)
    assert scored.score["layer3.2.conv2"] == pytest.approx(0.252, abs=0.001)


@pytest.mark.reference
def test_squeezenet_slides_band_where_the_notes_say(reference: Path) -> None:
    found = survey(str(reference / "squeezenet" / "squeezenet_v1.1_notop.h5")).frame().set_index("layer")
    assert found.slide_score["fire3.expand3x3"] == pytest.approx(0.0, abs=0.05)
    assert found.slide_score["fire6.expand3x3"] == pytest.approx(0.0, abs=0.05)
    assert 0.45 <= found.slide_score["fire8.expand3x3"] <= 0.6
    assert 0.75 <= found.slide_score["fire9.expand3x3"] <= 0.82
    assert list(found.index[found.banded.fillna(value=False).astype(bool)]) == ["fire8.expand3x3", "fire9.expand3x3"]


def test_an_image_is_taken_for_no_kernel() -> None:
    state = {"conv.weight": torch.zeros(1, 1, 300, 300), "stem.weight": torch.randn(16, 3, 3, 3)}
    result = survey(open_checkpoint(state))
    reasons = {row["layer"]: row["skipped"] for row in result.rows()}
    assert reasons["stem"] is None
    assert "images, no kernels" in str(reasons["conv"])
