from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from weightatlas.data.parquet_columns import Columns, class_names, find_columns, numbered
from weightatlas.errors import SourceError

pa = pytest.importorskip("pyarrow")
HUB = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def schema(**kinds: Any) -> Any:  # noqa: ANN401 - of pyarrow
    return pa.schema(list(kinds.items()))


@pytest.mark.parametrize(
    ("kinds", "columns"),
    [
        ({"image": HUB, "label": pa.int64()}, Columns("image.bytes", "label")),
        ({"img": pa.binary(), "fine_label": pa.int8(), "coarse_label": pa.int8()}, Columns("img", "fine_label")),
        ({"photo": pa.large_binary(), "class": pa.string()}, Columns("photo", "class")),
        ({"mask": HUB, "image": HUB, "labels": pa.int32(), "target": pa.int32()}, Columns("image.bytes", "labels")),
    ],
)
def test_the_usual_names_are_found_and_the_only_column_of_bytes(kinds: dict[str, Any], columns: Columns) -> None:
    assert find_columns("data", schema(**kinds), None, None) == columns


def test_a_column_that_is_named_counts_and_one_of_another_type_is_refused() -> None:
    kinds = schema(left=HUB, right=HUB, label=pa.int64(), mood=pa.string(), weight=pa.float32())
    assert find_columns("data", kinds, "mood", "right") == Columns("right.bytes", "mood")
    with pytest.raises(SourceError, match=r"no column of encoded images with a usual name; .* there is left, right"):
        find_columns("data", kinds, None, None)
    with pytest.raises(SourceError, match=r"no column 'weight' of labels; .* there is label, mood"):
        find_columns("data", kinds, "weight", "left")
    with pytest.raises(SourceError, match="no column of encoded images"):
        find_columns("data", schema(path=pa.string(), label=pa.int64()), None, None)


def test_texts_of_several_files_get_one_numbering_and_numbers_stay() -> None:
    values, names = numbered([(np.array([1, 0]), ("cat", "ant")), (np.array([0]), ("bee",))])
    assert names == ("ant", "bee", "cat")
    assert [names[value] for value in values] == ["ant", "cat", "bee"]
    plain, none = numbered([(np.array([4, 2]), None), (np.array([3]), None)])
    assert (plain.tolist(), none) == ([4, 2, 3], None)


def test_names_of_classes_come_from_the_hub_s_metadata_or_a_list() -> None:
    info = {"info": {"features": {"label": {"names": ["ant", "bee"]}}}}
    kinds = schema(label=pa.int64())
    assert class_names("data", kinds.with_metadata({"huggingface": json.dumps(info)}), "label") == ("ant", "bee")
    assert class_names("data", kinds.with_metadata({"huggingface": json.dumps(info)}), "other") is None
    assert class_names("data", kinds.with_metadata({"classes": "cat,dog"}), "label") == ("cat", "dog")
    assert class_names("data", kinds, "label") is None
    with pytest.raises(SourceError):
        class_names("data", kinds.with_metadata({"huggingface": "{"}), "label")
