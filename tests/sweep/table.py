"""The sweep's table in the documentation."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

BEGIN: Final = "<!-- sweep: begin -->"
END: Final = "<!-- sweep: end -->"
_TROUBLES: Final = {"unreached": "without a gradient", "zero": "with a gradient of zero", "not_finite": "not finite"}
_KINDS: Final = ("convolution", "norm")
_SUMS: Final = ("convolutions standardised", "norms replaced")


def refresh(page: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write the table between the two marks of a page.

    Raises:
        ValueError: the page lacks the marks.
    """
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        message = f"{page} has no place for the table: {BEGIN} and {END}, once each"
        raise ValueError(message)
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{table(records)}\n\n{END}{after}", encoding="utf-8")


def table(records: Sequence[dict[str, Any]]) -> str:
    """A line for each family of which something was converted, then what was refused and why, then what failed."""
    families: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        families[record["family"]].append(record)
    recipes = sorted({record["recipe"] for record in records}, reverse=True)
    columns = ["family", "networks", "converted", *(f"step, {recipe}" for recipe in recipes), *_SUMS]
    lines = [_cells(columns), "|---" * len(columns) + "|"]
    lines += [
        _line(family, found, recipes) for family, found in sorted(families.items()) if any(map(_converted, found))
    ]
    for zoo in ("torchvision", "timm"):
        found = [record for record in records if record["source"].startswith(zoo)]
        lines += [_line(f"**all of {zoo}**", found, recipes)] if found else []
    return "\n".join([*lines, "", *_refusals(records), *_larger(records), *_troubles(records)])


def passed(record: dict[str, Any]) -> bool:
    """Whether a step forward and backward went well: finite, and a gradient at every standardised convolution."""
    return bool(record.get("input")) and not (record["unreached"] or record["zero"] or record["not_finite"])


def _converted(record: dict[str, Any]) -> bool:
    return "counts" in record


def _line(family: str, found: Sequence[dict[str, Any]], recipes: Sequence[str]) -> str:
    networks = {record["source"] for record in found}
    converted = {record["source"] for record in found if _converted(record)}
    steps = [sum(passed(record) for record in found if record["recipe"] == recipe) for recipe in recipes]
    first = [record for record in found if _converted(record) and record["recipe"] == recipes[0]]
    sums = [[sum(record["counts"][kind][place] for record in first) for place in (0, 1)] for kind in _KINDS]
    return _cells([family, len(networks), len(converted), *steps, *(f"{done:,} of {there:,}" for done, there in sums)])


def _cells(values: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, values))} |"


def _refusals(records: Iterable[dict[str, Any]]) -> list[str]:
    """Networks that were refused, by the reason."""
    reasons: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record["outcome"] == "refused":
            reasons[_kind(record["reason"])].add(_short(record["source"]))
    lines = [f"- {reason} ({len(names)}): {', '.join(sorted(names))}" for reason, names in sorted(reasons.items())]
    return ["Refused, by what there is in them:", "", *lines, ""] if lines else []


def _larger(records: Iterable[dict[str, Any]]) -> list[str]:
    """Networks whose step went well on a larger input than the smallest that they take."""
    lines = [
        f"- {_name(record)}: at {record['input'][-1]}; at {smaller['input'][-1]} {_wrong(smaller)}"
        for record in records
        if passed(record)
        for smaller in record.get("smaller", [])
    ]
    return ["A whole step on a larger input than the smallest only:", "", *lines, ""] if lines else []


def _troubles(records: Iterable[dict[str, Any]]) -> list[str]:
    """Networks that were not converted for another reason, or whose step did not go well."""
    lines = [
        f"- {_name(record)}: {record.get('reason') or _wrong(record)}"
        for record in records
        if record["outcome"] != "refused" and not passed(record)
    ]
    return (
        ["Not converted, or without a whole step:", "", *lines] if lines else ["Every converted network took its step."]
    )


def _name(record: dict[str, Any]) -> str:
    return f"{_short(record['source'])}, {record['recipe']}"


def _wrong(step: dict[str, Any]) -> str:
    """What went wrong in a step, with the first three convolutions that each is true of."""
    troubles = [
        f"{len(step[word])} {said} ({', '.join(step[word][:3])})" for word, said in _TROUBLES.items() if step[word]
    ]
    return ", ".join(troubles)


def _kind(reason: str) -> str:
    """What there is in a refused network, without the numbers."""
    there = reason.partition("it has ")[2].partition(";")[0]
    words = [word for word in ("batch norm", "layer norm", "group norm", "instance norm", "norm") if word in there]
    if "no layer" in there or not words:
        return "convolutions or linear layers without norms"
    standing = " and ".join(f"{word}s" for word in words if word != "norm" or len(words) == 1)
    return f"{standing}, with no norm to replace and none right behind a convolution"


def _short(source: str) -> str:
    zoo, _, name = source.partition(":")
    return f"`{name}`" if zoo == "timm" else f"`{source}`"
