"""Find the query, key, value and output matrices of attention: names that stand together as attention's do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.anatomy import naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.anatomy.vocabulary import Part, Role

Path = tuple[str, ...]


def attention_roles(parts: Sequence[Part]) -> dict[int, Role]:
    """The roles in attention of those parts that have one, by their place in the sequence.

    A name counts only on a matrix or a 1 x 1 convolution, and only in company: a query beside a key or a value, or a
    parent that is named for attention. The output is looked for where the others were found.
    """
    hints: dict[int, tuple[Path, naming.Hint]] = {}
    for index, part in enumerate(parts):
        if part.is_weight and part.pointwise and (part.groups or 1) == 1:
            path = naming.stem(part.layer, part.parameter)
            hint = naming.attention_hint(path[-1]) if path else ""
            if hint:
                hints[index] = (path[:-1], hint)
    company = _company(hints)
    roles: dict[int, Role] = {}
    for index, (parent, hint) in hints.items():
        if hint != "output" and _belongs(parent, hint, company, parts[index].shape):
            roles[index] = naming.ATTENTION_ROLES[hint]
    homes = {hints[index][0] for index in roles}
    for index, (parent, hint) in hints.items():
        if hint == "output" and _is_home(parent, homes):
            roles[index] = naming.ATTENTION_ROLES[hint]
    return roles


def _company(hints: dict[int, tuple[Path, naming.Hint]]) -> dict[Path, set[naming.Hint]]:
    company: dict[Path, set[naming.Hint]] = {}
    for parent, hint in hints.values():
        company.setdefault(parent, set()).add(hint)
    return company


def _belongs(parent: Path, hint: naming.Hint, company: dict[Path, set[naming.Hint]], shape: tuple[int, ...]) -> bool:
    if hint == "fused":
        return True
    named = bool(parent) and naming.says_attention(parent[-1])
    beside = company[parent]
    if hint == "fused-in-context":
        # Mamba's mixer has an `in_proj` too; attention's makes three things of the width that comes in.
        return named or "q" in beside or ("output" in beside and shape[0] == 3 * shape[1])
    return named or ("q" in beside and bool(beside & {"k", "v", "fused-in-context"}))


def _is_home(parent: Path, homes: set[Path]) -> bool:
    """Whether an output projection under `parent` belongs to the attention found in `homes`.

    The usual place is beside the others. BERT keeps them apart, as `attention.self.query` and
    `attention.output.dense`, so two branches of one parent that is named for attention will do as well.
    """
    if parent in homes:
        return True
    above = parent[:-1]
    return bool(above) and naming.says_attention(above[-1]) and any(home[:-1] == above for home in homes)
