from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib

from hypothesis import given
from hypothesis import strategies as st

from weightatlas.atlas import assets

NAME = re.compile(r"^(?:export )?(?:async )?(?:const|let|class|function\*?) (\w+)", re.MULTILINE)
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+\.js)";', re.MULTILINE)


def source(module: str) -> str:
    return (assets.FOLDER / module).read_text(encoding="utf-8")


def test_every_module_is_on_the_page() -> None:
    assert sorted(assets.MODULES) == sorted(path.name for path in assets.FOLDER.glob("*.js"))


def test_modules_import_only_from_those_before_them_what_those_export() -> None:
    for place, module in enumerate(assets.MODULES):
        for names, other in IMPORT.findall(source(module)):
            assert other in assets.MODULES[:place]
            exported = set(
                re.findall(r"^export (?:async )?(?:const|class|function) (\w+)", source(other), re.MULTILINE)
            )
            assert {name.strip() for name in names.split(",")} <= exported


def test_no_two_modules_give_one_name_to_two_things() -> None:
    names = [name for module in assets.MODULES for name in NAME.findall(source(module))]
    assert len(names) == len(set(names))


def test_the_joined_script_has_no_module_lines_left_and_cannot_end_its_element() -> None:
    assert not re.search(r"^(import|export)\b", assets.script(), re.MULTILINE)
    assert "</script" not in assets.script().lower()
    assert "<!--" not in assets.script()
    assert "</style" not in assets.style().lower()


def test_our_scripts_stay_small() -> None:
    assert len(assets.script().encode()) < 60_000


def test_the_chart_library_inflates_to_what_its_hash_names() -> None:
    packed, digest = assets.chart_library()
    bundle = zlib.decompress(base64.b64decode(packed))
    assert digest == "sha256-" + base64.b64encode(hashlib.sha256(bundle).digest()).decode()
    assert len(packed) < 600_000


def test_the_policy_forbids_every_connection_and_code_made_from_text() -> None:
    policy = assets.policy(["sha256-abc="])
    directives = {part.split()[0]: part.split()[1:] for part in policy.split("; ")}
    assert directives["default-src"] == ["'none'"]
    assert directives["script-src"] == ["'sha256-abc='"]
    assert "connect-src" not in directives
    assert "unsafe-eval" not in policy


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_embedded_json_says_the_same_and_holds_no_markup(data: object) -> None:
    text = assets.embedded_json(data)
    assert json.loads(text) == data
    assert "<" not in text
